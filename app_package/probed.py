"""``python -m app_package.probed --file FILE COMMAND...``: a process of the service whose readiness is a file.

A worker listens on no port, and says by sd_notify that it is warm. Kubernetes asks by
a command whether the file is there.
"""

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from pneumo_monai import logs
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.processes import EX_CONFIG, Child

__all__ = ["run_probed"]


def run_probed(file: Path, command: list[str], stop: threading.Event) -> None:
    """Run a command of ``pneumo-monai``, start it again when it dies, and keep a file while it is ready.

    Parameters
    ----------
    file : pathlib.Path
        There while the process is ready.
    command : list of str
        Such as ``["worker", "--config", "config.yaml"]``.
    stop : threading.Event
        Set to end it, as SIGTERM does.

    Raises
    ------
    ConfigurationError
        The process does not accept its configuration.
    """
    with tempfile.TemporaryDirectory(prefix="pneumo-monai-") as folder:
        child = Child(command[0], [sys.executable, "-m", "pneumo_monai", *command], Path(folder))
        child.start()
        try:
            while not stop.wait(0.1):
                child.tend()
                if child.state.ready:
                    file.touch()
                else:
                    file.unlink(missing_ok=True)
        finally:
            file.unlink(missing_ok=True)
            child.stop()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m app_package.probed", description=__doc__)
    parser.add_argument("--file", type=Path, required=True, help="there while the process is ready")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="of pneumo-monai: worker --config ...")
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("which command? Such as: worker --config config.yaml")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    logs.configure("probed")
    try:
        run_probed(arguments.file, arguments.command, stop)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EX_CONFIG)


if __name__ == "__main__":
    main()
