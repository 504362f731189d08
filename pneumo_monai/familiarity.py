"""Whether a film looks like the frontal chest films that are known: the gate's look at the picture itself.

A film is sketched in 16 x 16 pixels twice: how bright each is among the others, and how much of it is lung. Distances
between sketches are measured along the directions in which chest films differ from each other (probabilistic principal
components, Tipping and Bishop 1999), so that a large heart or an opaque lung is near and a leg is far. Beside the
distance stands whether the sketch were nearer if it were turned: that tells a turned film, and much of what has no way
up. Two measures are of the lung map alone, because what has no lungs is no chest whatever else it looks like.

A film that is mirrored left to right cannot be told from one that is not: heart and stomach are too small in a sketch.

Shape legend: S side of the square that the segmentation saw, F numbers of a sketch, K directions.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from pneumo_monai.bundle import GateLimits
from pneumo_monai.errors import BundleError, Reason, Refused
from pneumo_monai.geometry import Window
from pneumo_monai.lungs import LungFields
from pneumo_monai.settings import IntendedUse

__all__ = ["STATE", "Familiarity", "Measures", "check_picture", "sketch"]

_SIDE = 16
"""Side in pixels of each half of a sketch: coarse enough that an opacity does not count, and a turned film does."""

_LUNG_MEAN, _LUNG_SCALE = 0.3, 0.3
"""Bring the lung map to the weight of the brightness in a sketch."""

STATE = ("mean", "directions", "variances", "noise")
"""What the weights hold: (F,), (K, F) with orthonormal rows, (K,) along them, and () in every other direction."""


class Measures(NamedTuple):
    """What is measured of one film.

    Attributes
    ----------
    distance : float
        From the chest films that are known; about 1 for one of them.
    turned : float
        That distance divided by the least one of the same picture upside down or turned by 90, 180 or 270 degrees: far
        below 1 for a chest film that stands upright.
    lung_share : float
        Share of the square that the segmentation calls lung.
    undecided_share : float
        Share of the square about which it is not sure: much where it looks for lungs that are not there.
    """

    distance: float
    turned: float
    lung_share: float
    undecided_share: float


def sketch(fields: LungFields, rows: int, columns: int) -> NDArray[np.float32]:
    """Sketch a film of `rows` x `columns` pixels: (F,) float32.

    Only ranks of brightness count, so neither window nor gamma matters, and a negative is as far as can be. The padding
    beside the film is left out.
    """
    size = fields.probability.shape[0]
    window = Window.whole(rows, columns)
    left, top = (-edge * size // window.side for edge in (window.left, window.top))
    both = torch.from_numpy(np.stack([fields.picture, fields.probability]))[None]
    small = adaptive_avg_pool2d(both[..., top : max(size - top, top + 1), left : max(size - left, left + 1)], _SIDE)
    brightness, lungs = small[0].flatten(1).numpy()
    ordered = np.sort(brightness)
    rank = np.searchsorted(ordered, brightness, "left") + np.searchsorted(ordered, brightness, "right")
    uniform = (rank / (2 * len(ordered)) - 0.5) * np.sqrt(12.0)
    return np.concatenate([uniform, (lungs - _LUNG_MEAN) / _LUNG_SCALE]).astype(np.float32)


class Familiarity:
    """The chest films that are known, and how far from them a film may be.

    Parameters
    ----------
    state : mapping of str to Tensor
        As `STATE` names them.
    limits : GateLimits
        Of the bundle.
    """

    def __init__(self, state: Mapping[str, Tensor], limits: GateLimits) -> None:
        self._mean, self._directions, self._variances, noise = (state[name].double().numpy() for name in STATE)
        self._noise = float(noise)
        self.limits = limits

    @classmethod
    def load(cls, weights: Path, limits: GateLimits) -> "Familiarity":
        """Load what a bundle holds.

        Raises
        ------
        BundleError
            The file is not what is expected.
        """
        try:
            return cls(torch.load(weights, map_location="cpu", weights_only=True), limits)
        except (RuntimeError, KeyError, AttributeError, TypeError, ValueError, EOFError, UnpicklingError) as error:
            raise BundleError(f"model.path: {weights} is no gate.pt: {error}") from error

    def distances(self, sketches: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how far sketches (N, F) are from the films that are known: (N,).

        The mean of two squared distances, both about 1 for a film that is known: along the directions in which such
        films differ, and away from all of them.
        """
        away = sketches - self._mean
        along = away @ self._directions.T
        within = (along**2 / self._variances).mean(axis=1)
        rest = away.shape[1] - along.shape[1]
        beyond = ((away**2).sum(axis=1) - (along**2).sum(axis=1)) / (rest * self._noise)
        return np.asarray((within + beyond) / 2.0)

    def measure(self, fields: LungFields, rows: int, columns: int) -> Measures:
        """Measure a film of `rows` x `columns` pixels."""
        probability = fields.probability
        drawn = sketch(fields, rows, columns)
        upright, *turned = self.distances(np.stack([drawn, *_turned(drawn)]))
        return Measures(
            distance=float(upright),
            turned=float(upright / min(turned)),
            lung_share=float((probability >= 0.5).mean()),
            undecided_share=float(((probability > 0.1) & (probability < 0.9)).mean()),
        )

    def objection(self, measures: Measures) -> str | None:
        """Return why a film is no frontal chest film; None when it may be one."""
        if measures.lung_share < self.limits.lung_share:
            return f"{measures.lung_share:.1%} of it is lung, at least {self.limits.lung_share:.1%} is expected"
        if measures.undecided_share > self.limits.undecided_share:
            return (
                f"of {measures.undecided_share:.1%} it cannot be told whether it is lung, "
                f"at most {self.limits.undecided_share:.1%} is expected"
            )
        if measures.distance > self.limits.distance:
            return f"its distance from chest films is {measures.distance:.1f}, the limit {self.limits.distance:.1f}"
        if self.limits.turned is not None and measures.turned > self.limits.turned:
            return (
                f"turned, its distance from chest films would be {measures.distance / measures.turned:.1f} in place of "
                f"{measures.distance:.1f}"
            )
        return None


def _turned(drawn: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the sketches of the same picture turned by 90, 180 and 270 degrees and upside down."""
    halves = drawn.reshape(2, _SIDE, _SIDE)
    turns = [np.rot90(halves, quarters, axes=(1, 2)) for quarters in (1, 2, 3)]
    return [turn.reshape(-1) for turn in (*turns, halves[:, ::-1])]


def check_picture(
    film: NDArray[np.float32],
    fields: LungFields,
    *,
    familiarity: Familiarity,
    find_lungs: Callable[[NDArray[np.float32]], LungFields],
    intended_use: IntendedUse,
) -> str | None:
    """Check what a film shows, whatever its header says.

    Parameters
    ----------
    film : numpy.ndarray
        (H, W) float32 in [0, 1].
    fields : LungFields
        Of this film.
    familiarity : Familiarity
        Of the bundle.
    find_lungs : callable
        From a film to its `LungFields`, for a second look at the negative of a film that is not familiar.
    intended_use : IntendedUse
        What becomes of a film that is not familiar.

    Returns
    -------
    str or None
        What the report has to remark of a film that is read all the same.

    Raises
    ------
    Refused
        The film is not familiar, and the settings refuse that.
    """
    answers = intended_use.unlike_chest, intended_use.inverted
    why = None if answers == ("accept", "accept") else familiarity.objection(familiarity.measure(fields, *film.shape))
    if why is None:
        return None
    negative = familiarity.measure(find_lungs(np.float32(1.0) - film), *film.shape)
    if familiarity.objection(negative) is None:
        reason, answer = Reason.INVERTED, intended_use.inverted
        said = "The picture looks like the negative of a chest film: its Photometric Interpretation may be wrong"
    else:
        reason, answer = Reason.UNLIKE_CHEST, intended_use.unlike_chest
        said = f"The picture does not look like a frontal chest film: {why}"
    if answer == "refuse":
        raise Refused(reason, said)
    return f"{said}." if answer == "flag" else None
