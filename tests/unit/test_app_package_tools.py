"""The MAP's tool script: show, extract, env, help, probes, and the application with its signals."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.maps import ROOT

TOOLS = ROOT / "app_package" / "tools"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Lay out a MAP whose application prints its arguments."""
    for folder in ("app/inside", "models/one", "docs", "export"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "app" / "inside" / "code.py").write_text("")
    (tmp_path / "app" / "link").symlink_to("../models")
    (tmp_path / "models" / "one" / "model.pt").write_text("")
    (tmp_path / "docs" / "README.md").write_text("")
    (tmp_path / "app.yaml").write_text("")
    (tmp_path / "pkg.json").write_text('{"version": "1.2.3"}')
    (tmp_path / "app.json").write_text(json.dumps({"command": json.dumps(["echo", "application", "one two"])}))
    return tmp_path


def environment(package: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOLOSCAN_APPLICATION": f"{package}/app",
        "HOLOSCAN_MODEL_PATH": f"{package}/models",
        "HOLOSCAN_DOCS": f"{package}/docs",
        "HOLOSCAN_CONFIG_PATH": f"{package}/app.yaml",
        "HOLOSCAN_APP_MANIFEST_PATH": f"{package}/app.json",
        "HOLOSCAN_PKG_MANIFEST_PATH": f"{package}/pkg.json",
        "HOLOSCAN_EXPORT_PATH": f"{package}/export",
        **more,
    }


def tools(package: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [TOOLS, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(package, **more),
    )


def test_show_prints_what_is_asked_for(package: Path):
    assert json.loads(tools(package, "show", "pkg").stdout) == {"version": "1.2.3"}
    assert "command" in json.loads(tools(package, "show", "app").stdout)
    both = tools(package, "show").stdout
    assert both.index("app.json") < both.index("pkg.json") < both.index("1.2.3")
    wrong = tools(package, "show", "model")
    assert wrong.returncode == 1
    assert "say app, pkg" in wrong.stderr


def test_extract_fills_what_is_mounted(package: Path):
    (package / "export" / "config").mkdir()
    (package / "export" / "models").mkdir()
    done = tools(package, "extract")
    assert done.returncode == 0, done.stderr
    found = {str(file.relative_to(package / "export")) for file in (package / "export").rglob("*") if file.is_file()}
    assert found == {"config/app.json", "config/app.yaml", "config/pkg.json", "models/one/model.pt"}


def test_extract_fills_a_bare_folder_with_everything(package: Path):
    done = tools(package, "extract")
    assert done.returncode == 0, done.stderr
    found = {str(file.relative_to(package / "export")) for file in (package / "export").rglob("*") if file.is_file()}
    assert found == {
        "app/inside/code.py",
        "app/link/one/model.pt",
        "config/app.json",
        "config/app.yaml",
        "config/pkg.json",
        "docs/README.md",
        "models/one/model.pt",
    }


def test_extract_without_a_mount_says_what_to_do(package: Path):
    done = tools(package, "extract", HOLOSCAN_EXPORT_PATH=f"{package}/nowhere")
    assert done.returncode == 1
    assert "mount a folder there" in done.stderr


def test_env_prints_no_password(package: Path):
    done = tools(package, "env", PNEUMO_MONAI_LEDGER__URL="postgresql://pneumo:hunter2@db/pneumo")
    assert "PNEUMO_MONAI_LEDGER__URL=postgresql://...@db/pneumo" in done.stdout.splitlines()
    assert "hunter2" not in done.stdout


def test_help_says_what_there_is(package: Path):
    done = tools(package, "help")
    assert done.returncode == 0
    assert "Not a medical device" in done.stdout
    for command in ("show", "extract", "env", "ready", "pneumo-monai serve"):
        assert command in done.stdout


def test_the_probes_answer_by_their_status(package: Path):
    assert tools(package, "ready").returncode == 0
    assert tools(package, "alive").returncode == 0
    (package / "pkg.json").unlink()
    assert tools(package, "ready").returncode != 0


def test_everything_else_starts_the_command_of_the_manifest(package: Path):
    assert tools(package).stdout == "application one two\n"
    assert tools(package, "-i", "a b", "-o", "c").stdout == "application one two -i a b -o c\n"


def test_the_status_of_the_application_is_passed_on(package: Path):
    (package / "app.json").write_text(json.dumps({"command": json.dumps(["sh", "-c", "exit 3"])}))
    assert tools(package).returncode == 3


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("echo up; exec sleep 60", 128 + signal.SIGTERM),
        # It may end by itself, later than the signal, and says whether it was through.
        ("trap 'sleep 0.5; exit 7' TERM; echo up; while :; do sleep 0.1; done", 7),
        ("trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done", 0),
    ],
)
def test_sigterm_reaches_the_application(package: Path, program: str, status: int):
    (package / "app.json").write_text(json.dumps({"command": json.dumps(["sh", "-c", program])}))
    process = subprocess.Popen([TOOLS], stdout=subprocess.PIPE, text=True, env=environment(package))
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == status
    assert time.monotonic() - began < 5
    process.stdout.close()
