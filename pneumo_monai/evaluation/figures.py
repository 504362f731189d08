"""Figures of films whose truth is known: discrimination, decisions and calibration, with intervals by person.

Shape legend: N films, R rows of weights; row 0 is the films as they are, the others are resamples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_monai.evaluation.logistic import fit_intercept, fit_line, logit_of, sigmoid
from pneumo_monai.evaluation.resampling import RESAMPLES, draw, stated

__all__ = ["PREVALENCE", "discrimination", "figures"]

PREVALENCE = 0.10
"""Share of positive films among those that a department sends, where nobody names another."""

_Rows = dict[str, NDArray[np.float64]]

_UNBOUNDED = {"calibration_slope", "calibration_intercept", "calibration_in_the_large"}
"""Figures that may be any number: without a resample that defines one there is no interval to give."""


def figures(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    persons: Sequence[str],
    *,
    threshold: float,
    logits: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
    prevalence: float = PREVALENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute every figure that these films allow.

    Parameters
    ----------
    probabilities, labels : numpy.ndarray
        (N,) calibrated probabilities, and 0 or 1.
    persons : sequence of str
        Whose film each is: persons, not films, are resampled.
    threshold : float
        A film is called positive at this probability or more.
    logits : numpy.ndarray or None
        (N,) what the network gave: the figures of calibration are computed from their sigmoid too.
    weights : numpy.ndarray or None
        (N,) weight of each film; None: 1.
    prevalence : float
        Share of positive films for which predictive values are computed, from sensitivity and specificity.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``exams``, ``persons``, ``positive`` and ``confusion_matrix``, counted; and one dict of ``value``, ``low``,
        ``high`` (95 % percentile interval) for each figure, of weighed films. ``before_calibration`` holds those of the
        logits. Figures that these films do not define (specificity without negatives) are left out.
    """
    drawn = draw(persons, weights=weights, resamples=resamples, seed=seed)
    called = probabilities >= threshold
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            **discrimination(probabilities, labels, drawn),
            **_decisions(called, labels, drawn, prevalence),
            "prevalence": drawn @ labels / drawn.sum(axis=1),
            **_calibration(probabilities, labels, drawn),
        }
        before = {} if logits is None else _calibration(sigmoid(logits), labels, drawn, logits=logits)
    return {
        "exams": len(labels),
        "persons": len(set(persons)),
        "positive": int(labels.sum()),
        "confusion_matrix": {
            "true_positive": int((called & (labels == 1)).sum()),
            "false_positive": int((called & (labels == 0)).sum()),
            "false_negative": int((~called & (labels == 1)).sum()),
            "true_negative": int((~called & (labels == 0)).sum()),
        },
        **_stated(found),
        **({"before_calibration": _stated(before)} if before else {}),
    }


def _stated(found: _Rows) -> dict[str, Any]:
    return {
        name: stated(rows)
        for name, rows in found.items()
        if np.isfinite(rows[0]) and (name not in _UNBOUNDED or np.isfinite(rows[1:]).any())
    }


def discrimination(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> _Rows:
    """Area under the ROC curve and average precision for each row of weights (R, N): (R,), NaN where undefined."""
    order = np.argsort(probabilities, kind="stable")
    starts = np.flatnonzero(np.diff(probabilities[order], prepend=-np.inf))
    positive = np.add.reduceat((weights * labels)[:, order], starts, axis=1)
    negative = np.add.reduceat((weights * (1 - labels))[:, order], starts, axis=1)
    positives, negatives = positive.sum(axis=1), negative.sum(axis=1)
    below = np.cumsum(negative, axis=1) - negative
    auroc = (positive * (below + 0.5 * negative)).sum(axis=1) / (positives * negatives)
    true = np.cumsum(positive[:, ::-1], axis=1)
    false = np.cumsum(negative[:, ::-1], axis=1)
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true + false > 0)
    average_precision = (precision * positive[:, ::-1]).sum(axis=1) / positives
    average_precision[negatives == 0] = np.nan
    return {"auroc": auroc, "average_precision": average_precision}


def _decisions(
    called: NDArray[np.bool_], labels: NDArray[np.int64], weights: NDArray[np.float64], prevalence: float
) -> _Rows:
    """Figures of the operating point for each row of weights (R, N): (R,), NaN where undefined."""
    true_positive, false_negative = weights @ (called & (labels == 1)), weights @ (~called & (labels == 1))
    false_positive, true_negative = weights @ (called & (labels == 0)), weights @ (~called & (labels == 0))
    both = np.where((true_positive + false_negative > 0) & (false_positive + true_negative > 0), 1.0, np.nan)
    sensitivity = true_positive / (true_positive + false_negative)
    specificity = true_negative / (true_negative + false_positive)
    found, alarmed = prevalence * sensitivity, (1.0 - prevalence) * (1.0 - specificity)
    missed, cleared = prevalence * (1.0 - sensitivity), (1.0 - prevalence) * specificity
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": both * true_positive / (true_positive + false_positive),
        "recall": sensitivity,
        "f1": both * 2 * true_positive / (2 * true_positive + false_positive + false_negative),
        "ppv_at_prevalence": found / (found + alarmed),
        "npv_at_prevalence": cleared / (cleared + missed),
    }


def _calibration(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    *,
    logits: NDArray[np.float64] | None = None,
) -> _Rows:
    """Brier score; slope and intercept of the logistic recalibration; the intercept alone, the slope held at 1.

    Of a calibrated model the slope is 1 and both intercepts are 0 (Van Calster et al., BMC Medicine 2019).
    """
    scores, truth = logit_of(probabilities) if logits is None else logits, labels.astype(np.float64)
    slope, intercept = fit_line(scores, truth, weights)
    return {
        "brier": weights @ np.square(probabilities - truth) / weights.sum(axis=1),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "calibration_in_the_large": fit_intercept(scores, truth, weights),
    }
