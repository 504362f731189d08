"""Keys and certificates for tests, made by the openssl command as a hospital makes them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.peers import need

PASSPHRASE = "marked passphrase 7319"


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass
class Authority:
    """A certification authority in a folder."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificate = self.folder / "authority.pem"
        self._key = self.folder / "authority.key"
        _openssl(
            *("req", "-x509", *_curve("P-256"), "-nodes", "-keyout", self._key, "-out", self.certificate),
            *("-days", "300", "-subj", "/CN=Authority"),
        )

    def issue(
        self,
        name: str,
        *,
        days: int = 300,
        rsa_bits: int | None = None,
        usage: str = "serverAuth,clientAuth",
        passphrase: str | None = None,
    ) -> Identity:
        """Sign a certificate for localhost and 127.0.0.1; a negative number of days makes one that has expired."""
        issued = Identity(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={usage}\n")
        kind = _curve("P-256") if rsa_bits is None else ("-newkey", f"rsa:{rsa_bits}")
        protection = ("-nodes",) if passphrase is None else ("-passout", f"pass:{passphrase}")
        _openssl("req", "-new", *kind, *protection, "-keyout", issued.key, "-out", request, "-subj", f"/CN={name}")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"),
            *("-extfile", extensions, "-days", days, "-out", issued.certificate),
        )
        return issued


def _curve(name: str) -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{name}")


def _openssl(*arguments: object) -> None:
    command = [need("openssl", "openssl"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
