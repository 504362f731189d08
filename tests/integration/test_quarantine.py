"""A film that ends the worker: it is tried alone and quarantined, and what was at hand with it is read."""

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from pneumo_monai.entries import FilmState
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.processes import Child
from pneumo_monai.records import Records
from pneumo_monai.settings import Settings, load_settings
from pneumo_monai.spool import Spool, identify
from pneumo_monai.tally import Tally
from tests.films import film_bytes, make_film
from tests.peers import COMPREHENSIVE_3D_SR, StorageScp, storage_scp, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

SECONDS = 800.0
HOW = os.environ.get("DEADLY_HOW", "SIGSEGV")
"""Others are for a person who waits: SIGKILL takes three trials, a hang two of READING_SECONDS."""


class Ward:
    """A listener's hands without its socket, and a deadly worker that is started again when it dies."""

    def __init__(self, folder: Path, bundle: Path, peer: StorageScp) -> None:
        config = folder / "config.yaml"
        destination = {"name": "pacs", "ae_title": "PEER", "host": "127.0.0.1", "port": peer.port}
        model = {"path": str(bundle), "device": "cpu"}
        content = {"data_dir": str(folder / "data"), "destinations": [destination], "model": model}
        config.write_text(yaml.safe_dump(content))
        self.settings: Settings = load_settings(config)
        self.settings.data_dir.mkdir()
        self.inbox = Inbox(prepare(self.settings.ledger_url))
        self.spool = Spool(self.settings.data_dir)
        command = [sys.executable, "-m", "tests.integration.deadly_worker", str(config)]
        self.worker = Child("worker-0", command, folder)
        self._end = threading.Event()

    def receive(self, *, uid: str, study: str) -> None:
        """Receive a film."""
        encoded = film_bytes(make_film(SOPInstanceUID=uid, StudyInstanceUID=study))
        identity = identify(encoded)
        self.inbox.receive(identity, self.spool.keep_film(identity, encoded), "SCANNER")

    @property
    def records(self) -> Records:
        return self.inbox.records

    @contextmanager
    def working(self) -> Iterator[None]:
        def tend() -> None:
            while not self._end.wait(0.1):
                self.worker.tend()

        thread = threading.Thread(target=tend)
        self.worker.start()
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()
            self.worker.stop()
            self.inbox.close()

    def state(self, uid: str, study: str) -> tuple[str, str | None]:
        (film,) = [film for film in self.records.films(study) if film.sop_instance_uid == uid]
        return film.state, film.reason


def test_a_film_that_ends_the_worker_is_quarantined_and_the_films_at_hand_with_it_are_read(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    deadly, sibling, other, another = (str(make_film().SOPInstanceUID) for _ in range(4))
    first, second, third = (str(make_film().StudyInstanceUID) for _ in range(3))
    for name, value in (("DEADLY_FILM", deadly), ("DEADLY_HOW", HOW)):
        monkeypatch.setenv(name, value)
    with storage_scp(COMPREHENSIVE_3D_SR) as peer:
        ward = Ward(tmp_path, bundle, peer)
        equation = Tally(ward.records.engine)
        for uid, study in ((deadly, first), (sibling, first), (other, second), (another, third)):
            ward.receive(uid=uid, study=study)
        for study in (first, second, third):
            ward.inbox.close_study(study)
        with ward.working():

            def delivered() -> bool:
                received = equation.received()
                assert received.holds
                assert received.total == 4
                return len(peer.received) == 3

            wait_until("each study is reported", delivered, SECONDS)
        said = capfd.readouterr().err
        assert ward.state(deadly, first) == (FilmState.REFUSED, "quarantined"), said
        assert [ward.state(uid, study) for uid, study in ((sibling, first), (other, second), (another, third))] == [
            (FilmState.ANALYSED, None)
        ] * 3
        # It ended the worker once, and no second time.
        assert ward.worker.state.starts == 2
        (film,) = [film for film in ward.records.films(first) if film.sop_instance_uid == deadly]
        assert HOW in str(film.detail)
        # The deadly one and its sibling; another study may have been in a stage of its own.
        assert re.search("[234] films were at hand when the last worker-0 ended", said)
        (kept,) = (ward.settings.data_dir / "quarantine").iterdir()
        assert kept.read_bytes() == ward.spool.path(film.path).read_bytes()
