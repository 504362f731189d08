"""Figures of a held-out part: discrimination and decisions, with intervals by person."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_stat_scores

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
    point = _point(probabilities, labels, threshold)
    generator = np.random.default_rng(seed)
    _, owners = np.unique(np.asarray(persons), return_inverse=True)
    by_person = np.split(np.argsort(owners, kind="stable"), np.cumsum(np.bincount(owners))[:-1])
    samples: dict[str, list[float]] = {name: [] for name in point}
    for _ in range(resamples):
        drawn = np.concatenate([by_person[k] for k in generator.integers(0, len(by_person), len(by_person))])
        for name, value in _point(probabilities[drawn], labels[drawn], threshold).items():
            if name in samples:
                samples[name].append(value)
    called = probabilities >= threshold
    return {
        "exams": len(labels),
        "persons": len(by_person),
        "positive": int(labels.sum()),
        "confusion_matrix": {
            "true_positive": int((called & (labels == 1)).sum()),
            "false_positive": int((called & (labels == 0)).sum()),
            "false_negative": int((~called & (labels == 1)).sum()),
            "true_negative": int((~called & (labels == 0)).sum()),
        },
        **{
            name: {
                "value": round(value, 4),
                "low": round(float(np.percentile(samples[name], 2.5)), 4),
                "high": round(float(np.percentile(samples[name], 97.5)), 4),
            }
            for name, value in point.items()
        },
    }


def _point(probabilities: NDArray[np.float64], labels: NDArray[np.int64], threshold: float) -> dict[str, float]:
    scores, truth = torch.from_numpy(probabilities), torch.from_numpy(labels)
    called = (scores >= threshold).int()
    true_positive, false_positive, true_negative, false_negative, _ = binary_stat_scores(called, truth).tolist()
    both = 0 < int(labels.sum()) < len(labels)
    ratios = {
        "sensitivity": (true_positive, true_positive + false_negative),
        "specificity": (true_negative, true_negative + false_positive),
        "precision": (true_positive, true_positive + false_positive) if both else (0, 0),
        "f1": (2 * true_positive, 2 * true_positive + false_positive + false_negative) if both else (0, 0),
    }
    values = {name: above / below for name, (above, below) in ratios.items() if below}
    if both:
        values = {
            "auroc": float(binary_auroc(scores, truth)),
            "average_precision": float(binary_average_precision(scores, truth)),
            **values,
        }
    return values
