"""The parent of all: starts listener, worker and web port, and ends them in order."""

import fcntl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.notify import notify_ready
from pneumo_monai.processes import Child

if TYPE_CHECKING:
    from pneumo_monai.settings import Settings

__all__ = ["exclusive", "supervise"]

_HEAD_START_SECONDS = 5.0


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Hold a data folder for one service.

    Raises
    ------
    ConfigurationError
        It cannot be written, or another service holds it.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data_dir / "serve.lock").open("w")
    except OSError as error:
        raise ConfigurationError(f"data_dir: {data_dir} cannot be written ({error.strerror})") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"data_dir: {data_dir} is in use by another service; stop it first") from error
        yield


def supervise(config: Path, stop: threading.Event) -> None:
    """Run listener, worker and web port until `stop` is set; then end the listener first, the worker after it.

    Parameters
    ----------
    config : pathlib.Path
        Of the settings.
    stop : threading.Event
        Set by whoever wants the service to end.

    Raises
    ------
    ConfigurationError
        The settings are wrong, or a process does not accept them.
    """
    with tempfile.TemporaryDirectory(prefix="pneumo-monai-") as runtime_dir, ExitStack() as ending:
        program = [sys.executable, "-m", "pneumo_monai"]
        listener = Child("listener", [*program, "listener", "--config", str(config)], Path(runtime_dir))
        ending.callback(listener.stop)
        # Its imports take most of its start: they begin before the settings are read here.
        listener.start(on_leash=True)
        from pneumo_monai.settings import load_settings

        settings = load_settings(config)
        settings.web.read_token()
        with exclusive(settings.data_dir):
            _supervise(settings, listener, [*program, "worker", "--config", str(config)], Path(runtime_dir), stop)


def _supervise(
    settings: "Settings", listener: Child, worker_command: list[str], runtime_dir: Path, stop: threading.Event
) -> None:
    worker = Child("worker-0", [*worker_command, "--slot", "worker-0"], runtime_dir)
    children = [listener, worker]
    listener.let_go()
    try:
        # The worker's imports take seconds of every core: the listener begins to take films before.
        deadline = time.monotonic() + _HEAD_START_SECONDS
        while not listener.state.ready and time.monotonic() < deadline and not stop.wait(0.02):
            listener.tend()
        worker.start()
        # Imported only now, for the same reason.
        from pneumo_monai.alarms import watching
        from pneumo_monai.web.app import serve_web

        with (
            watching(settings) as watch,
            serve_web(settings, lambda: [child.state for child in children], lambda: watch.states),
        ):
            announced = False
            while not stop.wait(0.05):
                for child in children:
                    child.tend()
                if not announced and listener.state.ready:
                    notify_ready(listener=listener.state.status)
                    announced = True
    finally:
        for child in children:
            child.stop()
