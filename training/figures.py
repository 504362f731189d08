"""Figures of a held-out part: discrimination and decisions, with intervals by person."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RESAMPLES", "figures"]

RESAMPLES = 1000
"""Bootstrap resamples behind every interval."""


def figures(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    persons: Sequence[str],
    *,
    threshold: float,
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
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``exams``, ``persons``, ``positive``, ``confusion_matrix`` and one dict of ``value``, ``low``, ``high`` (95 %
        percentile interval) for each figure. Figures that these films do not define (specificity without negatives)
        are left out.
    """
    names, owners = np.unique(np.asarray(persons), return_inverse=True)
    drawn = np.random.default_rng(seed).integers(0, len(names), (resamples, len(names)))
    # A film counts as often as its person was drawn; row 0 is the part itself.
    times = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
    weights = np.vstack([np.ones((1, len(labels))), times[:, owners]])
    called = probabilities >= threshold
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {**_discrimination(probabilities, labels, weights), **_decisions(called, labels, weights)}
    return {
        "exams": len(labels),
        "persons": len(names),
        "positive": int(labels.sum()),
        "confusion_matrix": {
            "true_positive": int((called & (labels == 1)).sum()),
            "false_positive": int((called & (labels == 0)).sum()),
            "false_negative": int((~called & (labels == 1)).sum()),
            "true_negative": int((~called & (labels == 0)).sum()),
        },
        **{
            name: {"value": round(float(values[0]), 4), **_interval(values[1:])}
            for name, values in found.items()
            if np.isfinite(values[0])
        },
    }


def _interval(samples: NDArray[np.float64]) -> dict[str, float]:
    """Return the 95 % percentile interval; where no resample defines the figure nothing is known of it: 0 to 1."""
    defined = samples[np.isfinite(samples)]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined.size else (0.0, 1.0)
    return {"low": round(float(low), 4), "high": round(float(high), 4)}


def _discrimination(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
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
    called: NDArray[np.bool_], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Sensitivity (recall), specificity, precision and F1 for each row of weights (R, N): (R,), NaN where undefined."""
    true_positive, false_negative = weights @ (called & (labels == 1)), weights @ (~called & (labels == 1))
    false_positive, true_negative = weights @ (called & (labels == 0)), weights @ (~called & (labels == 0))
    both = np.where((true_positive + false_negative > 0) & (false_positive + true_negative > 0), 1.0, np.nan)
    return {
        "sensitivity": true_positive / (true_positive + false_negative),
        "specificity": true_negative / (true_negative + false_positive),
        "precision": both * true_positive / (true_positive + false_positive),
        "f1": both * 2 * true_positive / (2 * true_positive + false_positive + false_negative),
    }
