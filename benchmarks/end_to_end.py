"""``python -m benchmarks.end_to_end``: from C-STORE to the result stored in Orthanc, and who worked on it."""

import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydicom import dcmread
from rich.console import Console

from benchmarks.rig import Rig, machine, radiograph, rig, write_films

__all__ = ["end_to_end", "flood", "latency", "measure", "throughput"]

_ASSOCIATIONS = 4
"""Modalities that send at once: one of them alone waits for each answer."""

_WARM_UP = 20
_SECONDS_A_FILM = 5.0


def end_to_end(
    *,
    films: Annotated[int, typer.Option(min=20, help="Sent as fast as they are taken.")] = 400,
    paced: Annotated[int, typer.Option(min=0, help="Sent at each share of the throughput.")] = 150,
    film: Annotated[Path | None, typer.Option(help="A file to send copies of. [a drawn chest]")] = None,
    folder: Annotated[Path | None, typer.Option(help="For all data; is kept. [a temporary one]")] = None,
    out: Annotated[Path, typer.Option(help="JSON file for what was measured.")] = Path("end-to-end.json"),
) -> None:
    """Measure the service as a site runs it, with a PACS that stores what it gets."""
    with tempfile.TemporaryDirectory() as temporary, rig(folder or Path(temporary)) as running:
        told = measure(running, folder or Path(temporary), films, paced, film)
    out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    Console().print_json(json.dumps(told))


def measure(running: Rig, folder: Path, films: int, paced: int, film: Path | None) -> dict[str, Any]:
    """Measure one service: a warm-up, a flood, then a steady stream at three shares of what the flood reached."""
    sent = radiograph(film)
    flood(running, write_films(sent, folder / "warm-up", _WARM_UP, "warm-up"))
    told: dict[str, Any] = {"flood": throughput(running, write_films(sent, folder / "flood", films, "flood"))}
    rate = told["flood"]["films_a_second"]
    told["latency"] = {}
    for share in (0.1, 0.5, 0.9) if paced else ():
        files = write_films(sent, folder / f"paced-{share}", paced, f"paced-{share}")
        told["latency"][f"{share:.0%}"] = latency(running, files, rate * share)
    return {
        **told,
        "memory_mib": {name: round(size / 2**20) for name, size in running.memory().items()},
        "seconds_until_ready": dict(running.seconds_until_ready),
        **machine(),
    }


def throughput(running: Rig, files: Sequence[Path]) -> dict[str, Any]:
    """Send films as fast as they are taken; the rate is that of the middle eight tenths of the results."""
    before = running.processor_seconds()
    began = time.time()
    moments = flood(running, files)
    used = {name: seconds - before.get(name, 0.0) for name, seconds in running.processor_seconds().items()}
    skipped = len(moments) // 10
    middle = moments[skipped : len(moments) - skipped]
    return {
        "films": len(files),
        "films_a_second": round((len(middle) - 1) / (middle[-1] - middle[0]), 2),
        "seconds_to_the_last": round(moments[-1] - began, 1),
        "processor_ms_a_film": {name: round(1000 * seconds / len(files), 1) for name, seconds in used.items()},
    }


def latency(running: Rig, files: Sequence[Path], rate: float) -> dict[str, float]:
    """Send films one by one at a rate, over an association each; seconds until the PACS stored the result."""
    known, began, senders = len(running.delivered()), {}, []
    start = time.monotonic()
    for number, file in enumerate(files):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        began[_study(file)] = time.time()
        senders += running.send([file])
    running.wait_for(known + len(files), len(files) * _SECONDS_A_FILM)
    for sender in senders:
        sender.wait()
    delivered = running.delivered()
    return {"films_a_second": round(rate, 2), **_spread([delivered[study] - moment for study, moment in began.items()])}


def flood(running: Rig, files: Sequence[Path]) -> list[float]:
    """Send films as fast as they are taken, and return when the PACS stored each result; epoch seconds, in order."""
    known = len(running.delivered())
    senders = running.send(files, _ASSOCIATIONS)
    for sender in senders:
        if sender.wait() != 0:
            raise RuntimeError("a sender was not answered with success")
    running.wait_for(known + len(files), len(files) * _SECONDS_A_FILM)
    delivered: Mapping[str, float] = running.delivered()
    return sorted(delivered[_study(file)] for file in files)


def _study(file: Path) -> str:
    return str(dcmread(file, stop_before_pixels=True, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": round(cuts[49], 3), "p95": round(cuts[94], 3), "p99": round(cuts[98], 3)}


if __name__ == "__main__":
    typer.run(end_to_end)
