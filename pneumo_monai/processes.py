"""A child process that is started again when it dies, and how it stands."""

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pneumo_monai.errors import ConfigurationError

__all__ = ["EX_CONFIG", "Child", "ProcessState", "end_with_parent", "wait_to_be_let_go"]

_log = logging.getLogger(__name__)

EX_CONFIG = 78
"""Exit status of a process whose configuration is wrong (sysexits.h): it is not started again."""

_PARENT_VARIABLE = "PARENT_OF_PNEUMO_MONAI"
_LEASH_VARIABLE = "LEASH_OF_PNEUMO_MONAI"
_PR_SET_PDEATHSIG = 1  # prctl(2)
_GRACE_SECONDS = 25.0
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0


def end_with_parent() -> None:
    """Have the kernel end this process, as SIGTERM does, when the `Child`'s parent dies; without a parent do nothing.

    A listener that outlived `serve` would keep the port from the next one.
    """
    parent = os.environ.get(_PARENT_VARIABLE)
    if parent is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)


def wait_to_be_let_go() -> None:
    """Wait until the parent of a `Child` that was started on a leash lets it go; end when it never will.

    What a process imports it may import meanwhile: by then nothing is known of the settings.
    """
    leash = os.environ.pop(_LEASH_VARIABLE, None)
    if leash is None:
        return
    let_go = os.read(int(leash), 1)
    os.close(int(leash))
    if not let_go:
        sys.exit(0)


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """How a child stands: what /ready and the status page show."""

    name: str
    ready: bool
    pid: int | None
    starts: int
    status: str


class Child:
    """A process that is started again when it dies, after pauses that double from one second to thirty.

    Parameters
    ----------
    name : str
        In the log and on the status page.
    command : sequence of str
        What to start.
    runtime_dir : pathlib.Path
        Folder for the socket on which the child says that it is ready (sd_notify).
    """

    def __init__(self, name: str, command: Sequence[str], runtime_dir: Path) -> None:
        self.name = name
        self._command = command
        self._address = runtime_dir / f"{name}.notify"
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._channel.bind(str(self._address))
        self._channel.setblocking(False)
        self._process: subprocess.Popen[bytes] | None = None
        self._leash: int | None = None
        self._ready = False
        # What was accepted once is not wrong: a GPU that drops off the bus must not end the listener.
        self._was_ready = False
        self._status = ""
        self._starts = 0
        self._started_at = 0.0
        self._pause = 0.0
        self._due = 0.0

    @property
    def state(self) -> ProcessState:
        """How the child stands now."""
        process = self._process
        alive = process is not None and process.poll() is None
        return ProcessState(
            name=self.name,
            ready=alive and self._ready,
            pid=process.pid if alive and process is not None else None,
            starts=self._starts,
            status=self._status if alive else "down",
        )

    def start(self, *, on_leash: bool = False) -> None:
        """Start the process; on a leash it waits, after its imports, until it is let go."""
        self._ready, self._status = False, "starting"
        self._starts += 1
        self._started_at = time.monotonic()
        environment = {**os.environ, "NOTIFY_SOCKET": str(self._address), _PARENT_VARIABLE: str(os.getpid())}
        if not on_leash:
            self._process = subprocess.Popen(self._command, env=environment)  # noqa: S603 - our own command line
            return
        held, self._leash = os.pipe()
        environment[_LEASH_VARIABLE] = str(held)
        try:
            self._process = subprocess.Popen(self._command, env=environment, pass_fds=[held])  # noqa: S603 - the same
        finally:
            os.close(held)

    def let_go(self) -> None:
        """Let a process that is on a leash go on."""
        if self._leash is not None:
            # One that died meanwhile is started again when it is tended.
            with suppress(BrokenPipeError):
                os.write(self._leash, b"1")
            self._drop_leash()

    def _drop_leash(self) -> None:
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None

    def tend(self) -> None:
        """Take in what the child said; start it again when it died and its pause is over.

        Raises
        ------
        ConfigurationError
            The child ended because its configuration is wrong; it has said how.
        """
        self._listen()
        assert self._process is not None  # noqa: S101 - started before it is tended
        code = self._process.poll()
        if code is None:
            return
        if code == EX_CONFIG and not self._was_ready:
            raise ConfigurationError(f"{self.name} does not accept its configuration; its message is above")
        now = time.monotonic()
        if self._due == 0.0:
            steady = now - self._started_at > _STEADY_SECONDS
            self._pause = 1.0 if steady or self._pause == 0.0 else min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            self._due = now + self._pause
            _log.error("%s ended with status %d, it is started again in %.0f s", self.name, code, self._pause)
        elif now >= self._due:
            self._due = 0.0
            self.start()

    def stop(self) -> None:
        """Ask the process to end, wait for what is in flight, and kill it when it takes too long."""
        self._drop_leash()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                _log.error("%s did not end within %.0f s and is killed", self.name, _GRACE_SECONDS)
                self._process.kill()
                self._process.wait()
        self._channel.close()

    def _listen(self) -> None:
        while True:
            try:
                message = self._channel.recv(4096).decode(errors="replace")
            except BlockingIOError:
                return
            facts = dict(line.split("=", 1) for line in message.splitlines() if "=" in line)
            self._status = facts.get("STATUS", self._status)
            if facts.get("READY") == "1" and not self._ready:
                self._ready = self._was_ready = True
                seconds = time.monotonic() - self._started_at
                _log.info("%s is ready after %.1f s: %s", self.name, seconds, self._status)
            # To systemd a process that was ready once always is; what begins with X_ it leaves to others.
            self._ready = facts.get("X_READY", str(int(self._ready))) == "1"
