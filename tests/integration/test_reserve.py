"""Disk and ledger run out, and come back: 0xA700 meanwhile, said once, and nothing half written."""

import logging
import os
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import ComputedRadiographyImageStorage, Verification

from pneumo_monai.entries import FilmAnswer, FilmState
from pneumo_monai.errors import OutOfResources
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.listener import ListenerProcess
from pneumo_monai.reserve import Reserve
from pneumo_monai.settings import Listener
from pneumo_monai.spool import Spool
from tests.films import make_film
from tests.peers import PostgreSql, missing, wait_until

pytestmark = pytest.mark.integration

MIB = 1 << 20
RESERVE = 16 * MIB


@dataclass
class Gateway:
    """A listener, its ledger, and what it says to whoever started it."""

    port: int
    inbox: Inbox
    folder: Path
    channel: socket.socket

    def send(self, *films: Dataset) -> list[int]:
        """Send films over one association, and return what each is answered; an echo must be answered too."""
        entity = AE(ae_title="SCANNER")
        entity.add_requested_context(ComputedRadiographyImageStorage)
        entity.add_requested_context(Verification)
        association = entity.associate("127.0.0.1", self.port)
        assert association.is_established
        try:
            assert association.send_c_echo().Status == 0x0000
            return [association.send_c_store(film).Status for film in films]
        finally:
            association.release()

    def said(self) -> list[str]:
        """Return what was said of being ready, or not, since the last call."""
        found = []
        while True:
            try:
                found.append(self.channel.recv(4096).decode())
            except BlockingIOError:
                return found

    def files(self) -> set[str]:
        """Return what lies in the spool."""
        return {path.name for path in (self.folder / "spool").rglob("*") if path.is_file()}

    def is_whole(self) -> bool:
        """Whether every row has its file, whole under its own name, and there is no other."""
        studies = self.inbox.records.newest_studies(1000)
        return self.files() == {Path(film.path).name for film in self.inbox.records.films(*studies)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 64 MiB, which only root may."""
    if os.geteuid() != 0:
        missing("a small file system can be mounted by root alone")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("this machine does not let root mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def listening(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, reserve: int) -> Iterator[Gateway]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        address = f"\0pneumo-monai-test-{os.getpid()}-{os.urandom(4).hex()}"
        channel.bind(address)
        channel.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{address[1:]}")
        inbox = Inbox(prepare(url))
        settings = Listener.model_validate({"port": 0, "limits": {"disk_reserve_bytes": reserve}})
        listener = ListenerProcess(settings, Spool(folder), inbox)
        listener.start()
        try:
            yield Gateway(listener.port, inbox, folder, channel)
        finally:
            listener.stop()
            inbox.records.engine.dispose()


def fill(folder: Path, left: int) -> None:
    """Write a file that leaves so many bytes free."""
    with (folder / "ballast").open("wb") as stream:
        while (free := Reserve(folder, 0).free()) > left:
            stream.write(bytes(min(free - left, MIB)))
            stream.flush()


def lines(caplog: pytest.LogCaptureFixture, begin: str) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith(begin)]


def outage(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, begin: Callable[[], object], end: Callable[[], object]
) -> None:
    """Films are taken before and after an outage; those that come meanwhile are turned away, which is said once."""
    before, meanwhile = [make_film(), make_film()], [make_film() for _ in range(3)]
    assert gateway.send(*before) == [0x0000] * 2
    begin()
    assert gateway.send(*meanwhile) == [0xA700] * 3
    assert len(lines(caplog, "films are answered 0xA700")) == 1
    (said,) = gateway.said()
    assert said.startswith("X_READY=0\nSTATUS=films are answered 0xA700: ")
    end()
    assert gateway.send(*meanwhile, *before) == [0x0000] * 5
    assert lines(caplog, "films are taken again") == ["films are taken again; 3 were answered 0xA700"]
    assert gateway.said() == ["X_READY=1\nSTATUS=takes films again"]
    assert len(gateway.inbox.records.newest_studies(100)) == 5
    assert gateway.is_whole()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="pneumo_monai")
    return caplog


def test_no_film_takes_of_the_reserve_but_its_answer_may(
    small_disk: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(small_disk, f"sqlite:///{small_disk / 'ledger.sqlite'}", monkeypatch, RESERVE) as gateway:

        def begin() -> None:
            files = gateway.files()
            fill(small_disk, RESERVE)
            # What was taken is finished: its answer, and a result of a megabyte.
            studies = gateway.inbox.records.newest_studies(10)
            answers = [
                FilmAnswer(film_id=film.id, state=FilmState.REFUSED, reason="view", detail="d")
                for film in gateway.inbox.records.films(*studies)
            ]
            gateway.inbox.records.answer(answers)
            result = Spool(small_disk).keep_document("1.2.3", "1.2.3.4", bytes(MIB))
            Spool(small_disk).path(result).unlink()
            assert gateway.files() == files

        outage(gateway, log, begin, (small_disk / "ballast").unlink)
        assert "reserve of 16 MiB" in log.text
        assert gateway.inbox.records.counts()[FilmState.REFUSED] == 2


def test_a_full_disk_leaves_nothing_half_written(
    small_disk: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(small_disk, f"sqlite:///{small_disk / 'ledger.sqlite'}", monkeypatch, 0) as gateway:
        files: list[set[str]] = []

        def begin() -> None:
            files.append(gateway.files())
            fill(small_disk, 0)

        def end() -> None:
            assert gateway.files() == files[0]
            (small_disk / "ballast").unlink()

        outage(gateway, log, begin, end)


def test_a_ledger_that_another_process_holds_turns_films_away_until_it_is_let_go(
    tmp_path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ledger.sqlite"
    with listening(tmp_path, f"sqlite:///{file}", monkeypatch, 0) as gateway:

        @sa.event.listens_for(gateway.inbox.records.engine, "checkout")
        def _impatient(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute("PRAGMA busy_timeout=100")

        holder = sqlite3.connect(file, isolation_level=None)
        outage(gateway, log, lambda: holder.execute("BEGIN IMMEDIATE"), lambda: holder.execute("ROLLBACK"))
        holder.close()
        assert "the ledger cannot commit (OperationalError)" in log.text


def test_a_database_server_that_is_stopped_turns_films_away_until_it_is_back(
    tmp_path: Path, postgres: PostgreSql, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(tmp_path, postgres.database(), monkeypatch, 0) as gateway, postgres.kept_running():
        outage(gateway, log, postgres.stop, postgres.start)
        assert "the ledger cannot commit (OperationalError)" in log.text
        refused = lines(log, "the ledger did not take study")
        wait_until("each study is asked for", lambda: len(lines(log, "the ledger took study")) == len(refused))


def test_films_that_arrive_at_once_do_not_share_the_same_room(small_disk: Path) -> None:
    reserve = Reserve(small_disk, RESERVE)
    half = (reserve.free() - RESERVE) // 2
    with (
        reserve.room_for(half),
        reserve.room_for(half),
        pytest.raises(OutOfResources, match="disk_reserve_bytes"),
        reserve.room_for(MIB),
    ):
        pytest.fail("there is none")
    with reserve.room_for(2 * half):
        pass
