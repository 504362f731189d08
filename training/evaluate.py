"""``python -m training.evaluate --run DIR``: measure a run's best weights on the persons it held out."""

import csv
import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from training.assess import Assessment, assess
from training.entry import start

__all__ = ["write_assessment"]

_log = logging.getLogger(__name__)


def evaluate(run: Annotated[Path, typer.Option(help="Folder of a run, the --out of training.")]) -> None:
    """Write metrics.json and predictions.csv into the folder of a run."""
    write_assessment(run, assess(run))


def write_assessment(run: Path, assessment: Assessment) -> None:
    """Write metrics.json and predictions.csv, and log the figures of each group."""
    (run / "metrics.json").write_text(json.dumps(assessment.metrics, indent=2), encoding="utf-8")
    with (run / "predictions.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patientId", "folder", "person", "part", "class", "view", "Target", "logit", "probability"])
        for reading in assessment.readings:
            exam = reading.exam
            row = [exam.patient_id, exam.folder, exam.person, reading.part, exam.klass, exam.view, exam.target]
            writer.writerow([*row, f"{reading.logit:.5f}", f"{reading.probability:.5f}"])
    for group, subsets in assessment.metrics["test"].items():
        for name, values in subsets.items():
            shown = ", ".join(
                f"{figure} {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
                for figure, value in values.items()
                if isinstance(value, dict) and "value" in value
            )
            _log.info(
                "test, %s, %s (%d exams, %d positive): %s", group, name, values["exams"], values["positive"], shown
            )


if __name__ == "__main__":
    start(evaluate)
