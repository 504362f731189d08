"""TLS contexts: what they offer, and what is said of a key or certificate that cannot be used."""

import ssl
from functools import partial
from pathlib import Path

import pytest

from pneumo_monai.commitment import request_commitment
from pneumo_monai.connections import DestinationTls, ListenerTls
from pneumo_monai.entries import CommitmentReport
from pneumo_monai.errors import ConfigurationError, DeliveryError
from pneumo_monai.settings import Destination
from pneumo_monai.tls import CIPHER_SUITES, client_context, server_context
from tests.certificates import PASSPHRASE, Authority, Identity
from tests.peers import COMPREHENSIVE_3D_SR, commitment_scp


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue("server")


@pytest.fixture(scope="module")
def protected(authority: Authority) -> Identity:
    return authority.issue("protected", passphrase=PASSPHRASE)


def settings(identity: Identity, **changes: object) -> ListenerTls:
    files = {"certificate": identity.certificate, "key": identity.key, "client_certificates": "ignore"}
    return ListenerTls.model_validate(files | changes)


def complaint(tls: ListenerTls) -> str:
    with pytest.raises(ConfigurationError) as caught:
        server_context(tls, "listener.tls")
    error: BaseException | None = caught.value
    while error is not None:
        assert PASSPHRASE not in str(error)
        error = error.__cause__ or error.__context__
    return str(caught.value)


@pytest.mark.parametrize("profile", CIPHER_SUITES)
def test_every_profile_begins_at_tls_1_2_and_offers_its_suites_alone(identity: Identity, profile: str):
    context = server_context(settings(identity, profile=profile), "listener.tls")
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    offered = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"}
    assert offered
    assert offered <= set(CIPHER_SUITES[profile])
    assert {cipher["name"] for cipher in context.get_ciphers()} >= {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}


def test_the_default_profile_has_forward_secrecy_and_authenticated_encryption_alone(identity: Identity):
    names = CIPHER_SUITES[settings(identity).profile]
    assert all(name.startswith("ECDHE-") and "-GCM-" in name for name in names)


def test_a_client_checks_the_server_and_its_name_unless_told_otherwise(authority: Authority):
    context = client_context(DestinationTls(authorities=authority.certificate), "destinations[0].tls")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    lenient = client_context(DestinationTls(check_server_name=False), "destinations[0].tls")
    assert lenient.verify_mode is ssl.CERT_REQUIRED
    assert not lenient.check_hostname


def test_clients_must_show_a_certificate_unless_told_otherwise(identity: Identity, authority: Authority):
    strict = settings(identity, client_certificates="require", authorities=authority.certificate)
    assert server_context(strict, "listener.tls").verify_mode is ssl.CERT_REQUIRED
    assert server_context(settings(identity), "listener.tls").verify_mode is ssl.CERT_NONE
    with pytest.raises(ValueError, match="authorities is missing"):
        settings(identity, client_certificates="require")


@pytest.mark.parametrize("missing", ["certificate", "key", "authorities"])
def test_a_file_that_is_not_there_is_named(identity: Identity, authority: Authority, tmp_path: Path, missing: str):
    files = {"authorities": authority.certificate, "client_certificates": "require", missing: tmp_path / "none.pem"}
    expected = f"listener.tls.{missing}: {tmp_path / 'none.pem'} cannot be read (No such file or directory)"
    assert complaint(settings(identity, **files)).startswith(expected)


@pytest.mark.parametrize("wrong", ["certificate", "key", "authorities"])
def test_a_file_that_is_something_else_is_named(identity: Identity, authority: Authority, tmp_path: Path, wrong: str):
    other = tmp_path / "other.pem"
    other.write_bytes(b"\x30\x82\xff no PEM")
    files = {"authorities": authority.certificate, "client_certificates": "require", wrong: other}
    assert complaint(settings(identity, **files)).startswith(f"listener.tls.{wrong}: {other} holds no ")


def test_a_key_that_belongs_to_another_certificate_is_named(identity: Identity, authority: Authority):
    other = authority.issue("other")
    expected = f"listener.tls.key: {other.key} does not belong to the certificate in {identity.certificate}"
    assert complaint(settings(identity, key=other.key)).startswith(expected)


def test_a_certificate_that_has_expired_is_named(authority: Authority):
    old = authority.issue("old", days=-1)
    remedy = r"tls\.certificate: .* \(certificate verify failed, certificate has expired\); ask the authority"
    with pytest.raises(ConfigurationError, match=rf"^listener\.{remedy}"):
        server_context(settings(old), "listener.tls")
    client = DestinationTls(certificate=old.certificate, key=old.key)
    with pytest.raises(ConfigurationError, match=rf"^destinations\[0\]\.{remedy}"):
        client_context(client, "destinations[0].tls")


def test_a_certificate_for_clients_alone_is_none_for_a_server(authority: Authority):
    client = authority.issue("client-only", usage="clientAuth")
    assert "cannot be used (certificate verify failed" in complaint(settings(client))
    client_context(DestinationTls(certificate=client.certificate, key=client.key), "destinations[0].tls")


def test_a_key_that_is_too_short_is_named(authority: Authority):
    weak = authority.issue("weak", rsa_bits=1024)
    said = complaint(settings(weak))
    assert str(weak.certificate) in said
    assert "2048" in said


def test_a_certificate_that_expires_soon_is_said(authority: Authority, caplog: pytest.LogCaptureFixture):
    soon = authority.issue("soon", days=3)
    server_context(settings(soon), "listener.tls")
    assert f"listener.tls.certificate: {soon.certificate} expires in 2 days" in caplog.text


def test_a_passphrase_comes_from_its_file(protected: Identity, tmp_path: Path):
    file = tmp_path / "passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    server_context(settings(protected, passphrase_file=file), "listener.tls")


def test_what_is_wrong_with_a_passphrase_is_said_without_it(protected: Identity, tmp_path: Path):
    file = tmp_path / "passphrase"
    assert "is encrypted; set listener.tls.passphrase_file" in complaint(settings(protected))
    missing = complaint(settings(protected, passphrase_file=file))
    assert missing.startswith(f"listener.tls.passphrase_file: {file} cannot be read")
    for wrong in (f"not the {PASSPHRASE}", ""):
        file.write_text(wrong)
        said = complaint(settings(protected, passphrase_file=file))
        assert said.startswith(f"listener.tls.passphrase_file: the first line of {file} does not open")
        assert wrong not in said or not wrong


def test_a_destination_is_asked_to_commit_over_tls_and_answers_there(authority: Authority, identity: Identity):
    ours = authority.issue("ours")
    strict = settings(identity, client_certificates="require", authorities=authority.certificate)
    tls = {"authorities": authority.certificate, "certificate": ours.certificate, "key": ours.key}
    instances = [(COMPREHENSIVE_3D_SR, "1.2.3.4"), (COMPREHENSIVE_3D_SR, "1.2.3.5")]
    reports: list[CommitmentReport] = []

    def enter(report: CommitmentReport) -> bool:
        reports.append(report)
        return True

    with commitment_scp(tls=server_context(strict, "listener.tls")) as pacs:
        named = {"name": "pacs", "ae_title": "PEER", "host": "127.0.0.1", "port": pacs.port, "storage_commitment": True}
        for trusted in (tls, {"authorities": authority.certificate}):
            peer = Destination.model_validate({**named, "tls": trusted})
            ask = partial(request_commitment, instances, "2.25.1", peer=peer, calling_ae_title="PNEUMO", enter=enter)
            if trusted is tls:
                ask()
            else:
                # Without a certificate of ours it does not listen.
                with pytest.raises(DeliveryError):
                    ask()
    assert [str(asked.TransactionUID) for asked in pacs.asked] == ["2.25.1"]
    assert [report.committed for report in reports] == [{"1.2.3.4", "1.2.3.5"}]


def test_certificate_and_key_of_a_client_belong_together(identity: Identity):
    with pytest.raises(ValueError, match="set both or neither"):
        DestinationTls.model_validate({"certificate": identity.certificate})
