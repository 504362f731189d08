"""The service under test: its processes, which are started again when they are killed, its disk and its clock."""

import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from pneumo_monai.processes import Child
from pneumo_monai.settings import Settings, load_settings
from tests.peers import Orthanc, free_port, need

__all__ = ["LISTENER", "SERVE", "WORKER", "Clock", "Disk", "Site"]

LISTENER, WORKER, SERVE = "listener", "worker-0", "serve"
_APART = {LISTENER: ["listener"], WORKER: ["worker", "--slot", WORKER]}
_SERVICE = {SERVE: ["serve"]}

_RESERVE_BYTES = 64 << 20
"""Of a disk as small as `Disk` makes it. When that is filled, nothing of it is left either."""

_FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
_SLEEP = Path(__file__).with_name("kill_clock.c")


class Clock:
    """The wall clock of the service's processes alone; monotonic clocks stay as they are.

    Parameters
    ----------
    file : pathlib.Path
        Where libfaketime reads by how much it is wrong.
    wanted : bool
        Whether it is ever to be wrong.
    """

    def __init__(self, file: Path, *, wanted: bool) -> None:
        self._file = file.resolve()
        self._file.write_text("+0", encoding="ascii")
        self.environment: Mapping[str, str] = {}
        if wanted:
            if not _FAKETIME.exists():
                raise RuntimeError("libfaketime (Debian package faketime) is not installed")
            sleep = self._file.with_suffix(".so")
            _run(need("cc", "gcc"), "-shared", "-fPIC", "-O2", "-o", str(sleep), str(_SLEEP))
            self.environment = {
                "LD_PRELOAD": f"{sleep}:{_FAKETIME}",
                "FAKETIME_TIMESTAMP_FILE": str(self._file),
                "FAKETIME_CACHE_DURATION": "1",
                "DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            }

    def jump(self, hours: float) -> None:
        """Have it be wrong by so many hours."""
        # At once: a process that reads half of it would stop.
        new = self._file.with_suffix(".new")
        new.write_text(f"{hours:+g}h" if hours else "+0", encoding="ascii")
        new.rename(self._file)


class Disk:
    """A file system of the data folder's own, ext4 in a file: it can be filled. Needs root.

    Parameters
    ----------
    folder : pathlib.Path
        Where it is mounted.
    mebibytes : int
        How large it is.
    """

    def __init__(self, folder: Path, mebibytes: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        image = folder.with_suffix(".img")
        with image.open("wb") as stream:
            stream.truncate(mebibytes << 20)
        _run(need("mkfs.ext4", "e2fsprogs"), "-q", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(folder))
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave nothing free."""
        with suppress(OSError), self._ballast.open("wb", buffering=0) as stream:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while stream.write(b"\1" * size):
                        continue

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Let go of it."""
        _run("umount", str(self._folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - our own command line


class _Process(Child):
    """A child with a wrong clock, which is started again after a second: so do the units of systemd in docs/install.md.

    Parameters
    ----------
    name, command, runtime_dir
        As of `Child`.
    environment : Mapping of str to str
        What is set for it beside what is set.
    """

    def __init__(self, name: str, command: Sequence[str], runtime_dir: Path, environment: Mapping[str, str]) -> None:
        super().__init__(name, command, runtime_dir)
        self._environment = environment

    def start(self) -> None:
        """Start the process."""
        before = dict(os.environ)
        os.environ.update(self._environment)
        try:
            super().start()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def tend(self) -> None:
        """Start it again when it died, however often it did."""
        self._pause = 0.0
        super().tend()


class Site:
    """Listener, worker and PACS.

    Parameters
    ----------
    folder : pathlib.Path
        Configuration, logs, data.
    bundle : pathlib.Path or None
        The model; None: the one in the package.
    clock : Clock
        Of the service's processes.
    as_service : bool
        Whether `pneumo-monai serve` starts them again, after pauses that double; else this does, after a second.
    """

    def __init__(self, folder: Path, bundle: Path | None, clock: Clock, *, as_service: bool) -> None:
        self.pacs = Orthanc(folder / "orthanc")
        self._as_service = as_service
        config = folder / "config.yaml"
        destination = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": self.pacs.dicom_port}
        content: dict[str, Any] = {
            "data_dir": str(folder / "data"),
            "listener": {
                "ae_title": "PNEUMO",
                "host": "127.0.0.1",
                "port": free_port(),
                "limits": {"disk_reserve_bytes": _RESERVE_BYTES},
            },
            "destinations": [destination],
            "web": {"host": "127.0.0.1", "port": free_port()},
            "model": {"path": None if bundle is None else str(bundle.resolve()), "device": "cpu"},
        }
        config.write_text(yaml.safe_dump(content), encoding="utf-8")
        self.settings: Settings = load_settings(config)
        (folder / "run").mkdir()
        shell = ("/bin/sh", "-c", f'exec "$@" >> {shlex.quote(str(folder / "service.log"))} 2>&1', "sh")
        self._children = {
            name: _Process(
                name,
                [*shell, sys.executable, "-m", "pneumo_monai", *command, "--config", str(config)],
                folder / "run",
                clock.environment,
            )
            for name, command in (_SERVICE if as_service else _APART).items()
        }

    def start(self) -> None:
        """Start everything."""
        self.pacs.start()
        for child in self._children.values():
            child.start()

    def tend(self) -> None:
        """Start again what died."""
        for child in self._children.values():
            child.tend()

    def kill(self, *names: str) -> int:
        """Kill processes by SIGKILL, and return how many there were."""
        killed = [pid for name in names if (pid := self._pid(name)) is not None]
        for pid in killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(killed)

    def stop(self) -> None:
        """End all as an init system does."""
        for child in self._children.values():
            child.stop()
        self.pacs.stop()

    def is_ready(self, name: str) -> bool:
        """Whether the listener listens, or the worker takes up work."""
        if not self._as_service:
            return self._children[name].state.ready
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.web.port}/ready", timeout=5) as answer:
                known = json.load(answer)["processes"]
        except OSError:
            return False
        return any(process["name"] == name and process["ready"] for process in known)

    def _pid(self, name: str) -> int | None:
        if name in self._children:
            return self._children[name].state.pid
        parent = self._children[SERVE].state.pid
        command = [need("ps", "procps"), "-eo", "pid,ppid,args"]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
        for line in listing.splitlines():
            pid, ppid, *arguments = line.split()
            if ppid == str(parent) and name.partition("-")[0] in arguments:
                return int(pid)
        return None
