"""TLS for DICOM: contexts of the Secure Transport Connection Profiles (PS3.15 annex B), from PEM files.

Whatever is wrong with a key or a certificate is said when it is loaded, with the key of the settings, the file and the
remedy; OpenSSL's own messages name neither. No passphrase is ever part of a message.
"""

import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pneumo_monai.connections import DestinationTls, ListenerTls, Profile
from pneumo_monai.errors import ConfigurationError

__all__ = ["CIPHER_SUITES", "SecureChannel", "client_context", "reason_of", "server_context"]

_log = logging.getLogger(__name__)

_ECDHE_GCM = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
_DHE_GCM = ("DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES128-GCM-SHA256")

CIPHER_SUITES: dict[Profile, tuple[str, ...]] = {
    # B.12, RFC 9325 4.2
    "bcp195-rfc8996": _ECDHE_GCM,
    # B.13; its Camellia suites are optional
    "bcp195-rfc8996-modified": (
        *_ECDHE_GCM,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES256-CCM",
        "ECDHE-ECDSA-AES256-CCM8",
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-ECDSA-AES128-CCM8",
    ),
    # B.10, RFC 7525 4.2
    "bcp195-nd": (*_ECDHE_GCM, *_DHE_GCM),
    # B.9, which also talks to the AES profile
    "bcp195": (*_ECDHE_GCM, *_DHE_GCM, "AES128-SHA"),
}
"""Suites of TLS 1.2 by profile, in OpenSSL's names. Those of TLS 1.3 are OpenSSL's default, in every profile."""

_SOON_DAYS = 30

_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_KEY = "PRIVATE KEY-----"


def server_context(settings: ListenerTls, key: str) -> ssl.SSLContext:
    """Return the context of a server.

    Parameters
    ----------
    settings : ListenerTls
        Files and profile.
    key : str
        Where they stand in the settings, for messages: ``listener.tls``.

    Raises
    ------
    ConfigurationError
        A file is missing, unreadable or not what it should be, the certificate is not valid now, or it does not
        belong to the key.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, settings.profile)
    # One ticket a connection is of no use: associations last.
    context.num_tickets = 0
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    identity = _Identity(settings.certificate, settings.key, settings.passphrase_file, key)
    identity.load(context)
    identity.check_validity(ssl.Purpose.SERVER_AUTH)
    if settings.client_certificates == "require" and settings.authorities is not None:
        _trust(context, settings.authorities, key)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(settings: DestinationTls, key: str) -> ssl.SSLContext:
    """Return the context of a client; see `server_context`. Without authorities, the system's are trusted."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, settings.profile)
    context.check_hostname = settings.check_server_name
    if settings.authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, settings.authorities, key)
    if settings.certificate is not None and settings.key is not None:
        identity = _Identity(settings.certificate, settings.key, settings.passphrase_file, key)
        identity.load(context)
        identity.check_validity(ssl.Purpose.CLIENT_AUTH)
    return context


class SecureChannel:
    """The context for one association with a destination, which remembers why it could not be opened.

    Parameters
    ----------
    settings : DestinationTls
        Files and profile.
    host : str
        Name or address that is connected to; its certificate must name it, unless the settings say otherwise.
    key : str
        Where the settings stand, for messages.

    Raises
    ------
    ConfigurationError
        As `server_context`.
    """

    def __init__(self, settings: DestinationTls, host: str, key: str = "destinations[].tls") -> None:
        self.context = client_context(settings, key)
        self.server_name = settings.server_name or host
        self.failure: str | None = None
        channel = self

        class Witness(ssl.SSLSocket):
            """Tells the channel what pynetdicom keeps to its log."""

            def do_handshake(self, block: bool = False) -> None:
                with channel._witness():
                    super().do_handshake(block)

            def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - as the base class names it
                # TLS 1.3: a client hears only now that its certificate was not taken.
                with channel._witness():
                    return super().read(len, buffer)

            def shutdown(self, how: int) -> None:
                # Where the peer was faster this fails, and pynetdicom then forgets to close.
                try:
                    super().shutdown(how)
                except OSError:
                    self.close()
                    raise

        self.context.sslsocket_class = Witness

    @contextmanager
    def _witness(self) -> Iterator[None]:
        try:
            yield
        except ssl.SSLError as error:
            self.failure = reason_of(error)
            raise


def reason_of(error: OSError) -> str:
    """Return why a handshake failed, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed, {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return error.strerror or type(error).__name__


def _context(protocol: int, profile: Profile) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    # RFC 8996: also the older profiles do without TLS 1.0 and 1.1.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Level 2: RSA from 2048 bits, elliptic curves from 224, no SHA-1 in signatures.
    context.set_ciphers(":".join((*CIPHER_SUITES[profile], "@SECLEVEL=2")))
    return context


def _trust(context: ssl.SSLContext, authorities: Path, key: str) -> None:
    name = f"{key}.authorities"
    _check(_read(authorities, name), _CERTIFICATE, name, authorities)
    try:
        context.load_verify_locations(cafile=authorities)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{name}: {authorities} cannot be used ({reason_of(error)}); export it again"
        ) from None


class _Identity:
    """A certificate and its key."""

    def __init__(self, certificate: Path, private_key: Path, passphrase_file: Path | None, key: str) -> None:
        self._certificate = certificate
        self._private_key = private_key
        self._passphrase_file = passphrase_file
        self._key = key

    def load(self, context: ssl.SSLContext) -> None:
        """Load both into a context."""
        for file, mark, name in ((self._certificate, _CERTIFICATE, "certificate"), (self._private_key, _KEY, "key")):
            _check(_read(file, f"{self._key}.{name}"), mark, f"{self._key}.{name}", file)
        asked: list[bool] = []
        try:
            context.load_cert_chain(self._certificate, self._private_key, password=self._passphrase(asked))
        except ssl.SSLError as error:
            raise ConfigurationError(self._explain(error, is_encrypted=bool(asked))) from None

    def check_validity(self, purpose: ssl.Purpose) -> None:
        """Let OpenSSL judge the certificate as the other side will, but for the authority.

        Raises
        ------
        ConfigurationError
            It has expired, is not valid yet, is too weak, or is meant for something else.
        """
        server, client = (ssl.SSLContext(side) for side in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT))
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        self.load(server)
        self.load(client)
        judge = client if purpose is ssl.Purpose.SERVER_AUTH else server
        judge.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        judge.load_verify_locations(cadata=_first(_read(self._certificate, f"{self._key}.certificate")))
        judge.verify_mode = ssl.CERT_REQUIRED
        try:
            until = _shake_hands(server, client, judge)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"{self._key}.certificate: {self._certificate} cannot be used ({reason_of(error)}); "
                "ask the authority for a new one, and look at the clock of this machine"
            ) from None
        days = (until - time.time()) / 86400
        if days < _SOON_DAYS:
            _log.warning("%s.certificate: %s expires in %d days", self._key, self._certificate, days)

    def _passphrase(self, asked: list[bool]) -> Callable[[], str]:
        # A function, not a value: without one, OpenSSL asks at the terminal and the start hangs.
        def passphrase() -> str:
            asked.append(True)
            if self._passphrase_file is None:
                return ""
            lines = _read(self._passphrase_file, f"{self._key}.passphrase_file").splitlines()
            return lines[0] if lines else ""

        return passphrase

    def _explain(self, error: ssl.SSLError, *, is_encrypted: bool) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return (
                f"{self._key}.key: {self._private_key} does not belong to the certificate in {self._certificate}; "
                "name the key that the certificate was asked for with"
            )
        if is_encrypted and self._passphrase_file is None:
            return f"{self._key}.key: {self._private_key} is encrypted; set {self._key}.passphrase_file"
        if is_encrypted:
            return (
                f"{self._key}.passphrase_file: the first line of {self._passphrase_file} does not open "
                f"{self._private_key}; correct it"
            )
        return (
            f"{self._key}.certificate, {self._key}.key: {self._certificate} and {self._private_key} cannot be used "
            f"({reason_of(error)}); both must be PEM files, the certificate with an RSA key of 2048 bits or more, or "
            "an elliptic curve of 256 or more"
        )


def _read(file: Path, key: str) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ConfigurationError(
            f"{key}: {file} cannot be read ({error.strerror}); name a file that this user may read"
        ) from None


def _check(content: str, mark: str, key: str, file: Path) -> None:
    if mark not in content:
        raise ConfigurationError(f"{key}: {file} holds no {key.rpartition('.')[2]} in PEM form (no line {mark!r})")


def _first(pem: str) -> str:
    end = "-----END CERTIFICATE-----"
    return pem[pem.index(_CERTIFICATE) : pem.index(end) + len(end)] + "\n"


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, judge: ssl.SSLContext) -> float:
    """Let two contexts shake hands in memory; return until when the certificate is valid that the judge has seen."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    unfinished = list(ends)
    while unfinished:
        for end in list(unfinished):
            try:
                end.do_handshake()
                unfinished.remove(end)
            except ssl.SSLWantReadError:
                continue
    (seen,) = (end.getpeercert() for end in ends if end.context is judge)
    return ssl.cert_time_to_seconds(str((seen or {})["notAfter"]))
