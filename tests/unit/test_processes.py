"""Children: started again when they die, not when their configuration is wrong, and ended in time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.processes import EX_CONFIG, Child
from pneumo_monai.service import exclusive
from tests.peers import wait_until

READY = "from pneumo_monai.notify import notify_ready; notify_ready(does='nothing');"


def child(folder: Path, program: str) -> Child:
    return Child("test", [sys.executable, "-c", program], folder)


def tended(process: Child) -> Child:
    process.tend()
    return process


def is_started_again_when_killed(process: Child) -> None:
    first = process.state.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until("down", lambda: tended(process).state.status == "down")
    wait_until("ready again", lambda: tended(process).state.ready, 20)
    assert process.state.starts == 2
    assert process.state.pid != first


def test_a_child_says_when_it_is_ready(tmp_path: Path) -> None:
    process = child(tmp_path, READY + "import time; time.sleep(60)")
    process.start()
    assert not process.state.ready
    wait_until("ready", lambda: tended(process).state.ready, 20)
    assert process.state.status == "does nothing"
    process.stop()
    assert process.state.pid is None


def test_a_child_that_lacks_something_is_not_ready_until_it_has_it(tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    lacks = f"from pneumo_monai.notify import notify; notify('X_READY=0\\nSTATUS=no disk'); open({str(go)!r}).read();"
    process = child(tmp_path, READY + lacks + "notify('X_READY=1\\nSTATUS=fine'); import time; time.sleep(60)")
    process.start()
    wait_until("it lacks something", lambda: tended(process).state.status == "no disk", 20)
    assert not process.state.ready
    go.write_text("go")
    wait_until("it has it", lambda: tended(process).state.status == "fine", 20)
    assert process.state.ready
    process.stop()


def test_a_child_that_dies_is_started_again_after_a_pause(tmp_path: Path) -> None:
    process = child(tmp_path, READY + "import time; time.sleep(60)")
    process.start()
    wait_until("ready", lambda: tended(process).state.ready, 20)
    is_started_again_when_killed(process)
    process.stop()


def test_a_child_whose_configuration_is_wrong_is_not_started_again(tmp_path: Path) -> None:
    process = child(tmp_path, f"raise SystemExit({EX_CONFIG})")
    process.start()

    def refused() -> bool:
        try:
            process.tend()
        except ConfigurationError:
            return True
        return False

    wait_until("the configuration error", refused, 20)
    assert process.state.starts == 1
    process.stop()


WAITS = "from pneumo_monai.processes import wait_to_be_let_go; wait_to_be_let_go();"


def test_a_child_on_a_leash_goes_on_when_it_is_let_go(tmp_path: Path) -> None:
    there = tmp_path / "there"
    process = child(tmp_path, f"open({str(there)!r}, 'w').close();" + WAITS + READY + "import time; time.sleep(60)")
    process.start(on_leash=True)
    wait_until("it waits", there.exists, 20)
    time.sleep(0.3)
    assert not tended(process).state.ready
    process.let_go()
    wait_until("ready", lambda: tended(process).state.ready, 20)
    # Whoever is started again knows of no leash.
    is_started_again_when_killed(process)
    process.stop()


def test_a_child_that_is_never_let_go_ends_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    process = child(tmp_path, WAITS + "print('it went on')")
    process.start(on_leash=True)
    # As when the parent dies.
    process._drop_leash()
    wait_until("it ended", lambda: process.state.pid is None, 20)
    assert process._process is not None
    assert process._process.returncode == 0
    process.stop()
    assert capfd.readouterr() == ("", "")


def test_a_child_that_died_before_it_was_let_go_is_started_again(tmp_path: Path) -> None:
    process = child(tmp_path, WAITS + READY + "import time; time.sleep(60)")
    process.start(on_leash=True)
    first = process.state.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until("it died", lambda: process.state.pid is None, 20)
    process.let_go()
    wait_until("ready", lambda: tended(process).state.ready, 20)
    process.stop()


def test_a_data_folder_serves_one_service_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path / "data"), pytest.raises(ConfigurationError, match="in use"), exclusive(tmp_path / "data"):
        pass
    with exclusive(tmp_path / "data"):
        pass


def test_a_data_folder_that_cannot_be_made_is_an_error_that_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="data_dir"), exclusive(tmp_path / "file" / "data"):
        pass


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    grandchild = (
        "import pathlib, os, time; from pneumo_monai.processes import end_with_parent; end_with_parent();"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(60)"
    )
    parent = (
        "import sys, time; from pathlib import Path; from pneumo_monai.processes import Child;"
        f"Child('c', [sys.executable, '-c', {grandchild!r}], Path({str(tmp_path)!r})).start(); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    pid = int(wait_until("the child runs", lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 20))
    process.kill()
    process.wait()
    wait_until("the child is gone", lambda: not Path(f"/proc/{pid}").exists(), 20)
