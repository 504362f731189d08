"""A real listener in a process of its own, and what it holds: memory, files, sockets, threads."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pneumo_monai.settings import load_settings
from pneumo_monai.tables import FILMS, connect, look_at
from tests.peers import free_port

__all__ = ["AE_TITLE", "Listening", "listening"]

AE_TITLE = "PNEUMO"
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0


@dataclass
class Listening:
    """`pneumo-monai listener` while it runs."""

    port: int
    log: Path
    process: "subprocess.Popen[bytes]"
    config: Path

    @property
    def alive(self) -> bool:
        """Whether the process is the one that was started."""
        return self.process.poll() is None

    def listens(self) -> bool:
        """Whether its port is open."""
        try:
            socket.create_connection(("127.0.0.1", self.port), _START_SECONDS).close()
        except OSError:
            return False
        return True

    def held(self) -> dict[str, int]:
        """Return what the process holds: memory in kibibytes, and numbers of open files, sockets and threads."""
        folder = Path("/proc", str(self.process.pid))
        facts = dict(line.split(":", 1) for line in (folder / "status").read_text(encoding="ascii").splitlines())
        opened = []
        for descriptor in (folder / "fd").iterdir():
            with suppress(OSError):
                opened.append(str(descriptor.readlink()))
        return {
            "rss_kib": int(facts["VmRSS"].split()[0]),
            "peak_kib": int(facts["VmHWM"].split()[0]),
            "threads": int(facts["Threads"]),
            "files": len(opened),
            "sockets": sum(name.startswith("socket:") for name in opened),
        }

    def answers(self) -> float:
        """Send a C-ECHO; return the seconds that its association took, infinite when there was no success."""
        entity = AE(ae_title="PROBE")
        entity.add_requested_context(Verification)
        begun = time.monotonic()
        association = entity.associate("127.0.0.1", self.port, ae_title=AE_TITLE)
        if not association.is_established:
            return float("inf")
        status = association.send_c_echo()
        association.release()
        return time.monotonic() - begun if status and status.Status == 0 else float("inf")

    def films(self) -> int:
        """Return how many films the ledger has."""
        engine = look_at(load_settings(self.config).ledger_url)
        try:
            with engine.connect() as connection:
                return connection.scalars(sa.select(sa.func.count()).select_from(FILMS)).one()
        finally:
            engine.dispose()

    def kept(self) -> tuple[int, int]:
        """Return how many films the ledger has, and of how many the file is there."""
        settings = load_settings(self.config)
        engine = connect(settings.ledger_url)
        try:
            with engine.connect() as connection:
                paths = connection.scalars(sa.select(FILMS.c.path)).all()
        finally:
            engine.dispose()
        return len(paths), sum((settings.data_dir / path).is_file() for path in paths)


@contextmanager
def listening(folder: Path, limits: Mapping[str, Any]) -> Iterator[Listening]:
    """Run a listener with these limits until the context ends; its data stays in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config, log, port = folder / "config.yaml", folder / "listener.log", free_port()
    listener = {"ae_title": AE_TITLE, "host": "127.0.0.1", "port": port, "limits": dict(limits)}
    config.write_text(yaml.safe_dump({"data_dir": str(folder / "data"), "listener": listener}), encoding="utf-8")
    command = [sys.executable, "-m", "pneumo_monai", "listener", "--config", str(config)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)  # noqa: S603 - our own command line
    started = Listening(port, log, process, config)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not started.listens():
            if time.monotonic() > deadline or not started.alive:
                raise RuntimeError(f"the listener does not answer; see {log}")
            time.sleep(0.2)
        yield started
    finally:
        process.terminate()
        # What was measured stands, however long the end takes.
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        process.kill()
        process.wait()
