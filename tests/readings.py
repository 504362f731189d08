"""Readings made here, so that figures and pages can be tested without a network."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_monai.evaluation.cases import Case, CaseReading
from pneumo_monai.evaluation.logistic import sigmoid
from pneumo_monai.evaluation.reader import compare
from pneumo_monai.findings import FilmFinding, View
from pneumo_monai.geometry import SquareGeometry, Window

__all__ = ["make_finding", "make_reading", "make_readings"]


def make_finding(
    activation: NDArray[Any],
    *,
    rows: int = 70,
    columns: int = 70,
    window: Window | None = None,
    lungs: NDArray[np.bool_] | None = None,
    logit: float = 0.0,
) -> FilmFinding:
    """Make a finding whose map lies on a film of `rows` x `columns`."""
    probability = float(sigmoid(np.array(logit)))
    return FilmFinding(
        sop_instance_uid="1.2",
        view=View.PA,
        probability=probability,
        present=probability >= 0.5,
        activation=np.asarray(activation, dtype=np.float32),
        geometry=SquareGeometry(
            rows=rows, columns=columns, size=70, window=window or Window.whole(rows=rows, columns=columns)
        ),
        logit=logit,
        lungs=lungs,
    )


def make_reading(number: int, *, target: int, logit: float, **known: Any) -> CaseReading:
    """Make the reading of one case of the group ``drawn/exact``; `known` replaces what is known of it."""
    settings = {"identifier": f"exam-{number}", "person": f"P{number}", "path": Path("nowhere.dcm"), **known}
    case = Case(group=settings.pop("group", "drawn/exact"), target=target, **settings)
    activation = np.zeros((7, 7))
    activation[3, 3] = 1.0
    return compare(case, make_finding(activation, logit=logit))


def make_readings(count: int = 120, *, seed: int = 0, slope: float = 1.0, **known: Any) -> list[CaseReading]:
    """Make readings whose labels follow sigmoid(slope * logit)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0.0, 1.5, count)
    labels = (generator.random(count) < sigmoid(slope * logits)).astype(int)
    return [
        make_reading(number, target=int(label), logit=float(logit), **known)
        for number, (label, logit) in enumerate(zip(labels, logits, strict=True))
    ]
