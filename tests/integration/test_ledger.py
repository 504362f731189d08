"""The ledger across processes: this one listens, another works, and dies in the middle."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pneumo_monai.entries import DeliveryState, FilmState
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.spool import Identity
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
        wait_until("the worker is ready", lambda: calls(folder).count("ready") > before)
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
    assert calls(tmp_path).count(f"begin {study}") == 1
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
