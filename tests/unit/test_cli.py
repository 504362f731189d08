"""Every command explains itself, and what an operator can mend ends in one message and an exit status."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from pneumo_monai.cli import app, main
from pneumo_monai.processes import EX_CONFIG
from tests.films import film_bytes, make_film
from tests.peers import free_port
from tests.reports import report_on

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
    from pneumo_monai.settings import load_settings
    from pneumo_monai.tables import connect

    file = config()
    settings = load_settings(file)
    settings.data_dir.mkdir()
    connect(settings.ledger_url).dispose()
    status, out, _ = run("status", "--json", "--config", file)
    body = json.loads(out)
    assert status == 0
    assert (body["received"], body["studies"]) == (0, [])
    assert sum(body["counts"].values()) == 0


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
