"""``python -m training.evaluate``: metrics.json and report.html of a bundle on data folders, or of a run.

``--bundle DIR --data DIR --out DIR`` reads films as the service does; ``--run DIR`` measures the best weights of a
run on the persons it held out.
"""

import csv
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from pneumo_monai.bundle import Bundle
from pneumo_monai.engine import Engine, choose_device
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.evaluation.cases import CaseReading
from pneumo_monai.evaluation.document import described_model, how_measured, notes_on, with_curves
from pneumo_monai.evaluation.figures import PREVALENCE
from pneumo_monai.evaluation.groups import Protocol, groups_of
from pneumo_monai.evaluation.mix import parse_mix
from pneumo_monai.evaluation.page import write_page
from pneumo_monai.evaluation.reader import NotRead, read_cases
from training.assess import Assessment, assess
from training.cases import case_of
from training.entry import start
from training.records import Exam, read_folders
from training.split import Part, read_split

__all__ = ["evaluate_bundle", "write_assessment", "write_run_page"]

_log = logging.getLogger(__name__)

METRICS, PAGE, PREDICTIONS = "metrics.json", "report.html", "predictions.csv"
COLUMNS = ("patientId", "folder", "person", "part", "class", "view", "Target", "logit", "probability")
UNKNOWN = (
    "it is unknown whether the model was trained on these persons: no --split was given. Of a model that was, every "
    "figure is too good"
)


def evaluate(
    bundle: Annotated[Path | None, typer.Option(help="Folder of a MONAI Bundle, read as the service reads it.")] = None,
    data: Annotated[list[Path] | None, typer.Option(help="Folder in the challenge's layout; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for metrics.json, predictions.csv, report.html.")] = None,
    split: Annotated[Path | None, typer.Option(help="split.csv of the run that made the model.")] = None,
    part: Annotated[Part, typer.Option(help="With --split: whose persons are read.")] = Part.TEST,
    prevalence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of positive films where the model will be used.")
    ] = PREVALENCE,
    mix: Annotated[
        list[str] | None, typer.Option(help="CLASS=SHARE, repeated, or challenge: films are weighed to these shares.")
    ] = None,
    films: Annotated[bool, typer.Option(help="Show the most confident errors on the page.")] = True,
    run: Annotated[Path | None, typer.Option(help="Folder of a run instead of --bundle, --data and --out.")] = None,
) -> None:
    """Measure a model on films whose truth is known; write metrics.json, predictions.csv and report.html."""
    if run is not None:
        if bundle or data or out or split or mix:
            raise ConfigurationError(
                "--run knows its data, its split and its mix, and writes into its own folder; leave --bundle, --data, "
                "--out, --split and --mix out"
            )
        assessment = assess(run, prevalence=prevalence)
        write_assessment(run, assessment)
        write_run_page(run, assessment, films=films)
    elif bundle is None or not data or out is None:
        raise ConfigurationError("give --bundle, --data and --out, or --run")
    else:
        shares = parse_mix(mix or [])
        evaluate_bundle(
            Bundle(bundle), data, out, split=split, part=part, prevalence=prevalence, mix=shares, films=films
        )


def evaluate_bundle(
    bundle: Bundle,
    folders: list[Path],
    out: Path,
    *,
    split: Path | None = None,
    part: Part = Part.TEST,
    prevalence: float = PREVALENCE,
    mix: dict[str, float] | None = None,
    films: bool = True,
    resamples: int | None = None,
) -> dict[str, Any]:
    """Read the exams of data folders with a bundle and write what it is worth on them.

    Returns
    -------
    dict
        What metrics.json holds.

    Raises
    ------
    ConfigurationError
        From the folders or the split, or because no film could be read.
    """
    listed = read_folders(folders)
    exams, name, held_out = _chosen(listed, split, part)
    out.mkdir(parents=True, exist_ok=True)
    engine = Engine(bundle, choose_device("auto"))
    seen = list(track(read_cases(engine, [case_of(exam) for exam in exams]), "Reading", total=len(exams)))
    readings = [one for one in seen if isinstance(one, CaseReading)]
    not_read = [one for one in seen if isinstance(one, NotRead)]
    for one in not_read:
        _log.warning("not read: %s: %s: %s", one.case.path, one.reason, one.detail)
    if not readings:
        raise ConfigurationError("--data: none of the films can be read; the log says why for each")
    protocol = Protocol(
        threshold=bundle.contract.operating_point.threshold,
        prevalence=prevalence,
        mix=mix or {},
        **({} if resamples is None else {"resamples": resamples}),
    )
    groups = groups_of(readings, protocol.mix)
    metrics = {
        **described_model(bundle),
        "held_out": held_out,
        "notes": [*([f"Beware: {held_out}."] if name != Part.TEST else []), *notes_on(groups)],
        "data": {
            "unit": "exams",
            "counts": {
                "data": ", ".join(f"{folder} ({count})" for folder, count in _by_folder(listed).items()),
                "exams": f"{len(exams)} of {len(listed)} chosen, {len(readings)} read, {len(not_read)} not read",
            },
            "not_read": dict(sorted(Counter(one.reason for one in not_read).items())),
            "films_not_read": [
                {"exam": one.case.identifier, "group": one.case.group, "reason": f"{one.reason}: {one.detail}"}
                for one in not_read
            ],
        },
        **how_measured(groups, protocol),
        **with_curves(groups, protocol, name),
    }
    _write_metrics(out, metrics)
    _write_predictions(out, [(reading, name) for reading in readings])
    write_page(out / PAGE, metrics, groups, title=f"{bundle.name} {bundle.version} on {name} films", films=films)
    _log_figures(metrics[name], name)
    _log.info("%s and %s stand in %s", METRICS, PAGE, out)
    return metrics


def _chosen(listed: list[Exam], split: Path | None, part: Part) -> tuple[list[Exam], str, str]:
    """Return the exams to read, the name of what they are, and what is known of their persons."""
    if split is None:
        _log.warning("%s", UNKNOWN)
        return listed, "all", UNKNOWN
    parts = read_split(split, listed)
    exams = [exam for exam in listed if parts[exam.person] is part]
    if not exams:
        raise ConfigurationError(f"--part {part}: {split} puts none of the persons of --data into it")
    if part is Part.TEST:
        return exams, part.value, "the test part of the split: never trained on, nothing was chosen on them"
    done = "trained on" if part is Part.TRAINING else "used to choose epoch, calibration and operating point"
    return exams, part.value, f"the {part} part of the split: its persons were {done}, so figures are too good"


def _by_folder(exams: list[Exam]) -> dict[str, str]:
    return {folder: f"{count} exams" for folder, count in sorted(Counter(exam.folder for exam in exams).items())}


def write_assessment(run: Path, assessment: Assessment) -> None:
    """Write metrics.json and predictions.csv, and log the figures of each group."""
    _write_metrics(run, assessment.metrics)
    _write_predictions(run, [(reading.found, reading.part.value) for reading in assessment.readings])
    _log_figures(assessment.metrics["test"], "test")


def write_run_page(run: Path, assessment: Assessment, *, films: bool) -> None:
    """Write report.html of a run's test part."""
    groups = groups_of(assessment.of(Part.TEST), assessment.protocol.mix)
    count = len(assessment.films.exams) + len(assessment.films.skipped)
    metrics = {
        **assessment.metrics,
        **with_curves(groups, assessment.protocol, Part.TEST.value),
        "model": {"name": f"run {run.resolve().name}", "version": "", "uid": "", "reads": assessment.reads},
        "held_out": "the test part of the run's split: never trained on, nothing was chosen on them",
        "notes": notes_on(groups),
        "data": {
            "unit": "exams",
            "counts": {
                "data": ", ".join(f"{name} ({number})" for name, number in _by_folder(assessment.films.exams).items()),
                "exams": f"{count} in all parts, {len(assessment.films.skipped)} of them not read",
            },
            "not_read": dict(Counter(skipped.reason.partition(":")[0] for skipped in assessment.films.skipped)),
            "films_not_read": [
                {"exam": skipped.exam.patient_id, "group": skipped.exam.group, "reason": skipped.reason}
                for skipped in assessment.films.skipped
            ],
        },
    }
    write_page(run / PAGE, metrics, groups, title=f"Run {run.resolve().name} on its test films", films=films)
    _log.info("%s and %s stand in %s", METRICS, PAGE, run)


def _write_metrics(out: Path, metrics: dict[str, Any]) -> None:
    (out / METRICS).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _write_predictions(out: Path, readings: list[tuple[CaseReading, str]]) -> None:
    with (out / PREDICTIONS).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for reading, part in readings:
            case = reading.case
            folder = case.group.rpartition("/")[0]
            row = [case.identifier, folder, case.person, part, case.klass, case.view.value, case.target]
            writer.writerow([*row, f"{reading.logit:.5f}", f"{reading.probability:.5f}"])


def _log_figures(groups: dict[str, Any], part: str) -> None:
    for group, subsets in groups.items():
        for name, values in subsets.items():
            shown = ", ".join(
                f"{figure} {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
                for figure, value in values.items()
                if isinstance(value, dict) and "value" in value
            )
            _log.info(
                "%s, %s, %s (%d exams, %d positive): %s",
                part,
                group,
                name,
                values["exams"],
                values["positive"],
                shown,
            )


if __name__ == "__main__":
    start(evaluate)
