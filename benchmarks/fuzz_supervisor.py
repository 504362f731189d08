"""Broken films read in a process that may die: every one is accounted for, whatever becomes of the process."""

import json
import os
import selectors
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

__all__ = ["FilmTally", "fuzz_films"]

_HANG_SECONDS = 10.0
"""Of processor time: a machine that does something else is no fault of a film."""

_SILENCE_SECONDS = 120.0
"""Until a reader that says nothing is ended."""


@dataclass
class FilmTally:
    """What became of the films of a run."""

    received: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, Any]] = field(default_factory=list)
    """Cases that ended or held up their process, failed, or wanted too much memory."""
    worst_processor: tuple[float, int] = (0.0, -1)
    worst_wall: tuple[float, int] = (0.0, -1)
    worst_peak_kib: tuple[int, int] = (0, -1)
    """The worst figure, and whose it was."""

    @property
    def cases(self) -> int:
        """How many films there were; each has one answer of the reader."""
        return self.read.total()

    def add(self, answer: dict[str, Any]) -> None:
        """Count one film."""
        number = answer["case"]
        self.received[answer["received"]] += 1
        self.read[answer["read"]] += 1
        self.worst_processor = max(self.worst_processor, (round(answer["processor"], 3), number))
        self.worst_wall = max(self.worst_wall, (round(answer["wall"], 3), number))
        self.worst_peak_kib = max(self.worst_peak_kib, (answer["peak_kib"], number))
        is_slow = answer["processor"] > _HANG_SECONDS
        if is_slow or any(answer[side].startswith(("failed", "died", "hung")) for side in ("received", "read")):
            self.faults.append(answer)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "cases": self.cases,
            "received": dict(self.received.most_common()),
            "read": dict(self.read.most_common()),
            "worst_processor_seconds": self.worst_processor,
            "worst_wall_seconds": self.worst_wall,
            "worst_peak_kib": self.worst_peak_kib,
            "faults": self.faults,
        }


def fuzz_films(seed: int, first: int, end: int, data: Path | None = None) -> Iterator[FilmTally]:
    """Read the cases of a range; yield the tally after each.

    Parameters
    ----------
    seed : int
        Names the run.
    first, end : int
        Numbers of the first case, and of the one after the last.
    data : pathlib.Path, optional
        A folder of real files, some of which are broken too.
    """
    tally = FilmTally()
    number = first
    while number < end:
        command = [sys.executable, "-m", "benchmarks.fuzz_reader", *map(str, (seed, number, end))]
        command += [str(data)] if data else []
        begun = None
        with TemporaryFile() as said, _start(command, said) as process:
            for line in _lines(process):
                answer = json.loads(line)
                if isinstance(answer, int):
                    begun = answer
                    continue
                begun, number = None, answer["case"] + 1
                tally.add(answer)
                yield tally
            is_hung = process.poll() is None
            process.kill()
            process.wait()
            said.seek(0)
            last_words = said.read()[-300:].decode(errors="replace")
        if begun is not None:
            how = "hung" if is_hung else f"died {process.returncode}"
            lost = {"case": begun, "received": how, "read": how, "wall": 0.0, "processor": 0.0, "peak_kib": 0}
            tally.add({**lost, "said": last_words})
            number = begun + 1
            yield tally
        elif number < end:
            raise RuntimeError(f"the reader ended before case {number}: {last_words}")


def _start(command: Sequence[str], said: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)  # noqa: S603 - our own command line


def _lines(process: "subprocess.Popen[bytes]") -> Iterator[bytes]:
    """Yield lines until the process has ended, or said nothing for too long."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(_SILENCE_SECONDS):
            if not (said := os.read(process.stdout.fileno(), 1 << 16)):
                process.wait(_SILENCE_SECONDS)
                return
            *lines, rest = (rest + said).split(b"\n")
            yield from lines
