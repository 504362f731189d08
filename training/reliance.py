"""Whether a network's scores lean on what is no finding.

Shape legend: N films, F features, R resamples.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.weighing import Resamples, discrimination, interval

__all__ = ["reliance"]

_FEW = 8
"""A fact with no more than this many values divides the films by value, others into fifths."""


def reliance(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    persons: list[str],
    features: NDArray[np.float64],
    predicted: NDArray[np.float64],
    *,
    resamples: int,
) -> dict[str, Any]:
    """Compare a network's scores with what one fact alone predicts.

    A network that goes by the finding alone orders films that are alike in the fact as well as it orders all; one that
    goes by the fact loses what the fact gave it. Within one class a correlation is no finding's doing, unless the fact
    shows the lungs.

    Parameters
    ----------
    scores, labels : numpy.ndarray
        (N,) of the network, and 0 or 1.
    persons : list of str
        Whose films they are.
    features : numpy.ndarray
        (N, F) of the fact.
    predicted : numpy.ndarray
        (N,) cross-validated logits from the fact alone.
    resamples : int
        Of the bootstrap by person.

    Returns
    -------
    dict
        ``auroc``, ``auroc_among_like`` (pairs of a positive and a negative film that are alike in the fact), and the
        rank correlation ``within_negatives`` and ``within_positives``, each with its interval.
    """
    drawn = Resamples(persons, count=resamples)
    times = drawn.times
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "auroc": discrimination(scores, labels, times)["auroc"],
            "auroc_among_like": _among_like(scores, labels, times, _strata(features, predicted)),
            "within_negatives": _correlation(scores, predicted, times, labels == 0),
            "within_positives": _correlation(scores, predicted, times, labels == 1),
        }
    return {name: interval(values) for name, values in found.items()}


def _strata(features: NDArray[np.float64], predicted: NDArray[np.float64]) -> NDArray[np.int64]:
    distinct, places = np.unique(features, axis=0, return_inverse=True)
    if len(distinct) <= _FEW:
        return places.reshape(-1)
    return np.digitize(predicted, np.quantile(predicted, [0.2, 0.4, 0.6, 0.8]))


def _among_like(
    scores: NDArray[np.float64], labels: NDArray[np.int64], times: NDArray[np.float64], strata: NDArray[np.int64]
) -> NDArray[np.float64]:
    correct, pairs = np.zeros(len(times)), np.zeros(len(times))
    for stratum in np.unique(strata):
        inside = strata == stratum
        own, mine = times[:, inside], labels[inside]
        if len(set(mine.tolist())) < 2:
            continue
        count = (own @ (mine == 1)) * (own @ (mine == 0))
        correct += np.nan_to_num(discrimination(scores[inside], mine, own)["auroc"]) * count
        pairs += count
    return correct / pairs


def _correlation(
    scores: NDArray[np.float64], predicted: NDArray[np.float64], times: NDArray[np.float64], inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Spearman's correlation for each resample, of the ranks that the films have among all of the class: (R,)."""
    own = times[:, inside]
    first, second = _ranks(scores[inside]), _ranks(predicted[inside])
    total = own.sum(axis=1)
    one, other = (own @ ranks / total for ranks in (first, second))
    product = own @ (first * second) / total - one * other
    spreads = (own @ ranks**2 / total - mean**2 for ranks, mean in ((first, one), (second, other)))
    correlation: NDArray[np.float64] = product / np.sqrt(np.prod(list(spreads), axis=0))
    return correlation


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks, the mean one for equal values."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[places]
    return ranks
