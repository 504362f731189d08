"""Logistic regression on one variable, for many weightings of the same films at once.

Shape legend: N films, R rows of weights.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit_intercept", "fit_line", "logit_of", "sigmoid"]

_STEPS = 40
_LONGEST = 3.0
"""Longest step of Newton's method in units of the standardised variable: from far away it would overshoot."""

_PRECISE = 1e-8
_BLOCK = 1 << 20
"""Weights that are worked on at once: the arrays of a step stay in the processor's cache, and memory small."""


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn logits into probabilities without overflow."""
    small = np.exp(-np.abs(logits))
    probabilities: NDArray[np.float64] = np.where(logits >= 0.0, 1.0, small) / (1.0 + small)
    return probabilities


def logit_of(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn probabilities into logits; 0 and 1, which have none, count as one in a billion away from it."""
    clipped = np.clip(probabilities, 1e-9, 1.0 - 1e-9)
    logits: NDArray[np.float64] = np.log(clipped / (1.0 - clipped))
    return logits


def fit_line(
    scores: NDArray[np.float64], targets: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit P(target) = sigmoid(slope * score + intercept) by maximum likelihood for each row of weights.

    Parameters
    ----------
    scores, targets : numpy.ndarray
        (N,); targets 0 to 1.
    weights : numpy.ndarray
        (R, N), not negative.

    Returns
    -------
    tuple of numpy.ndarray
        Slopes and intercepts (R,), NaN where there is no finite fit: one class only, classes that the score separates,
        or scores that are all the same.
    """
    middle, scale = float(scores.mean()), float(scores.std())
    if scale <= 0.0:
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    standard = (scores - middle) / scale
    # What fits the films as they are is near to what fits any resample of them.
    first = _newton(standard, targets, weights[:1], np.zeros(2))
    begin = first[0] if np.isfinite(first).all() else np.zeros(2)
    rows = max(_BLOCK // len(scores), 1)
    found = [_newton(standard, targets, weights[at : at + rows], begin) for at in range(1, len(weights), rows)]
    intercepts, slopes = np.concatenate([first, *found]).T
    return slopes / scale, intercepts - slopes * middle / scale


def _newton(
    scores: NDArray[np.float64], targets: NDArray[np.float64], weights: NDArray[np.float64], begin: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return intercept and slope (R, 2) for each row of weights (R, N)."""
    found, open_rows = np.full((len(weights), 2), np.nan), np.arange(len(weights))
    current = np.tile(begin, (len(weights), 1))
    for _ in range(_STEPS):
        chosen = weights[open_rows]
        probabilities = sigmoid(current[:, :1] + current[:, 1:] * scores)
        residual, spread = chosen * (targets - probabilities), chosen * probabilities * (1.0 - probabilities)
        gradient = np.stack([residual.sum(axis=1), residual @ scores], axis=1)
        h00, h01, h11 = spread.sum(axis=1), spread @ scores, spread @ np.square(scores)
        determinant = h00 * h11 - np.square(h01)
        # Without curvature there is no maximum to walk to: classes that the score separates.
        solvable = determinant > 1e-12 * np.square(chosen.sum(axis=1))
        safe = np.where(solvable, determinant, 1.0)
        step = np.stack(
            [
                (h11 * gradient[:, 0] - h01 * gradient[:, 1]) / safe,
                (h00 * gradient[:, 1] - h01 * gradient[:, 0]) / safe,
            ],
            axis=1,
        )
        current = current + np.clip(step, -_LONGEST, _LONGEST)
        done = solvable & (np.abs(step).max(axis=1) < _PRECISE)
        found[open_rows[done]] = current[done]
        going = solvable & ~done
        open_rows, current = open_rows[going], current[going]
        if not len(open_rows):
            break
    return found


def fit_intercept(
    scores: NDArray[np.float64], targets: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit P(target) = sigmoid(score + intercept) for each row of weights (R, N): (R,), NaN where there is one class."""
    total, wanted = weights.sum(axis=1), weights @ targets
    found = np.zeros(len(weights))
    rows = max(_BLOCK // len(scores), 1)
    for at in range(0, len(weights), rows):
        part = slice(at, at + rows)
        for _ in range(_STEPS):
            probabilities = sigmoid(found[part, None] + scores)
            missing = wanted[part] - (weights[part] * probabilities).sum(axis=1)
            curvature = (weights[part] * probabilities * (1.0 - probabilities)).sum(axis=1)
            step = np.clip(missing / np.maximum(curvature, 1e-12), -_LONGEST, _LONGEST)
            found[part] += step
            if np.abs(step).max() < _PRECISE:
                break
    found[(wanted <= 0.0) | (wanted >= total)] = np.nan
    return found
