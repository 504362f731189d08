"""``python -m benchmarks.scaling``: throughput by number of workers, and by the database of the ledger."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.end_to_end import flood, throughput
from benchmarks.performance_page import write_page
from benchmarks.rig import machine, radiograph, rig, write_films
from tests.peers import PostgreSql

__all__ = ["measure_scaling"]

_DOCS = Path(__file__).parents[1] / "docs"
_WARM_UP = 30


def scaling(
    *,
    films: Annotated[int, typer.Option(min=20, help="Sent as fast as they are taken, each time.")] = 300,
    most: Annotated[int, typer.Option(min=1, help="Workers, up to which each number is measured.")] = 2,
    film: Annotated[Path | None, typer.Option(help="A file to send copies of. [a drawn chest]")] = None,
    docs: Annotated[Path, typer.Option(help="Where performance.json and performance.md stand.")] = _DOCS,
) -> None:
    """Measure, and write it into what `benchmarks.performance` wrote."""
    file = docs / "performance.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    told["scaling"] = {"rows": measure_scaling(films, most, film), "machine": machine()}
    file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    write_page(docs)


def measure_scaling(films: int, most: int, film: Path | None) -> list[dict[str, Any]]:
    """Return what a flood of films was, for each database and each number of workers."""
    rows: list[dict[str, Any]] = []
    for database in ("SQLite", "PostgreSQL"):
        for workers in range(1, most + 1):
            with tempfile.TemporaryDirectory() as temporary, _ledger(database, Path(temporary)) as sections:
                folder, sent = Path(temporary), radiograph(film)
                with rig(folder, workers, sections) as running:
                    flood(running, write_films(sent, folder / "warm-up", _WARM_UP * workers, "warm-up"))
                    told = throughput(running, write_films(sent, folder / "flood", films, "flood"))
                    memory = sum(size for name, size in running.memory().items() if name.startswith("worker"))
            rows.append({"ledger": database, "workers": workers, **told, "workers_mib": round(memory / 2**20)})
    return rows


@contextmanager
def _ledger(database: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Start the database; yield the sections of the settings that name it."""
    if database == "SQLite":
        yield {}
        return
    home = folder / "postgresql"
    home.mkdir()
    server = PostgreSql(home)
    server.start()
    try:
        yield {"ledger": {"url": server.database()}}
    finally:
        server.stop()


if __name__ == "__main__":
    typer.run(scaling)
