"""``python -m benchmarks.load``: many associations, films and slow peers at one listener, and what it holds."""

import copy
import json
import os
import platform
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE
from rich.console import Console

from benchmarks.fuzz_streams import record_streams
from benchmarks.listening import AE_TITLE, Listening, listening
from benchmarks.slow_peers import SlowPeers
from tests.films import make_film

__all__ = ["load"]

_FILMS_OF_A_STUDY = 4
_QUIET_SECONDS = 5.0


@dataclass
class _Sent:
    """What the senders did."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status: str, seconds: float) -> None:
        with self.lock:
            self.statuses[status] += 1
            self.seconds.append(seconds)


def load(
    *,
    films: Annotated[int, typer.Option(min=1, help="In all.")] = 20_000,
    associations: Annotated[int, typer.Option(min=1, help="At once, each until its films are gone.")] = 50,
    slow: Annotated[int, typer.Option(min=0, help="Peers that send one byte a second.")] = 200,
    side: Annotated[int, typer.Option(min=16, help="Rows and columns of a film, 16 bit.")] = 256,
    look_after: Annotated[
        int, typer.Option(min=1, help="Films after which it is noted what the listener holds.")
    ] = 500,
    folder: Annotated[Path, typer.Option(help="Data and log of the listener.")] = Path("load-listener"),
    out: Annotated[Path, typer.Option(help="JSON file for what was measured.")] = Path("load.json"),
) -> None:
    """Send films over many associations at once, while slow peers sit there."""
    film = make_film(rows=side, columns=side, bits_stored=12)
    # Slow peers that have an association take a seat; the senders have one each, and probes come.
    limits = {"associations": associations + slow // 2 + 20}
    with listening(folder, limits) as listener:
        pdus = record_streams(listener.port, [film])[1]
        held = [{"films": 0, **listener.held()}]
        with SlowPeers(listener.port, slow, pdus) as peers:
            _wait_for(peers, slow)
            began, sent = time.monotonic(), _Sent()
            senders = _start(listener.port, film, films, associations, sent)
            held += _watch(listener, senders, sent, look_after)
            seconds = time.monotonic() - began
            told = {"slow_peers": {"connected": peers.connected, "ended_by_the_listener": peers.ended}}
        time.sleep(_QUIET_SECONDS)
        told |= {
            "films": films,
            "associations": associations,
            "side": side,
            "seconds": round(seconds, 1),
            "films_a_second": round(films / seconds, 1),
            "statuses": dict(sent.statuses),
            "store_seconds": _spread(sent.seconds),
            "kept": dict(zip(("films in the ledger", "their files"), listener.kept(), strict=True)),
            "echo_seconds": listener.answers(),
            "held": held,
            "held_when_all_are_gone": listener.held(),
            "machine": _machine(),
        }
        out.write_text(json.dumps(told, indent=2), encoding="utf-8")
    Console().print_json(json.dumps(told))


def _machine() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    return {"processor": platform.machine(), "cores": cores, "load": os.getloadavg()}


def _wait_for(peers: SlowPeers, count: int) -> None:
    deadline = time.monotonic() + 60
    while peers.connected < count and time.monotonic() < deadline:
        time.sleep(0.2)


def _start(port: int, film: Dataset, films: int, associations: int, sent: _Sent) -> list[threading.Thread]:
    shares = [films // associations + (number < films % associations) for number in range(associations)]
    senders = [threading.Thread(target=_send, args=(port, film, share, sent)) for share in shares]
    for sender in senders:
        sender.start()
    return senders


def _send(port: int, film: Dataset, count: int, sent: _Sent) -> None:
    """Send so many films over one association; what fails is counted, and not sent again."""
    film = copy.deepcopy(film)
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(film.SOPClassUID, film.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title=AE_TITLE)
    for number in range(count):
        if number % _FILMS_OF_A_STUDY == 0:
            film.StudyInstanceUID = generate_uid(prefix=None)
        film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
        begun, status = time.monotonic(), "no association"
        if association.is_established:
            status = "no answer"
            with suppress(RuntimeError):
                answer = association.send_c_store(film)
                status = f"0x{answer.Status:04X}" if answer else status
        sent.add(status, time.monotonic() - begun)
    association.release()


def _watch(
    listener: Listening, senders: Sequence[threading.Thread], sent: _Sent, look_after: int
) -> list[dict[str, Any]]:
    """Note what the listener holds each time so many films more are sent, and at the end."""
    held: list[dict[str, Any]] = []
    due = look_after
    while any(sender.is_alive() for sender in senders):
        time.sleep(0.05)
        if (count := len(sent.seconds)) >= due:
            held.append({"films": count, **listener.held()})
            due += look_after
    return [*held, {"films": len(sent.seconds), **listener.held()}]


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else list(seconds) * 99
    return {"p50": round(cuts[49], 3), "p95": round(cuts[94], 3), "worst": round(max(seconds), 3)}


if __name__ == "__main__":
    typer.run(load)
