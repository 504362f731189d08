"""The doctor with real ports, peers, certificates, ledgers and models: what it finds, and what it advises."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from pneumo_monai.doctor.check import Check, Verdict
from pneumo_monai.doctor.machine import check_clock, check_disk, check_permissions
from pneumo_monai.doctor.peers import check_certificates, check_commitments, check_destinations, echo
from pneumo_monai.doctor.ports import check_port
from pneumo_monai.doctor.run import examine
from pneumo_monai.doctor.software import check_ledger, check_model, check_versions
from pneumo_monai.entries import DeliveryState
from pneumo_monai.reserve import Reserve
from pneumo_monai.settings import Destination, Settings, load_settings
from pneumo_monai.tables import SCHEMA_VERSION, connect
from tests.bundles import write_random_bundle
from tests.certificates import Authority
from tests.ledgers import Book
from tests.peers import free_port, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Return a function that writes a configuration file and loads it."""

    def load(**content: Any) -> Settings:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump({"data_dir": str(tmp_path / "data"), **content}))
        return load_settings(file)

    return load


@contextmanager
def verification_scp(ae_title: str = "PACS", *, contexts: tuple[Any, ...] = (Verification,)) -> Iterator[int]:
    """Run a peer that wants to be called by its title, by PNEUMO."""
    entity = AE(ae_title=ae_title)
    entity.require_called_aet = True
    entity.require_calling_aet = ["PNEUMO"]
    for context in contexts:
        entity.add_supported_context(context)
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda _: 0)])
    try:
        yield port
    finally:
        server.shutdown()


def destination(port: int, **more: Any) -> dict[str, Any]:
    return {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port, **more}


def only(checks: Any) -> Check:
    (check,) = checks
    return check


def test_a_line_is_one_line_with_its_remedy():
    check = Check(name="a", verdict=Verdict.WRONG, found="two\nlines", remedy="mend it")
    assert check.line == "wrong   a: two lines; mend it"


def test_a_port_is_free_ours_or_somebody_elses(tmp_path: Path):
    port = free_port()
    assert check_port("web", "127.0.0.1", port).verdict is Verdict.OK
    assert check_port("web", "127.0.0.1", 0).verdict is Verdict.OK
    with socket.create_server(("127.0.0.1", port)):
        held = check_port("web", "127.0.0.1", port)
    assert held.verdict is Verdict.WRONG
    assert "web.port" in held.remedy
    stranger = check_port("listener", "192.0.2.1", port)
    assert stranger.verdict is Verdict.WRONG
    assert "listener.host" in stranger.remedy
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"data_dir": str(tmp_path / "data"), "listener": {"port": port}}))
    ours = subprocess.Popen([sys.executable, "-m", "pneumo_monai", "listener", "--config", str(config)], cwd=ROOT)
    try:
        wait_until("the listener listens", lambda: "held" in check_port("listener", "127.0.0.1", port).found, 180)
        assert check_port("listener", "127.0.0.1", port).verdict is Verdict.OK
    finally:
        ours.terminate()
        ours.wait(30)


def test_a_data_dir_is_ours_alone(settings: Callable[..., Settings], tmp_path: Path):
    fresh = settings()
    assert only(check_permissions(fresh)).verdict is Verdict.OK
    assert not fresh.data_dir.exists()
    fresh.data_dir.mkdir(mode=0o700)
    assert only(check_permissions(fresh)).verdict is Verdict.OK
    assert not list(fresh.data_dir.iterdir())
    fresh.data_dir.chmod(0o755)
    assert "chmod 700" in only(check_permissions(fresh)).remedy
    blocked = tmp_path / "file"
    blocked.touch()
    assert only(check_permissions(settings(data_dir=str(blocked)))).verdict is Verdict.WRONG
    assert only(check_disk(fresh)).name == "disk"


def test_a_disk_is_wrong_before_it_has_no_more_than_its_reserve(settings: Callable[..., Settings], tmp_path: Path):
    free = Reserve(tmp_path, 0).free()
    for reserve, verdict, said in (
        (free // 100, Verdict.OK, "kept as a reserve"),
        (free * 2 // 3, Verdict.WRONG, "GiB are free"),
        (free * 2, Verdict.WRONG, "films are answered 0xA700"),
    ):
        found = only(check_disk(settings(listener={"limits": {"disk_reserve_bytes": reserve}})))
        assert found.verdict is verdict
        assert said in found.found


def test_a_clock_that_jumped_back_is_seen():
    checks = {check.name: check for check in check_clock(time.time() + 600)}
    assert checks["clock"].verdict is Verdict.WRONG
    assert "future" in checks["clock"].found
    assert {check.name: check for check in check_clock(time.time() - 5)}["clock"].verdict is Verdict.OK
    assert {check.name: check for check in check_clock(None)}["clock"].verdict is Verdict.OK


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_destinations_answer_reject_or_are_not_there(settings: Callable[..., Settings]):
    with verification_scp() as port:
        assert only(check_destinations(settings(destinations=[destination(port)]))).verdict is Verdict.OK
        called = echo(Destination(**destination(port, ae_title="OTHER")), "PNEUMO")
        assert "Called AE title not recognised" in called.found
        calling = echo(Destination(**destination(port)), "STRANGER")
        assert "Calling AE title not recognised" in calling.found
        assert "enter STRANGER there" in calling.remedy
    silent = only(check_destinations(settings(destinations=[destination(port)])))
    assert silent.verdict is Verdict.WRONG
    assert "cannot be reached" in silent.found
    assert only(check_destinations(settings())).verdict is Verdict.WRONG
    with verification_scp(contexts=("1.2.840.10008.5.1.4.1.1.88.34",)) as port:
        assert echo(Destination(**destination(port)), "PNEUMO").verdict is Verdict.OK


# As above.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_destination_that_should_commit_accepts_the_request_or_not(settings: Callable[..., Settings]):
    with verification_scp(contexts=(Verification, StorageCommitmentPushModel)) as port:
        asked = settings(destinations=[destination(port, storage_commitment=True)])
        assert only(check_commitments(asked)).verdict is Verdict.OK
        assert list(check_commitments(settings(destinations=[destination(port)]))) == []
        elsewhere = settings(destinations=[destination(port, storage_commitment={"port": free_port()})])
        away = only(check_commitments(elsewhere))
        assert (away.verdict, "could not be reached" in away.found) == (Verdict.WRONG, True)
    with verification_scp() as port:
        refused = only(check_commitments(settings(destinations=[destination(port, storage_commitment=True)])))
        assert (refused.verdict, "set destinations[].storage_commitment to null" in refused.remedy) == (
            Verdict.WRONG,
            True,
        )


def test_certificates_say_when_they_end_and_who_may_read_their_key(settings: Callable[..., Settings], tmp_path: Path):
    authority = Authority(tmp_path / "authority")
    long, short, over = (authority.issue(f"d{days}", days=days) for days in (200, 10, -1))
    for identity, verdict, said in (
        (long, Verdict.OK, "valid for 199 more days"),
        (short, Verdict.WRONG, "expires in 9 days"),
        (over, Verdict.WRONG, "certificate has expired"),
    ):
        identity.key.chmod(0o400)
        files = {"certificate": str(identity.certificate), "key": str(identity.key)}
        tls = {**files, "authorities": str(authority.certificate)}
        found = list(check_certificates(settings(listener={"tls": tls}, destinations=[destination(1, tls=files)])))
        assert {check.verdict for check in found if check.name == "certificates of listener.tls"} == {verdict}
        assert said in found[0].found
        assert any("destinations[0].tls" in check.name for check in found)
    long.key.chmod(0o644)
    open_key = [
        c
        for c in check_certificates(
            settings(listener={"tls": {**tls, "key": str(long.key), "certificate": str(long.certificate)}})
        )
        if c.name == "listener.tls.key"
    ]
    assert "chmod 400" in only(open_key).remedy


def test_a_ledger_is_read_as_it_is(settings: Callable[..., Settings]):
    ours = settings()
    checks, newest = check_ledger(ours)
    assert (only(checks).verdict, newest) == (Verdict.OK, None)
    ours.data_dir.mkdir()
    engine = connect(ours.ledger_url)
    assert f"version {SCHEMA_VERSION}" in only(check_ledger(ours)[0]).found
    for version, verdict in ((SCHEMA_VERSION + 1, Verdict.WRONG), (SCHEMA_VERSION - 1, Verdict.UNKNOWN)):
        with engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE schema_version SET version = {version}"))
        assert only(check_ledger(ours)[0]).verdict is verdict
    engine.dispose()
    away = settings(ledger={"url": f"postgresql://u:MARKED@127.0.0.1:{free_port()}/db"})
    unreachable = only(check_ledger(away)[0])
    assert unreachable.verdict is Verdict.WRONG
    assert "MARKED" not in unreachable.line


def test_what_waits_for_a_destination_that_is_gone_is_wrong(settings: Callable[..., Settings]):
    ours = settings()
    book = Book(ours.data_dir)
    for number, state in enumerate((DeliveryState.PENDING, DeliveryState.UNDELIVERABLE, DeliveryState.DELIVERED)):
        book.report(book.film(number), [("gone", state)])
    book.close()
    left, ledger = check_ledger(ours)[0]
    assert (left.name, left.verdict, ledger.verdict) == ("deliveries to gone", Verdict.WRONG, Verdict.OK)
    assert "1 wait for it, and destinations has no such name" in left.found


def test_a_model_is_loaded_and_reads(settings: Callable[..., Settings], tmp_path: Path):
    bundle = write_random_bundle(tmp_path / "bundle")
    model = {"path": str(bundle), "device": "cpu"}
    assert [check.verdict for check in check_model(settings(model=model))] == [Verdict.OK, Verdict.OK]
    (bundle / "models" / "model.pt").write_bytes(b"other")
    broken = only(check_model(settings(model=model)))
    assert (broken.verdict, "model.pt" in broken.found) == (Verdict.WRONG, True)
    assert {check.verdict for check in check_versions()} == {Verdict.OK}


def test_wrong_settings_end_the_examination_with_every_key(tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text("data_dir: d\nlistener: {port: x}\nweb: {prot: 1}\n")
    found = [check for check in examine(file) if check.verdict is Verdict.WRONG]
    assert {check.name for check in found} == {"settings"}
    assert ["listener.port" in found[0].found, "web.prot" in found[1].found] == [True, True]


def test_the_exit_status_is_0_only_if_all_is_well(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "timedatectl").write_text("#!/bin/sh\necho yes\n")
    (tools / "timedatectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    model = {"path": str(write_random_bundle(tmp_path / "bundle")), "device": "cpu"}
    ports = {"listener": {"port": free_port()}, "web": {"port": free_port()}}
    command = [sys.executable, "-m", "pneumo_monai", "doctor", "--config", str(tmp_path / "config.yaml")]
    with verification_scp() as port:
        settings(model=model, destinations=[destination(port)], **ports)
        well = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert (well.returncode, well.stderr) == (0, ""), well.stdout
    assert all(line.startswith(("ok ", "unknown ")) for line in well.stdout.splitlines())
    ill = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (ill.returncode, ill.stderr) == (1, "")
    assert [line.split(":")[0] for line in ill.stdout.splitlines() if line.startswith("wrong")] == [
        "wrong   destination pacs"
    ]
