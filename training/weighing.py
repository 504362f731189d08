"""Figures of films weighed to the challenge's mix of classes, and the subsets that an experiment is judged by."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_monai.evaluation.figures import discrimination
from pneumo_monai.evaluation.resampling import RESAMPLES
from pneumo_monai.findings import View
from training.records import NORMAL, NOT_NORMAL, OPACITY

__all__ = ["CHALLENGE_MIX", "RESAMPLES", "Film", "Resamples", "discrimination", "interval", "mix_weights", "subsets"]

CHALLENGE_MIX = {NORMAL: 8851.0, NOT_NORMAL: 11821.0, OPACITY: 6012.0}
"""Exams of each detailed class in the challenge."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """One film with a score: what any figure needs to know of it."""

    patient_id: str
    folder: str
    group: str
    person: str
    klass: str
    view: str
    target: int
    score: float


def mix_weights(classes: Sequence[str], mix: dict[str, float]) -> NDArray[np.float64]:
    """Return a weight for each film by which the classes among them stand to each other as in the mix: (N,), mean 1.

    Classes that the mix does not name count as often as they come.
    """
    counts = Counter(classes)
    named = sum(mix[klass] for klass in counts if klass in mix)
    films = sum(count for klass, count in counts.items() if klass in mix)
    weight = {klass: mix[klass] / named * films / count if klass in mix else 1.0 for klass, count in counts.items()}
    return np.array([weight[klass] for klass in classes])


def subsets(films: Sequence[Film]) -> dict[str, NDArray[np.bool_]]:
    """Return which films stand in each subset: (N,) bool, of subsets that hold both classes and are not everything."""
    classes = np.array([film.klass for film in films])
    views = np.array([film.view for film in films])
    labels = np.array([film.target for film in films])
    every = {
        "all": np.ones(len(films), dtype=bool),
        View.AP.value: views == View.AP.value,
        View.PA.value: views == View.PA.value,
        f"against {NORMAL}": classes != NOT_NORMAL,
        f"against {NOT_NORMAL}": classes != NORMAL,
    }
    return {
        name: inside
        for name, inside in every.items()
        if len(set(labels[inside].tolist())) == 2 and (name == "all" or not inside.all())
    }


class Resamples:
    """How often each film counts in each bootstrap resample of persons; row 0 is the films themselves.

    Parameters
    ----------
    persons : sequence of str
        Whose film each is.
    count, seed : int
        Of the bootstrap.
    """

    def __init__(self, persons: Sequence[str], *, count: int = RESAMPLES, seed: int = 0) -> None:
        names, owners = np.unique(np.asarray(persons), return_inverse=True)
        drawn = np.random.default_rng(seed).integers(0, len(names), (count, len(names)))
        times = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
        self.persons = len(names)
        self.times = np.vstack([np.ones((1, len(owners))), times[:, owners]])

    def figures(
        self,
        scores: NDArray[np.float64],
        labels: NDArray[np.int64],
        weights: NDArray[np.float64],
        inside: NDArray[np.bool_],
    ) -> dict[str, NDArray[np.float64]]:
        """Return ``auroc`` and ``average_precision`` of the films inside, for each resample: (1 + count,)."""
        times = self.times[:, inside] * weights[inside]
        with np.errstate(invalid="ignore", divide="ignore"):
            return discrimination(scores[inside], labels[inside], times)


def interval(samples: NDArray[np.float64]) -> dict[str, Any]:
    """Return the value of row 0 and the 95 % percentile interval of the resamples that define it."""
    defined = samples[1:][np.isfinite(samples[1:])]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined.size else (np.nan, np.nan)
    return {"value": round(float(samples[0]), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
