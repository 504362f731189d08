"""A worker's readiness is a file that Kubernetes can ask for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.maps import ROOT
from tests.peers import wait_until

pytestmark = pytest.mark.slow


def start(tmp_path: Path, config: str) -> "tuple[subprocess.Popen[str], Path]":
    file, settings = tmp_path / "ready", tmp_path / "config.yaml"
    settings.write_text(config)
    command = [sys.executable, "-m", "app_package.probed", f"--file={file}", "listener", f"--config={settings}"]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ}), file


def test_the_file_is_there_while_the_process_is_ready(tmp_path: Path):
    process, file = start(tmp_path, f"data_dir: {tmp_path}/data\nlistener: {{port: 0}}\n")
    assert process.stderr
    with process.stderr:
        wait_until("the listener is ready", file.exists, 120)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not file.exists()


def test_a_wrong_configuration_ends_it(tmp_path: Path):
    process, file = start(tmp_path, "data_dir: ''\n")
    _, log = process.communicate(timeout=120)
    assert process.returncode == 78
    assert "data_dir" in log
    assert not file.exists()


def test_a_command_is_needed(tmp_path: Path):
    command = [sys.executable, "-m", "app_package.probed", "--file", str(tmp_path / "ready")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "which command?" in done.stderr
