"""The bootstrap by person: how often each film counts in each resample, and the interval that follows.

Shape legend: N films, R resamples; row 0 of R + 1 is the films as they are.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

__all__ = ["RESAMPLES", "Figure", "draw", "interval", "stated"]

RESAMPLES = 1000
"""Bootstrap resamples behind every interval."""


class Figure(TypedDict):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def draw(
    persons: Sequence[str],
    *,
    weights: NDArray[np.float64] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Draw persons with replacement: films of one person are no independent evidence.

    Parameters
    ----------
    persons : sequence of str
        (N,) whose film each is.
    weights : numpy.ndarray or None
        (N,) weight of each film; None: 1.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    numpy.ndarray
        (R + 1, N) float64: a film counts as often as its person was drawn, times its weight.
    """
    names, owners = np.unique(np.asarray(persons), return_inverse=True)
    drawn = np.random.default_rng(seed).integers(0, len(names), (resamples, len(names)))
    times = np.stack([np.ones(len(names)), *(np.bincount(row, minlength=len(names)) for row in drawn)])
    counted: NDArray[np.float64] = times[:, owners]
    return counted if weights is None else counted * weights


def interval(samples: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % percentile interval; where no resample defines the figure nothing is known of it: 0 to 1."""
    defined = samples[np.isfinite(samples)]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined.size else (0.0, 1.0)
    return float(low), float(high)


def stated(rows: NDArray[np.float64]) -> Figure:
    """Return value and interval of a figure computed on each row of `draw`: (R + 1,)."""
    low, high = interval(rows[1:])
    return {"value": round(float(rows[0]), 4), "low": round(low, 4), "high": round(high, 4)}
