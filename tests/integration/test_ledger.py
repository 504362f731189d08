"""The ledger across processes: this one listens, another works, and dies in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from pneumo_monai.attempts import Attempts
from pneumo_monai.cleaning import SCHEDULE
from pneumo_monai.delivering import DELIVERIES_AT_ONCE
from pneumo_monai.entries import (
    DeliveryRecord,
    DeliveryState,
    Errand,
    FilmAnswer,
    FilmState,
    OutcomeKind,
    ReportRecord,
    Revision,
)
from pneumo_monai.findings import RetractionCause
from pneumo_monai.forms import Form
from pneumo_monai.ledger import STUDIES_AT_ONCE, Inbox, prepare
from pneumo_monai.priority import Priority
from pneumo_monai.spool import Identity
from pneumo_monai.workflows import VERSION
from tests.peers import PostgreSql, wait_until

pytestmark = pytest.mark.integration

WORKER = Path(__file__).with_name("worker_process.py")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a ledger on either database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    server: PostgreSql = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def inbox(url: str) -> Iterator[Inbox]:
    """Open the listener's side."""
    engine = prepare(url)
    opened = Inbox(engine)
    yield opened
    opened.close()
    engine.dispose()


@contextmanager
def working(url: str, folder: Path, seconds: float = 0.0, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**os.environ, "ANALYSIS_SECONDS": str(seconds), **variables}
    before = calls(folder).count("ready")
    process = subprocess.Popen([sys.executable, str(WORKER), url, str(folder)], env=environment)
    try:
        # One that is to die may be faster at that.
        wait_until("the worker is ready", lambda: calls(folder).count("ready") > before or process.poll() is not None)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def calls(folder: Path) -> list[str]:
    file = folder / "calls"
    return file.read_text().splitlines() if file.exists() else []


def receive(inbox: Inbox, study: str, number: int = 1, priority: Priority = Priority.ROUTINE) -> Identity:
    identity = Identity(
        study_instance_uid=study, sop_instance_uid=f"{study}.{number}", sop_class_uid="1.2", digest=f"{number:064x}"
    )
    assert inbox.receive(identity, "none", "SCANNER", priority)
    return identity


def test_a_study_closed_twice_is_reported_once_and_delivered_everywhere(inbox: Inbox, url: str, tmp_path: Path) -> None:
    study = f"1.2.{os.getpid()}.1"
    receive(inbox, study)
    inbox.close_study(study)
    inbox.close_study(study)
    with working(url, tmp_path):
        report = wait_until("a report", lambda: inbox.records.latest_report(study))
        wait_until(
            "both destinations",
            lambda: {d.state for d in inbox.records.deliveries([study])} == {DeliveryState.DELIVERED},
        )
        wait_until("a second turn", lambda: f"commit {study} {report.revision} good 1" in calls(tmp_path))
    assert calls(tmp_path).count(f"begin {study}") == 1
    assert [line for line in calls(tmp_path) if line.startswith("commit")] == [
        f"commit {study} {report.revision} good {turn}" for turn in (0, 1)
    ]
    assert [line for line in calls(tmp_path) if line.startswith("deliver")] == [
        f"deliver {study} {report.revision} good",
        f"deliver {study} {report.revision} flaky",
    ]


def test_what_a_killed_worker_left_is_finished_by_the_next_of_its_slot(inbox: Inbox, url: str, tmp_path: Path) -> None:
    study = f"1.2.{os.getpid()}.2"
    receive(inbox, study)
    inbox.close_study(study)
    with working(url, tmp_path, seconds=60) as process:
        wait_until("the analysis began", lambda: f"begin {study}" in calls(tmp_path))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert inbox.records.latest_report(study) is None
    with working(url, tmp_path):
        wait_until("a report", lambda: inbox.records.latest_report(study))
    assert calls(tmp_path).count(f"begin {study}") == 2
    assert calls(tmp_path).count(f"end {study}") == 1
    assert [film.state for film in inbox.records.films(study)] == [FilmState.ANALYSED]


def test_revisions_of_a_study_are_made_one_after_the_other(inbox: Inbox, url: str, tmp_path: Path) -> None:
    study, other = f"1.2.{os.getpid()}.3", f"1.2.{os.getpid()}.4"
    with working(url, tmp_path, seconds=0.5):
        for number in (1, 2, 3):
            receive(inbox, study, number)
            inbox.close_study(study)
        receive(inbox, other)
        inbox.close_study(other)
        wait_until(
            "both studies", lambda: inbox.records.latest_report(other) and calls(tmp_path).count(f"begin {study}") == 3
        )
        wait_until("no open study", lambda: not inbox.records.open_studies())
    order = [line.split()[0] for line in calls(tmp_path) if line.endswith(f" {study}")]
    assert order == ["begin", "end"] * 3
    revisions = [report.revision for report in inbox.records.reports([study])]
    assert revisions == list(range(1, len(revisions) + 1))


def test_a_study_that_a_crash_left_open_is_swept_at_the_next_start(inbox: Inbox, url: str, tmp_path: Path) -> None:
    study = f"1.2.{os.getpid()}.5"
    receive(inbox, study)
    assert inbox.sweep() == 1
    with working(url, tmp_path):
        wait_until("a report", lambda: inbox.records.latest_report(study))
    assert inbox.sweep() == 0


def test_a_worker_that_dies_between_its_answer_and_the_delivery_delivers_after_all(
    inbox: Inbox, url: str, tmp_path: Path
) -> None:
    study = f"1.2.{os.getpid()}.6"
    receive(inbox, study)
    inbox.close_study(study)
    with working(url, tmp_path, DIE_WHEN_ENTERED="1") as process:
        assert process.wait(60) == 9
    report = inbox.records.latest_report(study)
    assert report is not None
    with working(url, tmp_path):
        wait_until("delivered", lambda: not inbox.records.waiting())
    assert inbox.records.latest_report(study) == report
    assert f"deliver {study} {report.revision} good" in calls(tmp_path)


def test_what_a_destination_does_not_take_now_is_tried_again_and_holds_no_place(
    inbox: Inbox, url: str, tmp_path: Path
) -> None:
    studies = [f"1.2.{os.getpid()}.7.{number}" for number in range(20)]
    for study in studies:
        receive(inbox, study)
        inbox.close_study(study)
    with working(url, tmp_path, DESTINATIONS="picky"):
        # More than may be under way at once: the first ones would hold the others up while they wait.
        wait_until("each was tried", lambda: all(f"pick {study} 1" in calls(tmp_path) for study in studies), 120)
        wait_until("each was taken", lambda: not inbox.records.waiting(), 120)
    assert sum(line.startswith("deliver") for line in calls(tmp_path)) == len(studies)


def test_a_result_is_retracted_and_its_study_read_again(inbox: Inbox, url: str, tmp_path: Path) -> None:
    study = f"1.2.{os.getpid()}.8"
    receive(inbox, study)
    inbox.close_study(study)
    with working(url, tmp_path):
        wait_until("a report", lambda: inbox.records.latest_report(study))
        for _ in range(2):
            inbox.retract(study, 1, RetractionCause.SAFETY, "A sentence.")
        wait_until("retracted twice", lambda: calls(tmp_path).count(f"retract {study} 1 safety A sentence.") == 2)
        inbox.reread(study)
        wait_until("read again", lambda: f"begin {study} again" in calls(tmp_path))
        wait_until("delivered", lambda: not inbox.records.waiting())
    outcomes = [report.outcome for report in inbox.records.reports([study])]
    assert outcomes == [OutcomeKind.FINDINGS, OutcomeKind.RETRACTION, OutcomeKind.FINDINGS]
    assert f"deliver {study} 2 good" in calls(tmp_path)


def test_what_an_older_version_left_waiting_is_asked_for_again(inbox: Inbox, url: str, tmp_path: Path) -> None:
    study = f"1.2.{os.getpid()}.9"
    receive(inbox, study)
    report = ReportRecord(
        study_instance_uid=study, revision=1, fingerprint="f", outcome=OutcomeKind.FINDINGS, created_at=1.0
    )
    waiting = DeliveryRecord(
        study_instance_uid=study,
        revision=1,
        destination="good",
        slot=0,
        alternatives=(Form.SR_COMPREHENSIVE_3D,),
        updated_at=1.0,
    )
    inbox.records.answer(
        [FilmAnswer(film_id=1, state=FilmState.ANALYSED)], Revision(report=report, deliveries=(waiting,))
    )
    with working(url, tmp_path):
        wait_until("delivered", lambda: f"deliver {study} 1 good" in calls(tmp_path))


def test_a_film_that_failed_is_asked_for_again_though_the_clock_was_set_back(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def receive(number: int, now: float) -> None:
        monkeypatch.setattr("pneumo_monai.records.time.time", lambda: now)
        identity = Identity(
            study_instance_uid="1.9.7", sop_instance_uid=f"1.9.7.{number}", sop_class_uid="1.9", digest=f"{number}"
        )
        assert inbox.receive(identity, "p", "SCANNER")
        for _ in range(2):
            inbox.close_study("1.9.7")

    receive(1, 1000.0)
    receive(2, 900.0)
    (second,) = [film for film in inbox.records.films("1.9.7") if film.sop_instance_uid == "1.9.7.2"]
    inbox.records.answer([FilmAnswer(film_id=second.id, state=FilmState.FAILED, reason="internal", detail="d")])
    receive(2, 950.0)
    schema = "" if inbox.records.engine.dialect.name == "sqlite" else "dbos."
    query = sa.text(f"SELECT count(*) FROM {schema}workflow_status WHERE workflow_uuid LIKE :ids")
    with inbox.records.engine.connect() as connection:
        asked = connection.execute(query, {"ids": "%:1.9.7:%"}).scalar()
    assert asked == 3


def states(inbox: Inbox, study: str) -> set[DeliveryState]:
    return {slot.state for slot in inbox.records.deliveries([study])}


def test_what_was_given_up_is_revived_while_no_worker_runs_and_goes_at_once(
    inbox: Inbox, url: str, tmp_path: Path
) -> None:
    study = f"1.2.{os.getpid()}.10"
    receive(inbox, study)
    inbox.close_study(study)
    down = tmp_path / "good.down"
    down.touch()
    impatient = json.dumps({"first_pause": 0.2, "longest_pause": 0.2, "give_up_after_hours": 1e-5})
    with working(url, tmp_path, DESTINATIONS="good", PATIENCE=impatient):
        wait_until("given up", lambda: states(inbox, study) == {DeliveryState.UNDELIVERABLE})
    # One attempt may find it too old; only the one after it gives it up.
    assert calls(tmp_path).count(f"down {study} 1 good") >= 2
    down.unlink()
    errand = Errand(study, 1, "good")
    assert inbox.records.not_delivered() == {errand: DeliveryState.UNDELIVERABLE}
    before = time.time()
    for _ in range(2):
        inbox.try_again([errand])
    assert Attempts(inbox.records.engine).of(errand).since >= before
    with working(url, tmp_path, DESTINATIONS="good"):
        wait_until("delivered", lambda: states(inbox, study) == {DeliveryState.DELIVERED})
    assert calls(tmp_path).count(f"deliver {study} 1 good") == 1


def test_what_waits_for_long_goes_at_once_when_it_is_asked_for_and_not_again_at_a_restart(
    inbox: Inbox, url: str, tmp_path: Path
) -> None:
    study = f"1.2.{os.getpid()}.11"
    receive(inbox, study)
    inbox.close_study(study)
    down, errand, patient = tmp_path / "good.down", Errand(study, 1, "good"), json.dumps({"first_pause": 600})
    down.touch()
    attempts = Attempts(inbox.records.engine)
    with working(url, tmp_path, DESTINATIONS="good", PATIENCE=patient):
        wait_until("tried", lambda: attempts.of(errand).number == 1)
    tried = attempts.of(errand)
    assert tried.tried_at is not None
    assert tried.next_at is not None
    assert 300 <= tried.next_at - tried.tried_at <= 600
    down.unlink()
    with working(url, tmp_path, DESTINATIONS="good", PATIENCE=patient):
        assert attempts.of(errand) == tried
        inbox.try_again([errand])
        wait_until("delivered", lambda: states(inbox, study) == {DeliveryState.DELIVERED})
    assert attempts.of(errand).next_at is None


def test_a_clock_that_was_set_back_has_nothing_wait_for_it(inbox: Inbox, url: str, tmp_path: Path) -> None:
    study = f"1.2.{os.getpid()}.12"
    receive(inbox, study)
    inbox.close_study(study)
    down, errand = tmp_path / "good.down", Errand(study, 1, "good")
    down.touch()
    attempts = Attempts(inbox.records.engine)
    with working(url, tmp_path, DESTINATIONS="good", PATIENCE=json.dumps({"first_pause": 600})):
        wait_until("tried", lambda: attempts.of(errand).number == 1)
    # As if that had been next year, by a clock that is right now.
    year = 365 * 86_400.0
    with inbox.records.engine.begin() as connection:
        for statement in (
            "UPDATE attempts SET since = since + :year, tried_at = tried_at + :year, next_at = next_at + :year "
            "WHERE study_instance_uid = :study",
            f"UPDATE {'dbos.' if url.startswith('postgresql') else ''}workflow_status "
            "SET delay_until_epoch_ms = delay_until_epoch_ms + 1000 * CAST(:year AS BIGINT) "
            "WHERE workflow_uuid LIKE '%' || :study || '%' AND status = 'DELAYED'",
        ):
            changed = connection.execute(sa.text(statement), {"year": year, "study": study})
            assert changed.rowcount == 1
    down.unlink()
    with working(url, tmp_path, DESTINATIONS="good"):
        wait_until("delivered", lambda: states(inbox, study) == {DeliveryState.DELIVERED})


def test_a_stat_study_is_read_and_delivered_before_what_came_before_it(inbox: Inbox, url: str, tmp_path: Path) -> None:
    routine = [f"1.2.{os.getpid()}.13.{number}" for number in range(1, 21)]
    stat = f"1.2.{os.getpid()}.13.99"
    for study in routine:
        receive(inbox, study)
        inbox.close_study(study)
    receive(inbox, stat, priority=Priority.STAT)
    inbox.close_study(stat)
    with working(url, tmp_path, seconds=1.0, DESTINATIONS="good"):
        wait_until("all are delivered", lambda: len(set(delivered(tmp_path))) == 21, 120)
    began = [line.split()[1] for line in calls(tmp_path) if line.startswith("begin")]
    # Beside it go those that a worker has under way at once.
    at_once = STUDIES_AT_ONCE[Priority.ROUTINE]
    assert began.index(stat) <= at_once < len(routine) / 2
    assert delivered(tmp_path).index(stat) <= at_once


def test_a_stat_result_goes_first_to_a_destination_where_many_wait(inbox: Inbox, url: str, tmp_path: Path) -> None:
    routine = [f"1.2.{os.getpid()}.14.{number}" for number in range(1, 41)]
    stat = f"1.2.{os.getpid()}.14.99"
    down = tmp_path / "good.down"
    down.touch()
    with working(url, tmp_path, DESTINATIONS="good", PATIENCE=json.dumps({"first_pause": 600})):
        for study in [*routine, stat]:
            receive(inbox, study, priority=Priority.STAT if study == stat else Priority.ROUTINE)
            inbox.close_study(study)
        wait_until("all were tried", lambda: sum(line.startswith("down") for line in calls(tmp_path)) == 41, 120)
    down.unlink()
    inbox.try_again(list(inbox.records.not_delivered()))
    with working(url, tmp_path, DESTINATIONS="good"):
        wait_until("all are delivered", lambda: len(set(delivered(tmp_path))) == 41, 120)
    assert delivered(tmp_path).index(stat) < DELIVERIES_AT_ONCE


def delivered(folder: Path) -> list[str]:
    return [line.split()[1] for line in calls(folder) if line.startswith("deliver")]


def test_what_is_done_with_is_removed_bite_by_bite_and_so_is_finished_work(
    inbox: Inbox, url: str, tmp_path: Path
) -> None:
    study = f"1.2.{os.getpid()}.15"
    receive(inbox, study)
    inbox.close_study(study)
    with working(url, tmp_path):
        wait_until("delivered", lambda: inbox.records.latest_report(study) and not inbox.records.waiting())
        client = inbox._client
        of_study = {"workflow_id_prefix": f"{VERSION}:report_study:{study}"}
        (finished,) = wait_until("finished", lambda: client.list_workflows(status="SUCCESS", **of_study))
        tables = sa.Table("workflow_status", sa.MetaData(), schema=None if url.startswith("sqlite") else "dbos")
        old = sa.text(
            f"UPDATE {tables.fullname} SET completed_at = completed_at - 2678400000 "
            f"WHERE workflow_uuid = '{finished.workflow_id}'"
        )
        with inbox.records.engine.begin() as connection:
            connection.execute(old)
        wait_until("the schedule", lambda: client.get_schedule(SCHEDULE))
        client.trigger_schedule(SCHEDULE)
        wait_until("three bites", lambda: calls(tmp_path).count("clean") == 3)
        wait_until("it is forgotten", lambda: not client.list_workflows(**of_study))
        assert client.list_workflows(workflow_id_prefix=f"{VERSION}:deliver_report:{study}")
