"""What leaves the disk and the ledger: real films and results of a real worker, and what is possible afterwards."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from pydicom import dcmread

from pneumo_monai.commitments import Commitments
from pneumo_monai.engine import Engine
from pneumo_monai.entries import CommitmentState, DeliveryState, FilmState
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.forms import Form
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.retention import Retention
from pneumo_monai.revising import ask_for_rereading
from pneumo_monai.settings import Retention as RetentionSettings
from pneumo_monai.settings import load_settings
from pneumo_monai.spool import identify
from pneumo_monai.tables import COMMITMENTS, DELIVERIES, FILMS, REPORTS
from pneumo_monai.tally import Tally
from tests.films import film_bytes, make_film
from tests.peers import COMPREHENSIVE_3D_SR, storage_scp
from tests.unit.test_desk import Office, destination, engine_of, predecessors, rejected

DAY = 86_400.0
ALL_FORMS = [[form] for form in Form if form is not Form.REJECTION_NOTE]
TIMES = (FILMS.c.received_at, FILMS.c.answered_at, REPORTS.c.created_at, DELIVERIES.c.updated_at)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return engine_of(tmp_path_factory.mktemp("m"))


class Past(Office):
    """An office whose study was long ago."""

    def age(self, days: float) -> None:
        """Let everything have happened so many days earlier."""
        with self.records.engine.begin() as connection:
            for column in (*TIMES, COMMITMENTS.c.updated_at):
                connection.execute(sa.update(column.table).values({column: column - days * DAY}))
        for path in [*self.spool.data_dir.rglob("spool/*/*"), *self.spool.data_dir.rglob("spool/*/*/*")]:
            then = path.stat().st_mtime - days * DAY
            os.utime(path, (then, then))

    def settle(self, state: DeliveryState = DeliveryState.DELIVERED) -> None:
        """Let all that waits be sent, or be in another state."""
        with self.records.engine.begin() as connection:
            waiting = sa.update(DELIVERIES).where(DELIVERIES.c.state == DeliveryState.PENDING)
            connection.execute(waiting.values(state=state, form=Form.SR_COMPREHENSIVE_3D))

    def clean(self, *committing: str, **days: Any) -> int:
        """Remove until nothing is left to remove, and return how often that was asked."""
        settings = RetentionSettings(**days)
        retention = Retention(self.records, self.spool, settings, committing)
        bites = 1
        while retention.clean():
            bites += 1
            assert bites < 100
        return bites

    def files(self, kind: str) -> list[Path]:
        """Return the files of one kind: ``films``, ``reports`` or ``headers``."""
        return sorted(self.spool.data_dir.glob(f"spool/{kind}/*/*"))

    def resend(self, encoded: bytes) -> bool:
        """Receive bytes once more; False when they are known."""
        identity = identify(encoded)
        return self.records.receive(identity, self.spool.keep_film(identity, encoded), "SCANNER")


@pytest.fixture
def office(tmp_path: Path, engine: Engine) -> Iterator[Past]:
    opened = Past(tmp_path, engine)
    yield opened
    opened.records.engine.dispose()


def test_films_go_first_then_results_then_what_the_ledger_knows(office: Past) -> None:
    office.receive()
    office.receive(BodyPartExamined="HAND")
    office.analyse()
    office.settle()
    office.age(29)
    assert office.clean() == 1
    office.age(2)
    assert office.clean() > 1
    assert [office.files(kind) != [] for kind in ("films", "reports", "headers")] == [False, True, True]
    # The header of what a result speaks of stays, for a retraction; a refused film leaves nothing.
    (header,) = office.files("headers")
    assert "PixelData" not in dcmread(header)
    assert not list(office.spool.films.iterdir())
    office.age(60)
    office.clean()
    assert [office.files(kind) != [] for kind in ("films", "reports", "headers")] == [False, False, True]
    assert len(office.records.films(office.study)) == 2
    office.age(280)
    office.clean()
    assert office.files("headers") == []
    assert office.records.films(office.study) == []
    assert office.current is None
    assert office.records.deliveries([office.study]) == []
    assert (Tally(office.records.engine).received().total, office.records.counts()[FilmState.ANALYSED]) == (0, 0)


def test_a_film_that_was_kept_aside_goes_with_what_the_ledger_knows(office: Past) -> None:
    office.receive()
    (film,) = office.files("films")
    office.spool.keep_aside(str(film.relative_to(office.spool.data_dir)))
    office.analyse()
    office.settle()
    office.age(300)
    office.clean()
    assert not office.files("films")
    (aside,) = office.spool.quarantine.iterdir()
    # Of the same file: it has aged with it.
    os.utime(aside, (0.0, time.time() - 366 * DAY))
    office.clean(ledger_days=None)
    assert list(office.spool.quarantine.iterdir()) == [aside]
    office.clean()
    assert not list(office.spool.quarantine.iterdir())


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.UNDELIVERABLE])
def test_what_waits_or_cannot_be_delivered_stays(office: Past, state: DeliveryState) -> None:
    office.receive()
    office.analyse()
    office.settle(state)
    office.age(1000)
    assert office.clean() == 1
    assert office.files("films")
    assert office.files("reports")
    assert office.current is not None


@pytest.mark.parametrize("state", [FilmState.FAILED, FilmState.IN_PROGRESS])
def test_what_failed_or_is_in_progress_stays_and_so_does_its_study(office: Past, state: FilmState) -> None:
    office.receive()
    office.analyse()
    office.settle()
    office.receive(BodyPartExamined="HAND")
    with office.records.engine.begin() as connection:
        connection.execute(sa.update(FILMS).where(FILMS.c.id == 2).values(state=state, answered_at=None))
    office.age(1000)
    assert office.clean() == 1
    assert len(office.files("films")) == 2


def test_what_is_not_committed_to_stays_while_that_is_asked_for(office: Past) -> None:
    office.destinations = (destination(storage_commitment=True),)
    office.receive()
    office.analyse()
    office.settle()
    (owed,) = Commitments(office.records.engine).of([office.study])
    assert owed.state is CommitmentState.PENDING
    for state in (CommitmentState.PENDING, CommitmentState.UNCOMMITTED):
        with office.records.engine.begin() as connection:
            connection.execute(sa.update(COMMITMENTS).values(state=state))
        office.age(100)
        assert office.clean("pacs") == 1
    with office.records.engine.begin() as connection:
        connection.execute(sa.update(COMMITMENTS).values(state=CommitmentState.COMMITTED))
    office.clean("pacs")
    assert office.files("films") == office.files("reports") == []


def test_a_destination_that_is_asked_no_more_keeps_nothing_here(office: Past) -> None:
    office.destinations = (destination(storage_commitment=True),)
    office.receive()
    office.analyse()
    office.settle()
    office.age(1000)
    office.clean()
    assert office.records.films(office.study) == []
    assert Commitments(office.records.engine).of([office.study]) == []


def test_null_keeps_for_ever(office: Past) -> None:
    office.receive()
    office.analyse()
    office.settle()
    office.age(10_000)
    assert office.clean(films_days=None, results_days=None, ledger_days=None) == 1
    assert office.files("films")


def test_a_result_is_retracted_though_films_and_results_are_gone(office: Past) -> None:
    office.destinations = (destination(forms=ALL_FORMS),)
    uid = office.receive()
    office.analyse()
    with office.records.engine.begin() as connection:
        connection.execute(sa.update(DELIVERIES).values(state=DeliveryState.DELIVERED, form=Form.SR_COMPREHENSIVE_3D))
    first = {form: office.document(1, form) for form in (Form.SR_COMPREHENSIVE_3D, Form.SR_TEXT)}
    office.age(100)
    office.clean()
    assert office.files("films") == office.files("reports") == []
    assert office.retract() == (2, ["pacs"])
    retraction = office.document(2, Form.SR_COMPREHENSIVE_3D)
    assert predecessors(retraction) == {first[Form.SR_COMPREHENSIVE_3D].SOPInstanceUID}
    assert retraction.PatientName == first[Form.SR_COMPREHENSIVE_3D].PatientName
    assert retraction.SeriesInstanceUID == first[Form.SR_COMPREHENSIVE_3D].SeriesInstanceUID
    assert rejected(office.document(2, Form.REJECTION_NOTE)) == {first[Form.SR_COMPREHENSIVE_3D].SOPInstanceUID}
    assert office.current is not None
    assert office.current.films == (uid,)


def test_a_film_that_was_removed_is_known_still_and_brings_no_second_result(office: Past) -> None:
    encoded = film_bytes(make_film(StudyInstanceUID=office.study))
    assert office.resend(encoded)
    office.analyse()
    office.settle()
    office.age(31)
    office.clean()
    assert office.files("films") == []
    assert not office.resend(encoded)
    assert [film.state for film in office.records.films(office.study)] == [FilmState.ANALYSED]
    inbox = Inbox(prepare(str(office.records.engine.url)))
    inbox.close_study(office.study)
    assert [workflow.workflow_id for workflow in inbox._client.list_workflows()] == []
    inbox.close()
    inbox.records.engine.dispose()
    # It is back on disk, and stays as long as any.
    assert len(office.files("films")) == 1
    assert office.clean() == 1


def test_a_late_film_of_a_study_whose_films_are_gone_says_what_to_do_and_changes_nothing(
    office: Past, caplog: pytest.LogCaptureFixture
) -> None:
    first = film_bytes(make_film(StudyInstanceUID=office.study))
    office.resend(first)
    office.analyse()
    office.settle()
    office.age(31)
    office.clean()
    office.receive(ViewPosition="AP")
    report = office.analyse()
    assert report is not None
    assert report.revision == 1
    late = office.records.films(office.study)[1]
    assert (late.state, late.reason) == (FilmState.REFUSED, "films-removed")
    assert "pneumo-monai reread" in (late.detail or "")
    assert "were removed" in caplog.text
    # As it says: the first is sent again, and both are read.
    office.resend(first)
    again = office.analyse(again=True)
    assert again is not None
    assert (again.revision, len(again.films)) == (2, 2)


def test_who_asks_to_read_again_what_is_gone_is_told_so(office: Past, tmp_path: Path) -> None:
    office.receive()
    office.analyse()
    office.settle()
    office.age(31)
    office.clean()
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"data_dir": str(tmp_path)}))
    with pytest.raises(ConfigurationError, match=r"were removed \(retention.films_days\); send all of them once more"):
        ask_for_rereading(load_settings(config), [office.study])
    before = office.current
    assert office.analyse(again=True) == before


def test_what_a_crash_left_is_finished_or_swept(office: Past) -> None:
    office.receive()
    office.analyse()
    office.settle()
    (film,) = office.files("films")
    # Its header was kept, and the film is there still.
    office.spool.keep_header(office.study, film.name, b"header")
    assert office.spool.header_path(str(film.relative_to(office.spool.data_dir))) == film
    stray = office.spool.films / "1.2.9" / "1.2.9.1.0123456789abcdef.dcm"
    stray.parent.mkdir()
    stray.write_bytes(b"a film without its row")
    office.age(31)
    fresh = office.spool.films / "1.2.10" / "1.2.10.1.0123456789abcdef.dcm"
    fresh.parent.mkdir()
    fresh.write_bytes(b"a film whose row is not there yet")
    then = time.time() - 40 * DAY
    os.utime(fresh.parent, (then, then))
    office.clean()
    assert office.files("films") == [fresh]
    (header,) = office.files("headers")
    assert dcmread(header).StudyInstanceUID == office.study


def test_a_delivery_of_what_was_not_taken_yet_is_whole(office: Past) -> None:
    office.receive()
    office.analyse()
    office.age(1000)
    office.clean()
    with storage_scp(COMPREHENSIVE_3D_SR) as peer:
        office.deliver(peer)
    (received,) = peer.received
    assert received.ContentSequence


def test_a_retracted_result_is_done_with_like_any_other(office: Past) -> None:
    office.receive()
    office.analyse()
    office.settle()
    office.retract()
    office.settle()
    office.age(1000)
    office.clean()
    assert office.records.reports([office.study]) == []
    assert office.files("reports") == office.files("headers") == office.files("films") == []
