"""From logits to a decision: Platt scaling and the operating point, both chosen on validation films."""

import math

import numpy as np
from numpy.typing import NDArray

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.evaluation.logistic import fit_line

__all__ = ["choose_threshold", "fit_platt"]


def fit_platt(
    logits: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """Fit probability = sigmoid(slope * logit + intercept) by maximum likelihood.

    Parameters
    ----------
    logits : numpy.ndarray
        (N,) as the network gives them.
    labels : numpy.ndarray
        (N,) 0 or 1.
    weights : numpy.ndarray or None
        (N,) weight of each film; None: 1.

    Returns
    -------
    tuple of float
        Slope and intercept.

    Raises
    ------
    ConfigurationError
        Higher logits do not mean more positives, so the network has learnt nothing that could be calibrated.
    """
    # Platt's targets: one more film of each class than there is, so that separable logits still have a finite fit.
    positive = int(labels.sum())
    high, low = (positive + 1) / (positive + 2), 1 / (len(labels) - positive + 2)
    targets = np.where(labels == 1, high, low)
    slopes, intercepts = fit_line(logits, targets, np.ones((1, len(labels))) if weights is None else weights[None])
    slope, intercept = float(slopes[0]), float(intercepts[0])
    if not (math.isfinite(slope) and slope > 0.0):
        raise ConfigurationError(
            "the network does not rank the validation films (slope of the calibration is not positive); train longer"
        )
    return slope, intercept


def choose_threshold(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64] | None = None,
    *,
    sensitivity: float,
) -> float:
    """Return the highest threshold at which at least that share of the positive films, as weighed, is called positive.

    It lies halfway to the next lower probability, so that rounding cannot move a film across it.
    """
    positive = labels == 1
    order = np.argsort(-probabilities[positive], kind="stable")
    reached = np.cumsum((np.ones(len(labels)) if weights is None else weights)[positive][order])
    # Sums of weights round: a share that is met but for that is met.
    place = int(np.searchsorted(reached, sensitivity * reached[-1] * (1.0 - 1e-12)))
    lowest = probabilities[positive][order][place]
    below = probabilities[probabilities < lowest]
    return float((lowest + (below.max() if below.size else 0.0)) / 2)
