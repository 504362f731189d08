"""`pneumo-monai validate`: a hospital's own films and labels against the model it has installed."""

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from pneumo_monai.attributes import text
from pneumo_monai.bundle import Bundle
from pneumo_monai.engine import open_engine
from pneumo_monai.errors import ConfigurationError, Refused
from pneumo_monai.evaluation.cases import Case, CaseReading, described
from pneumo_monai.evaluation.document import described_model, how_measured, notes_on, with_curves
from pneumo_monai.evaluation.figures import PREVALENCE
from pneumo_monai.evaluation.groups import Protocol, groups_of
from pneumo_monai.evaluation.labels import Label, Labels, read_labels
from pneumo_monai.evaluation.page import write_page
from pneumo_monai.evaluation.reader import compare
from pneumo_monai.evaluation.resampling import RESAMPLES
from pneumo_monai.evaluation.site import Exam, Found, Matched, find_files, match
from pneumo_monai.reading import Reading
from pneumo_monai.settings import IntendedUse, Model
from pneumo_monai.study import Film, Study

__all__ = ["CASES", "METRICS", "PAGE", "validate"]

METRICS = "metrics.json"
PAGE = "report.html"
CASES = "cases.csv"

_PART = "site"
_HELD_OUT = "of this site; whether the model was trained on any of them is not known here"


@dataclass(kw_only=True)
class _Tally:
    """What became of the files that labels are about."""

    analysed: int = 0
    failed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    not_read: list[Label] = field(default_factory=list)


def validate(
    data: Path,
    labels: Path,
    out: Path,
    *,
    bundle: Bundle,
    model: Model | None = None,
    intended_use: IntendedUse | None = None,
    prevalence: float = PREVALENCE,
    films: bool = True,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Measure a model on a folder of DICOM files, each read as the service reads it.

    Writes metrics.json and report.html, in which films have running numbers, and cases.csv, which says what the numbers
    stand for and is for nobody but the site.

    Parameters
    ----------
    data : Path
        Folder, searched at every depth.
    labels : Path
        Table of `pneumo_monai.evaluation.labels`.
    out : Path
        Folder for what is written; made when it is missing.
    bundle : Bundle
        The model.
    model : Model or None
        Where the networks run, and how they compute; None: the defaults of the settings.
    intended_use : IntendedUse or None
        Whose films may be read; None: the defaults of the settings.
    prevalence : float
        Share of positive films for which predictive values are computed.
    films : bool
        Whether the page shows the most confident errors: they are pictures of patients.
    resamples : int
        Of the bootstrap.

    Returns
    -------
    dict
        What metrics.json holds.

    Raises
    ------
    ConfigurationError
        Labels, folder or device cannot be used, or the films that were read are of one class only.
    """
    table = read_labels(labels)
    found = find_files(data, table)
    matched = match(table, found.named)
    _check_classes(labels, [exam.label for exam in matched.exams], "that a file belongs to")
    stages = Reading(open_engine(bundle, model or Model()), intended_use)
    readings, tally = _read(stages, matched.exams, group="studies" if table.of_studies else "films")
    if not readings:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(tally.refused.items()))
        raise ConfigurationError(f"--data {data}: none of the films with a label could be read ({reasons or 'failed'})")
    read = [label for label, _ in readings]
    _check_classes(labels, read, "whose films could be read")
    protocol = Protocol(threshold=bundle.contract.operating_point.threshold, prevalence=prevalence, resamples=resamples)
    groups = groups_of([reading for _, reading in readings], {})
    metrics = {
        **described_model(bundle),
        "held_out": _HELD_OUT,
        "notes": [*_loss(tally, len(readings)), *notes_on(groups)],
        "data": _described(table, found, matched, tally),
        **how_measured(groups, protocol),
        **with_curves(groups, protocol, _PART),
    }
    _make_folder(out)
    (out / METRICS).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    write_page(out / PAGE, metrics, groups, title=f"{bundle.name} {bundle.version} on films of this site", films=films)
    _write_cases(out / CASES, table, readings)
    return metrics


def _check_classes(file: Path, labels: Sequence[Label], which: str) -> None:
    if len({label.target for label in labels}) < 2:
        raise ConfigurationError(
            f"--labels {file}: all {len(labels)} rows {which} have label {labels[0].target}; figures need both classes"
        )


def _read(stages: Reading, exams: Sequence[Exam], *, group: str) -> tuple[list[tuple[Label, CaseReading]], _Tally]:
    tally = _Tally()
    readings: list[tuple[Label, CaseReading]] = []
    numbered = enumerate(track(exams, "Reading", console=Console(stderr=True)), start=1)
    for number, exam in numbered:
        films = [_through_the_stages(stages, path) for path in exam.paths]
        for film in films:
            if film.refused is not None:
                tally.refused[film.refused.reason] += 1
            elif film.finding is None:
                tally.failed += 1
            else:
                tally.analysed += 1
        analysed = [film for film in films if film.finding is not None]
        if analysed:
            highest = max(analysed, key=lambda film: film.finding.probability if film.finding else 0.0)
            readings.append((exam.label, _compared(exam.label, number, highest, group)))
        else:
            tally.not_read.append(exam.label)
    return readings, tally


def _through_the_stages(stages: Reading, path: Path) -> Film:
    """Send one file where the service sends it; of its pixels nothing is kept."""
    study = Study(study_instance_uid="", films=(Film(path=path),))
    for stage in (stages.load, stages.gate, stages.preprocess, stages.infer):
        study = stage(study)
    return replace(study.films[0], pixels=None, tensor=None)


def _compared(label: Label, number: int, film: Film, group: str) -> CaseReading:
    assert film.dataset is not None  # noqa: S101 - the film was analysed
    assert film.finding is not None  # noqa: S101
    case = Case(
        identifier=str(number),
        person=_person(label, number, film),
        group=group,
        target=label.target,
        path=film.path,
        klass=label.klass,
    )
    return compare(replace(described(case, film.dataset), view=film.finding.view), film.finding)


def _person(label: Label, number: int, film: Film) -> str:
    """Return a key that says which films are of one person and nothing else; it is never written."""
    if label.person:
        return f"labels:{label.person}"
    assert film.dataset is not None  # noqa: S101 - the film was analysed
    try:
        stated = text(film.dataset, "PatientID")
    except Refused:
        stated = ""
    return hashlib.sha256(stated.encode()).hexdigest() if stated else f"number:{number}"


def _files(found: Found, matched: Matched, tally: _Tally) -> dict[str, Any]:
    refused = found.refused + tally.refused
    failed = found.failed + tally.failed
    return {
        "files": found.files,
        "analysed": tally.analysed,
        "refused": dict(sorted(refused.items())),
        "failed": failed,
        "without_label": matched.without_label,
        "repeated": found.repeated,
        "sum": (
            f"{found.files} files = {tally.analysed} analysed + {refused.total()} refused + {failed} failed + "
            f"{matched.without_label} without a label + {found.repeated} repeated"
        ),
    }


def _described(table: Labels, found: Found, matched: Matched, tally: _Tally) -> dict[str, Any]:
    files = _files(found, matched, tally)
    measured, lost = len(matched.exams) - len(tally.not_read), len(tally.not_read)
    positive = sum(label.target for label in tally.not_read)
    labels = (
        f"{len(table.rows)} by {table.column} = {measured} measured + {lost} whose films were refused or failed "
        f"({positive} of them positive) + {matched.without_file} without a file"
        + (f"; {table.repeated} rows repeat another" if table.repeated else "")
    )
    failed = {"failed": files["failed"]} if files["failed"] else {}
    return {
        "unit": "studies" if table.of_studies else "films",
        "files": files,
        "labels": {
            "rows": len(table.rows),
            "column": table.column,
            "measured": measured,
            "not_read": {"positive": positive, "negative": lost - positive},
            "without_file": matched.without_file,
            "repeated": table.repeated,
        },
        "counts": {"files": files["sum"], "labels": labels},
        "not_read": {**files["refused"], **failed},
    }


def _loss(tally: _Tally, measured: int) -> list[str]:
    """Say that films are missing: which the service refuses is no accident, so the rest is another choice of films."""
    if not (lost := len(tally.not_read)):
        return []
    positive = sum(label.target for label in tally.not_read)
    return [
        f"{lost} of {lost + measured} with a label ({positive} of them positive) were refused or failed: figures are "
        "of the rest."
    ]


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--out {out}: cannot be made ({error.strerror}); give another folder") from None


def _write_cases(file: Path, table: Labels, readings: Sequence[tuple[Label, CaseReading]]) -> None:
    """Say what the running numbers stand for, readable by the owner alone."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), 0o600)
        writer = csv.writer(stream)
        writer.writerow(["number", table.column, "label", "probability", "called"])
        for label, reading in readings:
            called = int(reading.finding.present)
            writer.writerow([reading.case.identifier, label.key, label.target, f"{reading.probability:.5f}", called])
