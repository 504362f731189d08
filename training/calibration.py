"""From logits to a decision: Platt scaling and the operating point, both chosen on validation films."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from pneumo_monai.errors import ConfigurationError

__all__ = ["choose_threshold", "fit_platt"]


def fit_platt(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Fit probability = sigmoid(slope * logit + intercept) by maximum likelihood.

    Parameters
    ----------
    logits : numpy.ndarray
        (N,) as the network gives them.
    labels : numpy.ndarray
        (N,) 0 or 1.

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
    targets = torch.from_numpy(np.where(labels == 1, high, low))
    inputs = torch.from_numpy(logits)
    parameters = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(parameters[0] * inputs + parameters[1], targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    slope, intercept = parameters.tolist()
    if not (math.isfinite(slope) and slope > 0.0):
        raise ConfigurationError(
            "the network does not rank the validation films (slope of the calibration is not positive); train longer"
        )
    return slope, intercept


def choose_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.int64], *, sensitivity: float) -> float:
    """Return the highest threshold at which at least that share of the positive films is called positive.

    It lies halfway to the next lower probability, so that rounding cannot move a film across it.
    """
    positive = np.sort(probabilities[labels == 1])[::-1]
    lowest = positive[math.ceil(sensitivity * len(positive)) - 1]
    below = probabilities[probabilities < lowest]
    return float((lowest + (below.max() if below.size else 0.0)) / 2)
