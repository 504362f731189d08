"""A label predicted from a few features: logistic regression, cross-validated by person.

Shape legend: N films, F features.
"""

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["cross_validated", "fit"]

RIDGE = 10.0
"""Penalty on the squared coefficients of standardised features, in films: as if ten had spoken against them."""


def fit(
    features: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Fit by penalised maximum likelihood.

    Parameters
    ----------
    features : numpy.ndarray
        (N, F), standardised.
    labels, weights : numpy.ndarray
        (N,) 0 or 1; how much each film counts.

    Returns
    -------
    tuple of numpy.ndarray and float
        Coefficients (F,) and intercept.
    """
    inputs, targets, counts = (
        torch.from_numpy(np.asarray(values, np.float64)) for values in (features, labels, weights)
    )
    parameters = torch.zeros(features.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = inputs @ parameters[:-1] + parameters[-1]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, counts, reduction="sum")
        loss = (loss + 0.5 * RIDGE * parameters[:-1].square().sum()) / counts.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = parameters.detach().numpy()
    return found[:-1], float(found[-1])


def cross_validated(
    features: NDArray[np.float64],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return each film's logit from a fit to the films of the other folds, (N,)."""
    logits = np.zeros(len(labels))
    for fold in np.unique(folds):
        held_out = folds == fold
        coefficients, intercept = fit(features[~held_out], labels[~held_out], weights[~held_out])
        logits[held_out] = features[held_out] @ coefficients + intercept
    return logits
