"""Every command explains itself, and what an operator can mend ends in one message and an exit status."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import typer
import yaml
from pydicom import dcmread
from typer.testing import CliRunner

from pneumo_monai.cli import app, main
from pneumo_monai.entries import FilmAnswer, FilmState, OutcomeKind, ReportRecord, Revision
from pneumo_monai.processes import EX_CONFIG
from pneumo_monai.records import Records
from pneumo_monai.settings import load_settings
from pneumo_monai.spool import Identity
from pneumo_monai.tables import connect
from tests.bundles import write_random_bundle
from tests.films import film_bytes, make_film
from tests.peers import COMPREHENSIVE_SR, free_port
from tests.reports import report_on

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
COMMANDS = sorted(typer.main.get_command(app).commands)
Outcome = tuple[int, str, str]


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Return a function that runs the command in this process as the console script does."""

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["pneumo-monai", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a configuration file."""

    def write(**content: object) -> Path:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump({"data_dir": str(tmp_path / "data"), **content}))
        return file

    return write


@pytest.fixture
def film(tmp_path: Path) -> Path:
    file = tmp_path / "film.dcm"
    file.write_bytes(film_bytes(make_film(PatientName="Doe^John")))
    return file


def as_process(*arguments: str | Path) -> Outcome:
    """Run a command that keeps its signal handlers and its log to itself."""
    command = [sys.executable, "-m", "pneumo_monai", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_every_option_explains_itself(command: str):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    described = typer.main.get_command(app).commands[command]
    assert described.help
    for parameter in described.params:
        assert getattr(parameter, "help", None), parameter.name
        assert (parameter.opts[0] if parameter.param_type_name == "option" else parameter.name) in result.output


def test_the_first_help_says_what_this_is_for():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "For research use only. Not a medical device." in " ".join(result.output.split())
    for command in COMMANDS:
        assert command in result.output


def test_without_a_command_there_is_help():
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "Commands" in result.output


@pytest.mark.parametrize("command", ["serve", "listener", "worker", "status"])
def test_a_wrong_configuration_ends_with_its_key(command: str, config):
    status, _, err = as_process(command, "--config", config(listener={"port": 70_000}))
    assert status == EX_CONFIG
    assert "listener.port" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["serve", "listener", "worker"])
def test_a_data_folder_that_cannot_be_made_is_named(command: str, config, film: Path):
    status, _, err = as_process(command, "--config", config(data_dir=str(film / "data")))
    assert status == EX_CONFIG
    assert err.splitlines()[-1].startswith(f"data_dir: {film / 'data'} cannot be ")


def test_a_missing_configuration_is_named(run, tmp_path: Path):
    status, _, err = run("status", "--config", tmp_path / "nowhere.yaml")
    assert status == EX_CONFIG
    assert "nowhere.yaml: cannot be read (No such file or directory); pass an existing file to --config" in err


def test_status_without_a_ledger_says_what_to_start(run, config):
    status, out, err = run("status", "--config", config())
    assert (status, out) == (EX_CONFIG, "")
    assert "holds no ledger yet; start `pneumo-monai serve` first" in err


def test_status_of_a_ledger_that_is_none_names_it(run, config, tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ledger.sqlite").write_bytes(b"no database" * 1000)
    status, _, err = run("status", "--config", config())
    assert status == 1
    assert err.startswith(f"data_dir: the ledger in {tmp_path / 'data'} cannot be read (")


def test_status_of_a_database_that_is_down_shows_no_password(run, config):
    url = f"postgresql://u:hunter2@127.0.0.1:{free_port()}/db"
    status, out, err = run("status", "--config", config(ledger={"url": url}))
    assert status == 1
    assert "ledger.url: the database cannot be read (OperationalError)" in err
    assert "hunter2" not in out + err


def test_status_of_an_empty_ledger_is_json_too(run, config):
    file = config()
    settings = load_settings(file)
    settings.data_dir.mkdir()
    connect(settings.ledger_url).dispose()
    status, out, _ = run("status", "--json", "--config", file)
    body = json.loads(out)
    assert status == 0
    assert (body["received"], body["studies"]) == (0, [])
    assert sum(body["counts"].values()) == 0


@pytest.fixture
def ledger(config) -> Iterator[tuple[Path, Records]]:
    """Return a configuration and a ledger with one study, 1.2, that has a result."""
    file = config()
    settings = load_settings(file)
    settings.data_dir.mkdir()
    records = Records(connect(settings.ledger_url))
    identity = Identity(study_instance_uid="1.2", sop_instance_uid="1.2.1", sop_class_uid="1.9", digest="0" * 64)
    (settings.data_dir / "film.dcm").touch()
    records.receive(identity, "film.dcm", "AE")
    enter_result(records, 1, OutcomeKind.FINDINGS)
    yield file, records
    records.engine.dispose()


def enter_result(records: Records, revision: int, outcome: OutcomeKind) -> None:
    report = ReportRecord(study_instance_uid="1.2", revision=revision, fingerprint="f", outcome=outcome, created_at=1.0)
    records.answer([FilmAnswer(film_id=1, state=FilmState.ANALYSED)], Revision(report=report))


def asked(records: Records) -> list[str]:
    """Return the workflows that wait for a worker."""
    with records.engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT name FROM workflow_status WHERE status = 'ENQUEUED'")).scalars())


def test_retract_asks_the_worker_and_says_so(run, ledger):
    file, records = ledger
    status, out, err = run("retract", "1.2", "--cause", "safety", "--why", "It is of Mrs Doe.", "--config", file)
    assert status == 0
    assert "1.2: revision 1 will be retracted" in out
    assert "Doe" not in out + err
    assert asked(records) == ["retract_study"]


def test_what_was_retracted_is_not_retracted_again(run, ledger):
    file, records = ledger
    enter_result(records, 2, OutcomeKind.RETRACTION)
    status, out, _ = run("retract", "1.2", "--cause", "quality", "--why", "Again.", "--config", file)
    assert (status, out) == (0, "1.2: was retracted before, by revision 2\n")


@pytest.mark.parametrize(
    ("study", "why", "message"),
    [
        ("1.3", "A sentence.", "1.3: has no result to retract; `pneumo-monai status` lists"),
        ("1.2", "  ", "--why: write one sentence"),
        ("1.2", "x" * 501, "--why: write one sentence"),
    ],
)
def test_what_cannot_be_retracted_says_why_not(run, ledger, study: str, why: str, message: str):
    status, out, err = run("retract", study, "--cause", "safety", "--why", why, "--config", ledger[0])
    assert (status, out) == (EX_CONFIG, "")
    assert message in err
    assert "xxx" not in err


def test_reread_asks_for_every_study_or_for_none(run, ledger):
    file, records = ledger
    status, _, err = run("reread", "1.2", "1.3", "--config", file)
    assert status == EX_CONFIG
    assert "1.3: nothing was received of it" in err
    status, out, _ = run("reread", "1.2", "1.2", "--config", file)
    assert (status, out) == (0, "1.2: will be read again\n")
    assert asked(records) == ["reread_study"]


@pytest.mark.parametrize("command", [["retract", "1.2", "--cause", "safety", "--why", "w"], ["reread", "1.2"]])
def test_what_is_asked_of_a_worker_needs_a_ledger(run, config, command: list[str]):
    status, _, err = run(*command, "--config", config())
    assert status == EX_CONFIG
    assert "holds no ledger yet" in err


def test_run_writes_no_rejection_note(run, tmp_path: Path):
    status, _, err = run("run", "-i", tmp_path, "-o", tmp_path / "out", "--form", "rejection-note")
    assert status == EX_CONFIG
    assert "--form: rejection-note follows a retraction by itself" in err


def test_run_writes_the_forms_and_the_refusals_that_are_asked_for(tmp_path: Path):
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    for number, age in enumerate(["054Y", "006M"]):
        (films / str(number)).write_bytes(film_bytes(make_film(PatientAge=age)))
    forms = ["--form", "sr-comprehensive", "--form", "sr-text", "--not-analysed", "age"]
    bundle = write_random_bundle(tmp_path / "bundle")
    status, _, err = as_process("run", "-i", films, "-o", out, "--model", bundle, "--device", "cpu", *forms)
    assert status == 0, err
    assert "1 analysed + 1 refused + 0 failed; 2 reports" in err
    classes = Counter(dcmread(file).SOPClassUID for file in out.iterdir())
    assert classes == {COMPREHENSIVE_SR: 2, BASIC_TEXT_SR: 2}


def test_send_to_a_dead_port_says_what_was_not_taken(film: Path):
    port = free_port()
    # In a process of its own: pynetdicom leaves the socket of a refused connection to the garbage collector.
    status, _, err = as_process("send", film, "--to", f"PACS@127.0.0.1:{port}")
    assert status == 1
    assert f"PACS@127.0.0.1:{port} could not be reached: film.dcm" in err
    assert "1 of the files were not taken" in err
    assert "Doe" not in err


def test_send_names_what_is_no_dicom_file(run, film: Path, tmp_path: Path):
    (tmp_path / "page.dcm").write_bytes(b"<html>")
    status, _, err = run("send", tmp_path / "page.dcm", "--to", f"PACS@127.0.0.1:{free_port()}")
    assert status == 1
    assert "page.dcm: " in err


@pytest.mark.parametrize("peer", ["PACS", "PACS@host", "host:104", "@host:104", "PACS@host:port"])
def test_send_explains_how_a_peer_is_named(run, film: Path, peer: str):
    status, _, err = run("send", film, "--to", peer)
    assert status == EX_CONFIG
    assert "--to: " in err
    assert "PACS@127.0.0.1:4242" in err


def test_send_needs_files_that_exist(run, tmp_path: Path):
    status, _, err = run("send", tmp_path / "nothing.dcm", "--to", "PACS@127.0.0.1:104")
    assert status == 2
    assert "nothing.dcm" in err


def test_show_prints_a_report(run, tmp_path: Path):
    file = tmp_path / "report.dcm"
    report_on(make_film(PatientName="Doe^John")).save_as(file, enforce_file_format=True)
    status, out, _ = run("show", file)
    assert status == 0
    assert "For research use only. Not a medical device." in out
    assert "Doe" not in out


def test_show_names_what_is_no_report(run, film: Path, tmp_path: Path):
    page = tmp_path / "page.dcm"
    page.write_bytes(b"<html>")
    for file in (film, page):
        status, out, err = run("show", file)
        assert (status, out) == (1, "")
        assert err.startswith(f"{file}: ")


def test_run_on_an_empty_folder_says_what_to_do(tmp_path: Path):
    (tmp_path / "films").mkdir()
    status, _, err = as_process("run", "-i", tmp_path / "films", "-o", tmp_path / "reports")
    assert status == EX_CONFIG
    assert f"{tmp_path / 'films'}: holds no file; put the DICOM files there or pass another folder to -i" in err
    assert not (tmp_path / "reports").exists()


def test_run_on_no_folder_says_what_to_do(tmp_path: Path):
    status, _, err = as_process("run", "-i", tmp_path / "films", "-o", tmp_path / "reports")
    assert status == EX_CONFIG
    assert "pass the folder that holds the DICOM files to -i" in err
