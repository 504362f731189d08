"""The ledger across processes: this one listens, another works, and dies in the middle."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from pneumo_monai.cleaning import SCHEDULE
from pneumo_monai.entries import (
    DeliveryRecord,
    DeliveryState,
    FilmAnswer,
    FilmState,
    OutcomeKind,
    ReportRecord,
    Revision,
)
from pneumo_monai.findings import RetractionCause
from pneumo_monai.forms import Form
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.spool import Identity
from pneumo_monai.workflows import VERSION
from tests.peers import free_port, need, wait_until

pytestmark = pytest.mark.integration

WORKER = Path(__file__).with_name("worker_process.py")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a PostgreSQL server of the test's own and return the URL of an empty database."""
    need("pg_lsclusters", "postgresql")
    (binaries,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    folder, port = tmp_path_factory.mktemp("postgres"), free_port()
    # PostgreSQL refuses to run as root: the data belongs to the user that the package made for it.
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if prefix:
        for parent in (folder, *list(folder.parents)[:2]):
            parent.chmod(0o755)
        folder.chmod(0o777)
    data = str(folder / "data")
    subprocess.run(
        [*prefix, binaries / "initdb", "-D", data, "-A", "trust", "-U", "test"], check=True, capture_output=True
    )
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    control = [*prefix, str(binaries / "pg_ctl"), "-D", data, "-w"]
    subprocess.run([*control, "-o", options, "-l", str(folder / "log"), "start"], check=True, capture_output=True)
    try:
        yield f"postgresql://test@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, capture_output=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a ledger on either database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    return str(request.getfixturevalue("postgres"))


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


def receive(inbox: Inbox, study: str, number: int = 1) -> Identity:
    identity = Identity(
        study_instance_uid=study, sop_instance_uid=f"{study}.{number}", sop_class_uid="1.2", digest=f"{number:064x}"
    )
    assert inbox.receive(identity, "none", "SCANNER")
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


def test_what_is_done_with_is_removed_bite_by_bite_and_so_is_finished_work(
    inbox: Inbox, url: str, tmp_path: Path
) -> None:
    study = f"1.2.{os.getpid()}.10"
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
