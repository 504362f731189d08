"""The one preprocessing: from a film to what the network sees, and where that lies on the film.

Training, evaluation and the service use it: training caches what `square` returns, the service calls the whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from monai.transforms import Compose
from numpy.typing import NDArray
from torch import Tensor

from pneumo_monai.bundle import Preprocessing
from pneumo_monai.geometry import SquareGeometry, Window
from pneumo_monai.lungs import LungCut, LungFields
from pneumo_monai.transforms import SquareResize, normalising

__all__ = ["Prepared", "Preprocess", "Square", "square"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """What becomes of one film.

    Attributes
    ----------
    tensor : Tensor
        (1, size, size) float32, normalised.
    geometry : SquareGeometry
        Where it lies on the film.
    lungs : LungFields or None
        By which the film was cut; None: it is whole.
    inside : numpy.ndarray or None
        (size, size) bool, which of the tensor's pixels are of the lungs; None: the film is whole.
    """

    tensor: Tensor
    geometry: SquareGeometry
    lungs: LungFields | None = None
    inside: NDArray[np.bool_] | None = None


class Square(NamedTuple):
    """A film before normalisation: (1, size, size) float32 in [0, 1]; the rest as in `Prepared`."""

    picture: Tensor
    geometry: SquareGeometry
    inside: NDArray[np.bool_] | None


def square(film: NDArray[np.float32], size: int, lungs: LungFields | None) -> "Square":
    """Make a square of a film: cut to its lungs where those are given, else padded.

    Parameters
    ----------
    film : numpy.ndarray
        (H, W) float32 in [0, 1].
    size : int
        Side of the square in pixels.
    lungs : LungFields or None
        Of this film.

    Returns
    -------
    Square
    """
    rows, columns = film.shape
    inside = None
    if lungs is None:
        picture, window = SquareResize(size)(film), Window.whole(rows, columns)
    else:
        picture, mask, window = LungCut(size)(film, lungs)
        inside = mask[0].numpy() > 0.0
    return Square(
        picture=picture,
        geometry=SquareGeometry(rows=rows, columns=columns, size=size, window=window),
        inside=inside,
    )


class Preprocess:
    """From film to network input.

    Parameters
    ----------
    constants : Preprocessing
        Of the bundle.
    find_lungs : callable or None
        From a film (H, W) to its `LungFields`; None: films are read whole.
    """

    def __init__(
        self, constants: Preprocessing, find_lungs: Callable[[NDArray[np.float32]], LungFields] | None = None
    ) -> None:
        self._size, self._find_lungs = constants.size, find_lungs
        self._normalise: Compose = normalising(mean=constants.mean, std=constants.std)

    def __call__(self, film: NDArray[np.float32]) -> Prepared:
        """Prepare one film, (H, W) float32 in [0, 1]."""
        lungs = self._find_lungs(film) if self._find_lungs else None
        made = square(film, self._size, lungs)
        tensor = self._normalise(made.picture)
        return Prepared(tensor=tensor, geometry=made.geometry, lungs=lungs, inside=made.inside)
