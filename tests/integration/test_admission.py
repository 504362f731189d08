"""The listener and the sender with DCMTK as peers: rejections, and TLS with certificates on both sides."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from pneumo_monai.connections import DestinationTls
from pneumo_monai.errors import DeliveryError
from pneumo_monai.sender import send_files
from tests.certificates import PASSPHRASE, Authority, Identity
from tests.films import make_film
from tests.peers import free_port, need, wait_until, write

pytestmark = pytest.mark.integration

Certificates = dict[str, Identity]


@pytest.fixture(scope="module", autouse=True)
def _dcmtk_with_tls() -> None:
    said = subprocess.run([need("echoscu", "dcmtk"), "--version"], capture_output=True, text=True, check=False).stdout
    assert "OpenSSL" in said


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Authority(tmp_path_factory.mktemp("foreign")).issue("foreign")


@pytest.fixture(scope="module")
def certificates(authority: Authority) -> Certificates:
    # The tools of DCMTK's default profile know RSA alone below TLS 1.3.
    ours = authority.issue("pneumo", rsa_bits=2048, passphrase=PASSPHRASE)
    return {"pneumo": ours, "scanner": authority.issue("scanner", rsa_bits=2048)}


@dataclass
class Listener:
    """`pneumo-monai listener` as a process."""

    port: int
    log: Path
    process: "subprocess.Popen[bytes]"


@contextmanager
def listener(folder: Path, **settings: object) -> Iterator[Listener]:
    folder.mkdir(parents=True, exist_ok=True)
    port, config, log = free_port(), folder / "config.yaml", folder / "listener.log"
    content = {"data_dir": str(folder / "data"), "listener": {"port": port, **settings}}
    config.write_text(yaml.safe_dump(content))
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "pneumo_monai", "listener", "--config", str(config)]
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        wait_until(f"the listener answers: {log.read_text()}", lambda: _listens(port))
        yield Listener(port, log, process)
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    # The log has neither the secret nor, for all the probes above, a complaint about a connection that said nothing.
    assert PASSPHRASE not in log.read_text()


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


def dcmtk(tool: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [need(tool, "dcmtk"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def tls(folder: Path, certificates: Certificates, authority: Authority, **changes: object) -> dict[str, object]:
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "passphrase"
    secret.write_text(PASSPHRASE + "\n")
    return {
        "certificate": str(certificates["pneumo"].certificate),
        "key": str(certificates["pneumo"].key),
        "passphrase_file": str(secret),
        "authorities": str(authority.certificate),
        **changes,
    }


def as_client(identity: Identity, authority: Authority) -> Sequence[object]:
    return ("+tls", identity.key, identity.certificate, "+cf", authority.certificate)


def test_dcmtk_reads_why_it_is_rejected(tmp_path: Path):
    peers = [{"ae_title": "SCANNER", "addresses": ["127.0.0.0/8"]}, {"ae_title": "FAR", "addresses": ["192.0.2.1"]}]
    with listener(tmp_path, peers=peers, require_called_ae_title=True) as ours:
        for calling, called, said in (
            ("STRANGER", "PNEUMO", "Calling AE Title Not Recognized"),
            ("FAR", "PNEUMO", "Calling AE Title Not Recognized"),
            ("SCANNER", "OTHER", "Called AE Title Not Recognized"),
        ):
            done = dcmtk("echoscu", "-aet", calling, "-aec", called, "127.0.0.1", ours.port)
            assert done.returncode != 0
            assert f"Reason: {said}" in done.stderr
            assert "Result: Rejected Permanent, Source: Service User" in done.stderr
        done = dcmtk("echoscu", "-aet", "SCANNER", "-aec", "PNEUMO", "127.0.0.1", ours.port)
        assert done.returncode == 0, done.stderr


def test_dcmtk_reads_that_there_are_too_many(tmp_path: Path):
    with listener(tmp_path, limits={"associations": 1}) as ours:
        entity = AE(ae_title="FIRST")
        entity.add_requested_context(Verification)
        first = entity.associate("127.0.0.1", ours.port)
        assert first.is_established
        done = dcmtk("echoscu", "127.0.0.1", ours.port)
        assert "Result: Rejected Transient, Source: Service Provider (Presentation Related)" in done.stderr
        assert "Reason: Local Limit Exceeded" in done.stderr
        first.release()
        wait_until("there is room again", lambda: dcmtk("echoscu", "127.0.0.1", ours.port).returncode == 0, 30)


@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"], ids=["non-downgrading", "bcp195", "extended"])
def test_a_film_comes_in_over_tls_with_certificates_on_both_sides(
    tmp_path: Path, certificates: Certificates, authority: Authority, profile: str
):
    film = write(make_film(), tmp_path)
    settings = tls(tmp_path, certificates, authority)
    with listener(tmp_path / "service", tls=settings) as ours:
        known = as_client(certificates["scanner"], authority)
        done = dcmtk("storescu", *known, profile, "-aec", "PNEUMO", "127.0.0.1", ours.port, film)
        assert done.returncode == 0, done.stderr + ours.log.read_text()
        assert len(list((tmp_path / "service" / "data").rglob("*.dcm"))) == 1


def test_who_shows_no_certificate_or_a_foreign_one_is_not_heard(
    tmp_path: Path, certificates: Certificates, authority: Authority, foreign: Identity
):
    with listener(tmp_path, tls=tls(tmp_path, certificates, authority)) as ours:
        for client in (
            ("+tla", "+cf", authority.certificate),
            as_client(foreign, authority),
            (),
        ):
            done = dcmtk("echoscu", "-to", 10, "-ta", 10, *client, "127.0.0.1", ours.port)
            assert done.returncode != 0, client
        done = dcmtk("echoscu", *as_client(certificates["scanner"], authority), "127.0.0.1", ours.port)
        assert done.returncode == 0, done.stderr
        said = ours.log.read_text()
        assert "a TLS handshake with 127.0.0.1 failed: peer did not return a certificate" in said
        assert "a TLS handshake with 127.0.0.1 failed: certificate verify failed, " in said
        assert "a TLS handshake with 127.0.0.1 failed: wrong version number" in said


def test_half_a_handshake_holds_nobody_up(tmp_path: Path, certificates: Certificates, authority: Authority):
    settings = tls(tmp_path, certificates, authority)
    with listener(tmp_path, tls=settings, limits={"artim_timeout": 20}) as ours, ExitStack() as slow:
        for _ in range(50):
            connection = slow.enter_context(socket.create_connection(("127.0.0.1", ours.port)))
            connection.sendall(b"\x16\x03\x01")
        done = dcmtk("echoscu", *as_client(certificates["scanner"], authority), "127.0.0.1", ours.port)
        assert done.returncode == 0, done.stderr
        assert "TLS handshake" not in ours.log.read_text()


def test_certificates_of_clients_can_be_waived(tmp_path: Path, certificates: Certificates, authority: Authority):
    settings = tls(tmp_path, certificates, authority, client_certificates="ignore")
    with listener(tmp_path, tls=settings) as ours:
        done = dcmtk("echoscu", "+tla", "+cf", authority.certificate, "127.0.0.1", ours.port)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_of_tls_are_refused(
    tmp_path: Path, certificates: Certificates, authority: Authority, version: str
):
    settings = tls(tmp_path, certificates, authority, profile="bcp195", client_certificates="ignore")
    with listener(tmp_path, tls=settings) as ours:
        for switch, expected in ((version, False), ("-tls1_2", True), ("-tls1_3", True)):
            command = [need("openssl", "openssl"), "s_client", switch, "-connect", f"127.0.0.1:{ours.port}"]
            # Level 0: the client itself must not be what refuses.
            command += ["-cipher", "ALL:@SECLEVEL=0"]
            done = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False)
            assert ("Cipher is (NONE)" not in done.stdout) is expected, switch


def test_the_suites_of_older_profiles_are_taken_on_request_alone(
    tmp_path: Path, certificates: Certificates, authority: Authority
):
    for profile, expected in (("bcp195-rfc8996", False), ("bcp195-nd", False), ("bcp195", True)):
        settings = tls(tmp_path, certificates, authority, profile=profile)
        with listener(tmp_path / profile, tls=settings) as ours:
            known = as_client(certificates["scanner"], authority)
            # DCMTK's AES profile ends at TLS 1.2 and knows one suite.
            done = dcmtk("echoscu", *known, "+pa", "127.0.0.1", ours.port)
            assert (done.returncode == 0) is expected, (profile, done.stderr)


@contextmanager
def storescp(folder: Path, certificates: Certificates, authority: Authority, *options: str) -> Iterator[int]:
    """A destination that asks for a certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    known = as_client(certificates["scanner"], authority)
    command = [need("storescp", "dcmtk"), *known, *options, "-od", folder, port]
    with (folder / "storescp.log").open("wb") as log:
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
    try:
        wait_until("storescp answers", lambda: _listens(port))
        yield port
    finally:
        process.kill()
        process.wait()


def deliver(file: Path, port: int, settings: dict[str, object], host: str = "localhost") -> None:
    send_files(
        [file],
        host=host,
        port=port,
        called_ae_title="PACS",
        calling_ae_title="PNEUMO",
        tls=DestinationTls.model_validate(settings),
    )


def test_a_destination_gets_files_over_tls_and_is_who_it_says_it_is(
    tmp_path: Path, certificates: Certificates, authority: Authority, foreign: Identity
):
    film = write(make_film(), tmp_path)
    settings = tls(tmp_path, certificates, authority)
    nobody = {"authorities": settings["authorities"]}
    with storescp(tmp_path / "pacs", certificates, authority) as port:
        deliver(film, port, settings)
        assert len([file for file in (tmp_path / "pacs").iterdir() if file.suffix != ".log"]) == 1
        for wrong, said in (
            (settings | {"server_name": "other.example.org"}, "Hostname mismatch"),
            (settings | {"authorities": str(foreign.certificate)}, "certificate verify failed"),
            (nobody, "certificate required"),
            (settings | {"key": str(tmp_path / "none.key")}, "cannot be read"),
        ):
            with pytest.raises(DeliveryError, match=rf"PACS@localhost:{port}.*{said}"):
                deliver(film, port, wrong)
        deliver(film, port, settings | {"server_name": "other.example.org", "check_server_name": False})
        deliver(film, port, settings, host="127.0.0.1")


def test_a_worker_and_a_listener_say_at_the_start_what_is_wrong_with_a_key(
    tmp_path: Path, certificates: Certificates, authority: Authority
):
    broken = tls(tmp_path, certificates, authority, key=str(certificates["scanner"].key), passphrase_file=None)
    config = tmp_path / "config.yaml"
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "localhost", "port": 104, "tls": broken}
    for command, content, key in (
        ("listener", {"listener": {"port": free_port(), "tls": broken}}, "listener.tls.key"),
        ("worker", {"destinations": [pacs]}, "destinations[0].tls.key"),
    ):
        config.write_text(yaml.safe_dump({"data_dir": str(tmp_path / "data"), **content}))
        done = subprocess.run(
            [sys.executable, "-m", "pneumo_monai", command, "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ},
        )
        assert done.returncode == 78, done.stderr
        assert f"{key}: {certificates['scanner'].key} does not belong to the certificate in " in done.stderr
        assert "Traceback" not in done.stderr
