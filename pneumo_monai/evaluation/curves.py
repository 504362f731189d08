"""Points of the curves that pictures show: ROC, precision-recall, reliability, net benefit.

Shape legend: N films, T thresholds, B bins, R resamples.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_monai.evaluation.groups import Group, Protocol
from pneumo_monai.evaluation.logistic import sigmoid
from pneumo_monai.evaluation.resampling import draw, interval

__all__ = ["curves", "decision_curve", "precision_recall", "reliability", "roc"]

_POINTS = 200
"""Points that a curve has at the most: as many as a picture can show."""

_BINS = 10

Curve = dict[str, list[float]]


def curves(group: Group, protocol: Protocol) -> dict[str, Any]:
    """Return every curve that the films of a group allow; empty where they are of one class."""
    if not group.has_both_classes:
        return {}
    drawn = draw(group.persons, weights=group.weights, resamples=protocol.resamples, seed=protocol.seed)
    return {
        "roc": roc(group.probabilities, group.labels, group.weights),
        "precision_recall": precision_recall(group.probabilities, group.labels, group.weights),
        "reliability": reliability(group.probabilities, group.labels, drawn),
        "reliability_before_calibration": reliability(sigmoid(group.logits), group.labels, drawn),
        "decision_curve": decision_curve(group.probabilities, group.labels, drawn),
    }


def roc(probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]) -> Curve:
    """Return the ROC curve from (0, 0) to (1, 1)."""
    thresholds, true, false = _cumulated(probabilities, labels, weights)
    points = {
        "false_positive_rate": np.concatenate([[0.0], false / false[-1]]),
        "true_positive_rate": np.concatenate([[0.0], true / true[-1]]),
        "threshold": np.concatenate([[1.0], thresholds]),
    }
    return _thinned(points, along="false_positive_rate")


def precision_recall(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> Curve:
    """Return precision at each recall that a threshold reaches, from the highest threshold on."""
    thresholds, true, false = _cumulated(probabilities, labels, weights)
    points = {"recall": true / true[-1], "precision": true / (true + false), "threshold": thresholds}
    return _thinned(points, along="recall")


def _cumulated(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return each distinct probability, highest first, and the weight of positive and negative films from it on."""
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order]
    last = np.flatnonzero(np.diff(ordered, append=-np.inf))
    true, false = (np.cumsum((weights * truth)[order])[last] for truth in (labels, 1 - labels))
    return ordered[last], true, false


def _thinned(points: dict[str, NDArray[np.float64]], *, along: str) -> Curve:
    """Keep points that are spread evenly along the curve, the first and the last among them."""
    length = len(points[along])
    kept = np.arange(length)
    if length > _POINTS:
        wanted = np.linspace(0.0, 1.0, _POINTS)
        way = np.linspace(0.0, 1.0, length) + (points[along] - points[along][0])
        kept = np.unique(np.searchsorted(way, wanted * way[-1]).clip(0, length - 1))
    return {name: np.round(values[kept], 5).tolist() for name, values in points.items()}


def reliability(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], drawn: NDArray[np.float64], *, bins: int = _BINS
) -> dict[str, list[float]]:
    """Compare predicted and observed in bins that hold the same number of films.

    Parameters
    ----------
    probabilities, labels : numpy.ndarray
        (N,).
    drawn : numpy.ndarray
        (R + 1, N), from `resampling.draw`.
    bins : int
        At the most: films of one probability are never divided.

    Returns
    -------
    dict of str to list
        For each bin ``exams``, mean ``predicted``, ``observed`` share of positive films, and its interval ``low`` and
        ``high``.
    """
    edges = np.unique(np.quantile(probabilities, np.linspace(0.0, 1.0, bins + 1)[1:-1], method="higher"))
    places = np.searchsorted(edges, probabilities, side="right")
    found: dict[str, list[float]] = {name: [] for name in ("exams", "predicted", "observed", "low", "high")}
    for place in np.unique(places):
        members = places == place
        weights = drawn[:, members]
        with np.errstate(invalid="ignore"):
            observed = weights @ labels[members] / weights.sum(axis=1)
        low, high = interval(observed[1:])
        predicted = float(weights[0] @ probabilities[members] / weights[0].sum())
        found["exams"].append(int(members.sum()))
        for name, value in zip(
            ("predicted", "observed", "low", "high"), (predicted, observed[0], low, high), strict=True
        ):
            found[name].append(round(float(value), 5))
    return found


def decision_curve(probabilities: NDArray[np.float64], labels: NDArray[np.int64], drawn: NDArray[np.float64]) -> Curve:
    """Return the net benefit of following the model (Vickers and Elkin, Medical Decision Making 2006).

    Net benefit at a threshold t: true positives less false positives times t / (1 - t), as a share of all films. Beside
    it that of treating every patient; that of treating none is 0.

    Parameters
    ----------
    probabilities, labels : numpy.ndarray
        (N,).
    drawn : numpy.ndarray
        (R + 1, N), from `resampling.draw`.
    """
    thresholds = np.round(np.arange(0.01, 1.0, 0.01), 2)
    odds = thresholds / (1.0 - thresholds)
    called = probabilities[:, None] >= thresholds
    total = drawn.sum(axis=1, keepdims=True)
    benefit = (drawn @ (called & (labels == 1)[:, None]) - drawn @ (called & (labels == 0)[:, None]) * odds) / total
    low, high = np.percentile(benefit[1:], [2.5, 97.5], axis=0)
    prevalence = float(drawn[0] @ labels / total[0, 0])
    treated = prevalence - (1.0 - prevalence) * odds
    columns = {"threshold": thresholds, "model": benefit[0], "low": low, "high": high, "treat_all": treated}
    return {name: np.round(values, 5).tolist() for name, values in columns.items()}
