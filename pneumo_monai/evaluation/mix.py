"""Films weighed to the shares of detailed classes where the model will be used."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.evaluation.cases import NORMAL, NOT_NORMAL, OPACITY

__all__ = ["CHALLENGE", "mix_problem", "mix_weights", "parse_mix"]

CHALLENGE = {NORMAL: 8851.0, NOT_NORMAL: 11821.0, OPACITY: 6012.0}
"""Exams of each class in the training part of the RSNA Pneumonia Detection Challenge."""


def mix_problem(classes: Sequence[str], mix: Mapping[str, float]) -> str | None:
    """Return why films of these classes cannot be weighed to a mix; None: they can."""
    if not mix:
        return "no mix is given"
    if missing := [klass for klass in mix if klass not in classes]:
        return f"none of these films is {missing[0]}"
    if strange := sorted(set(classes).difference(mix)):
        return f"the mix does not name {strange[0] or 'films without a class'}"
    return None


def mix_weights(classes: Sequence[str], mix: Mapping[str, float]) -> NDArray[np.float64]:
    """Weigh films so that their classes have the shares of a mix.

    Parameters
    ----------
    classes : sequence of str
        (N,) detailed class of each film.
    mix : mapping of str to float
        Share or count of each class.

    Returns
    -------
    numpy.ndarray
        (N,) weights whose sum is N; all 1 where `mix_problem` says why not.
    """
    if mix_problem(classes, mix):
        return np.ones(len(classes))
    counts, total = Counter(classes), sum(mix.values())
    return np.array([len(classes) * mix[klass] / total / counts[klass] for klass in classes])


def parse_mix(texts: Sequence[str]) -> dict[str, float]:
    """Read ``CLASS=SHARE`` of a command line, one each, or the one word ``challenge``.

    Raises
    ------
    ConfigurationError
        A text is of another form, a share is not positive, or a class stands twice.
    """
    if list(texts) == ["challenge"]:
        return dict(CHALLENGE)
    mix: dict[str, float] = {}
    for text in texts:
        klass, _, share = text.rpartition("=")
        try:
            value = float(share)
        except ValueError:
            value = 0.0
        if not klass or not 0.0 < value < float("inf") or klass in mix:
            raise ConfigurationError(
                f"--mix {text}: write CLASS=SHARE for each class once, as in --mix {NORMAL}=8851, or --mix challenge"
            )
        mix[klass] = value
    return mix
