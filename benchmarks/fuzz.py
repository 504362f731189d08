"""``python -m benchmarks.fuzz films|streams``: hostile input, drawn from a seed, and what became of all of it."""

import json
import time
from itertools import count
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.fuzz_corpus import make_corpus
from benchmarks.fuzz_films import FilmMutator
from benchmarks.fuzz_session import fuzz_streams
from benchmarks.fuzz_supervisor import fuzz_films

__all__ = ["app"]

app = typer.Typer(add_completion=False, no_args_is_help=True)

_Seed = Annotated[int, typer.Option(help="Names the run: the same seed, the same cases.")]
_Data = Annotated[Path | None, typer.Option(help="Folder of real files; some cases break one of them.")]
_SAVE_EVERY = 500


@app.command()
def films(
    *,
    cases: Annotated[int, typer.Option(min=1, help="How many films.")] = 1000,
    first: Annotated[int, typer.Option(min=0, help="Number of the first case.")] = 0,
    seed: _Seed = 1,
    data: _Data = None,
    out: Annotated[Path, typer.Option(help="JSON file for the result.")] = Path("fuzz-films.json"),
) -> None:
    """Break films, and read them as the listener and the worker do."""
    began = time.monotonic()
    for number, tally in zip(count(1), fuzz_films(seed, first, first + cases, data), strict=False):
        if number % _SAVE_EVERY == 0 or tally.cases == cases:
            told = {"seed": seed, "first": first, "seconds": round(time.monotonic() - began), **tally.document()}
            out.write_text(json.dumps(told, indent=2), encoding="utf-8")
    Console().print_json(json.dumps(told))


@app.command()
def streams(
    *,
    cases: Annotated[int, typer.Option(min=1, help="How many streams.")] = 1000,
    first: Annotated[int, typer.Option(min=0, help="Number of the first case.")] = 0,
    seed: _Seed = 1,
    at_once: Annotated[int, typer.Option(min=1, help="Connections at once.")] = 8,
    folder: Annotated[Path, typer.Option(help="Data and log of the listener.")] = Path("fuzz-listener"),
    out: Annotated[Path, typer.Option(help="JSON file for the result.")] = Path("fuzz-streams.json"),
) -> None:
    """Send broken streams to a listener that runs in a process of its own."""
    began = time.monotonic()
    for tally in fuzz_streams(seed, first, first + cases, at_once, folder):
        told = {"seed": seed, "first": first, "seconds": round(time.monotonic() - began), **tally.document()}
        out.write_text(json.dumps(told, indent=2), encoding="utf-8")
    Console().print_json(json.dumps(told))


@app.command()
def case(
    number: Annotated[int, typer.Argument(help="The case.")],
    seed: _Seed = 1,
    data: _Data = None,
    out: Annotated[Path, typer.Option(help="File for the film.")] = Path("case.dcm"),
) -> None:
    """Write one broken film, to look at it."""
    out.write_bytes(FilmMutator(*make_corpus(data), seed).case(number))


if __name__ == "__main__":
    app()
