"""``make bench``: everything that docs/performance.md says, measured again and written there.

The peer and the service are measured in turns, with the same film, so that both have the same machine.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import end_to_end
from benchmarks.flame import draw_flames
from benchmarks.peer import measure_peer
from benchmarks.performance_page import write_page
from benchmarks.rig import machine, radiograph, rig
from benchmarks.scaling import measure_scaling
from benchmarks.stages import forward_passes, measure_stages

__all__ = ["performance"]

_DOCS = Path(__file__).parents[1] / "docs"


def performance(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="Times that peer and service are measured, in turns.")] = 3,
    films: Annotated[int, typer.Option(min=20, help="Sent as fast as they are taken, each round.")] = 300,
    paced: Annotated[int, typer.Option(min=2, help="Sent at each share of the throughput, each round.")] = 60,
    film: Annotated[Path | None, typer.Option(help="A file to send copies of. [a drawn chest]")] = None,
    docs: Annotated[Path, typer.Option(help="Where performance.json and performance.md stand.")] = _DOCS,
) -> None:
    """Measure for some minutes, alone on the machine, and write it down."""
    console, began = Console(stderr=True), time.monotonic()
    told: dict[str, Any] = {"machine": machine(), "film": "a drawn chest" if film is None else "a file"}
    console.print("bare forward passes")
    told["limit"] = forward_passes()
    console.print("each stage alone")
    told["stages"] = measure_stages(radiograph(film), 15)
    turns = []
    for number in range(rounds):
        console.print(f"round {number + 1} of {rounds}: the peer, then the service")
        with tempfile.TemporaryDirectory() as temporary:
            peer = measure_peer(Path(temporary) / "peer", 3, film)
            with rig(Path(temporary)) as running:
                turns.append({"peer": peer, **end_to_end.measure(running, Path(temporary), films, paced, film)})
    told["rounds"] = turns
    told["medians"] = medians(turns)
    told["ratios"] = ratios(told["medians"], told["limit"])
    console.print("more workers, another database")
    told["scaling"] = {"rows": measure_scaling(films, 2, film), "machine": machine()}
    told["seconds"] = round(time.monotonic() - began)
    console.print("flame graph of the worker")
    draw_flames(docs / "images" / "flame.svg", film)
    (docs / "performance.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    write_page(docs)
    console.print_json(json.dumps(told["ratios"]))


def medians(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the median of each number over the rounds; what is no number is that of the first."""
    first = turns[0]
    return {name: _median([turn[name] for turn in turns]) for name in first}


def _median(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        return {name: _median([value[name] for value in values]) for name in values[0]}
    if isinstance(values[0], int | float):
        return round(statistics.median(values), 3)
    return values[0]


def ratios(measured: Mapping[str, Any], limit: Mapping[str, float]) -> dict[str, float]:
    """Hold the service against the peer and against bare forward passes."""
    rate, peer = measured["flood"]["films_a_second"], measured["peer"]["seconds"]
    return {
        "throughput_over_peer": round(rate * peer, 1),
        "throughput_over_limit": round(rate / limit["films_a_second"], 3),
        "peer_over_latency": round(peer / measured["latency"]["10%"]["p50"], 1),
        "memory_over_peer": round(measured["memory_mib"]["worker-0"] / measured["peer"]["memory_mib"], 2),
    }


if __name__ == "__main__":
    typer.run(performance)
