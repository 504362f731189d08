"""``python -m benchmarks.load``: many associations, films and slow peers at one listener, and what it holds."""

import json
import os
import platform
import re
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydicom.dataset import Dataset
from rich.console import Console

from benchmarks.fuzz_streams import record_streams
from benchmarks.listening import AE_TITLE, Listening, listening
from benchmarks.slow_peers import SlowPeers
from tests.films import make_film
from tests.peers import need

__all__ = ["load"]

_FILMS_OF_A_STUDY = 4
_QUIET_SECONDS = 5.0


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
            began = time.monotonic()
            senders = _start(listener.port, film, films, associations, folder)
            held += _watch(listener, senders, look_after)
            seconds = time.monotonic() - began
            told = {"slow_peers": {"connected": peers.connected, "ended_by_the_listener": peers.ended}}
        time.sleep(_QUIET_SECONDS)
        told |= {
            # Before anybody comes again: an association goes after its answer.
            "held_when_all_are_gone": listener.held(),
            "films": films,
            "associations": associations,
            "side": side,
            "seconds": round(seconds, 1),
            "films_a_second": round(films / seconds, 1),
            "answers": dict(_answers(folder)),
            "a C-STORE and its answer, seconds, mean": round(seconds * associations / films, 2),
            "kept": dict(zip(("films in the ledger", "their files"), listener.kept(), strict=True)),
            "echo_seconds": listener.answers(),
            "held": held,
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


def _start(port: int, film: Dataset, films: int, associations: int, folder: Path) -> list["subprocess.Popen[bytes]"]:
    """Start a storescu of DCMTK for each association, which sends its share, each film under a name of its own."""
    file = folder / "film.dcm"
    film.save_as(file, enforce_file_format=True)
    command = [need("storescu", "dcmtk"), "--verbose", "--no-halt", "--aetitle", "SCANNER", "--call", AE_TITLE]
    # A new series after so many films, a new study after each series.
    names = ["--invent-series", str(_FILMS_OF_A_STUDY), "--invent-study", "1"]
    started = []
    for number in range(associations):
        share = films // associations + (number < films % associations)
        line = [*command, *names, "--repeat", str(share), "127.0.0.1", str(port), str(file)]
        with (folder / f"sender-{number}.log").open("wb") as log:
            started.append(subprocess.Popen(line, stdout=log, stderr=log))  # noqa: S603 - our own command line
    return started


def _answers(folder: Path) -> Counter[str]:
    """Count what the senders were answered, and how else they ended."""
    found: Counter[str] = Counter()
    for log in folder.glob("sender-*.log"):
        text = log.read_text(encoding="utf-8", errors="replace")
        found.update(re.findall(r"Received Store Response \((.+)\)", text))
        found.update(f"{kind}: {what}" for kind, what in re.findall(r"^([EF]): (.+)$", text, re.MULTILINE))
    return found


def _watch(listener: Listening, senders: Sequence["subprocess.Popen[bytes]"], look_after: int) -> list[dict[str, Any]]:
    """Note what the listener holds each time so many films more are in its ledger, and at the end."""
    held: list[dict[str, Any]] = []
    due = look_after
    while any(sender.poll() is None for sender in senders):
        time.sleep(1.0)
        if (count := listener.films()) >= due:
            held.append({"films": count, **listener.held()})
            due += look_after
    return [*held, {"films": listener.films(), **listener.held()}]


if __name__ == "__main__":
    typer.run(load)
