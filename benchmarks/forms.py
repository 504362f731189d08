"""``python -m benchmarks.forms``: bytes and milliseconds of each form of a result, built and encoded."""

import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.demo.phantoms import write_phantoms
from pneumo_monai.engine import Engine, choose_device
from pneumo_monai.findings import FilmFinding, StudyFindings
from pneumo_monai.folder import find_studies
from pneumo_monai.reading import Reading
from pneumo_monai.report.documents import BUILDERS, build_documents
from pneumo_monai.report.result import Result
from pneumo_monai.study import Film, Study

__all__ = ["measure_forms"]


def measure(
    data: Annotated[Path | None, typer.Option(help="Folder of films; the first that can be read. [phantoms]")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Times each form is built.")] = 15,
    out: Annotated[Path | None, typer.Option(help="JSON file for what was measured.")] = None,
) -> None:
    """Read one film, then build what is said of it in every form, as present and as absent."""
    rows = measure_forms(data, repeats)
    table = Table("form", "finding", "bytes", "ms, median")
    for row in rows:
        table.add_row(row["form"], row["finding"], f"{row['bytes']:,}", f"{row['milliseconds']:.1f}")
    Console().print(table)
    if out is not None:
        out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def measure_forms(data: Path | None, repeats: int) -> list[dict[str, Any]]:
    """Return bytes and milliseconds of every form, of a finding that is present and of one that is absent."""
    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            write_phantoms(Path(folder))
        results = _results(data or Path(folder))
    return [
        {"form": form, "finding": name, **_measured(result, form, repeats)}
        for form in BUILDERS
        for name, result in results.items()
    ]


def _results(folder: Path) -> Mapping[str, Result]:
    engine = Engine(Bundle(PACKAGED), choose_device("auto"))
    reading = Reading(engine)
    for study in find_studies(folder):
        read = reading.infer(reading.preprocess(reading.gate(reading.load(study))))
        for film in read.films:
            if film.finding is not None:
                return {
                    "present": _said(engine, read, film, film.finding, probability=1.0),
                    "absent": _said(engine, read, film, film.finding, probability=0.0),
                }
    raise typer.BadParameter(f"{folder}: none of its films could be read")


def _said(engine: Engine, study: Study, film: Film, finding: FilmFinding, *, probability: float) -> Result:
    point = engine.bundle.operating_point
    assert film.dataset is not None  # noqa: S101 - it was read
    assert film.pixels is not None  # noqa: S101
    said = replace(finding, probability=probability, present=probability >= point.threshold)
    return Result(
        outcome=StudyFindings(
            study_instance_uid=study.study_instance_uid,
            films=(said,),
            model=engine.bundle.identity,
            operating_point=point,
        ),
        sources={finding.sop_instance_uid: film.dataset},
        pictures={finding.sop_instance_uid: film.pixels},
        revision=1,
        analysed_at=datetime.now(UTC),
    )


def _measured(result: Result, form: Any, repeats: int) -> dict[str, Any]:
    took, size = [], 0
    for _ in range(repeats):
        begun = time.perf_counter()
        documents = build_documents(result, [form])
        took.append(1000.0 * (time.perf_counter() - begun))
        size = sum(len(document.encoded) for document in documents)
    return {"bytes": size, "milliseconds": statistics.median(took)}


if __name__ == "__main__":
    typer.run(measure)
