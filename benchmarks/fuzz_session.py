"""Broken PDU streams against one listener, and whether it still stands after each hundred."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from benchmarks.fuzz_streams import Answer, StreamMutator, record_streams, send_stream
from benchmarks.listening import Listening, listening
from pneumo_monai.instances import parse_instance
from tests.films import DX, film_bytes, make_film

__all__ = ["StreamTally", "fuzz_streams"]

_BATCH = 100
_HANG_SECONDS = 10.0
_LIMITS = {"associations": 64, "artim_timeout": 5, "network_timeout": 5, "dimse_timeout": 8}
"""Seconds below those that count as a hang: what is held for longer is held for ever."""


@dataclass
class StreamTally:
    """What became of the streams of a run."""

    answers: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    worst_seconds: tuple[float, int] = (0.0, -1)
    slow: int = 0
    """Streams that took more than ten seconds among others, and were sent again alone: a machine that has no time for
    the listener is no fault of it."""
    worst_alone: tuple[float, int] = (0.0, -1)
    worst_echo_seconds: float = 0.0
    faults: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, int]] = field(default_factory=list)
    """What the listener held, first and after each batch."""
    tracebacks: int = 0
    """In the listener's log: threads that ended as nobody meant them to."""
    kept: tuple[int, int] = (0, 0)

    def add(self, number: int, answer: Answer, again: Answer | None) -> None:
        """Count one stream, and how it went alone where it took long among others."""
        self.answers[answer.kind] += 1
        self.statuses.update(answer.statuses)
        self.worst_seconds = max(self.worst_seconds, (round(answer.seconds, 3), number))
        if again is None:
            return
        self.slow += 1
        self.worst_alone = max(self.worst_alone, (round(again.seconds, 3), number))
        if is_slow(again):
            self.faults.append({"case": number, "kind": again.kind, "seconds": again.seconds})

    def look(self, listener: Listening) -> None:
        """Note what the listener holds, and how fast it answers a sound peer."""
        if not listener.alive:
            self.faults.append({"after": self.answers.total(), "listener ended with": listener.process.returncode})
            return
        seconds = listener.answers()
        self.worst_echo_seconds = max(self.worst_echo_seconds, round(seconds, 3))
        if seconds > 10.0:
            self.faults.append({"after": self.answers.total(), "an echo took": str(seconds)})
        if (tracebacks := listener.log.read_bytes().count(b"Traceback")) > self.tracebacks:
            self.faults.append({"after": self.answers.total(), "tracebacks in its log": tracebacks})
            self.tracebacks = tracebacks
        self.held.append({"streams": self.answers.total(), **listener.held()})

    def document(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "cases": self.answers.total(),
            "answers": dict(self.answers.most_common()),
            "statuses": {f"0x{status:04X}": count for status, count in self.statuses.most_common()},
            "worst_seconds": self.worst_seconds,
            "sent again alone": self.slow,
            "worst_seconds_alone": self.worst_alone,
            "worst_echo_seconds": self.worst_echo_seconds,
            "kept": {"films in the ledger": self.kept[0], "their files": self.kept[1]},
            "faults": self.faults,
            "held": self.held,
        }


def fuzz_streams(seed: int, first: int, end: int, at_once: int, folder: Path) -> Iterator[StreamTally]:
    """Send the cases of a range, so many at once; yield the tally after each batch."""
    tally = StreamTally()
    with listening(folder, _LIMITS) as listener, ThreadPoolExecutor(at_once) as senders:
        mutator = StreamMutator(record_streams(listener.port, _films()), seed)
        tally.look(listener)
        for begin in range(first, end, _BATCH):
            numbers = range(begin, min(begin + _BATCH, end))
            answers = senders.map(lambda number: _send(listener.port, mutator, number), numbers)
            for number, answer in [*zip(numbers, answers, strict=True)]:
                again = _send(listener.port, mutator, number) if is_slow(answer) else None
                tally.add(number, answer, again)
            tally.look(listener)
            if not listener.alive:
                break
            tally.kept = listener.kept()
            yield tally
    yield tally


def is_slow(answer: Answer) -> bool:
    """Whether a stream counts as one that holds the listener up."""
    return answer.kind == "hung" or answer.seconds > _HANG_SECONDS


def _send(port: int, mutator: StreamMutator, number: int) -> Answer:
    pdus = mutator.case(number)
    return send_stream(port, pdus, begins_sound=mutator.begins_sound(pdus))


def _films() -> list[Dataset]:
    films = [make_film(), make_film(sop_class=DX, bits_stored=12), make_film(rows=256, columns=300)]
    return [parse_instance(film_bytes(film)) for film in films]
