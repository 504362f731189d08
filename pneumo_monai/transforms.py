"""The one preprocessing: from a film to what the network sees, and back.

Training, evaluation and the service import `preprocessing`; `SquareGeometry` leads from the tensor back to the film.

Shape legend: B batch, C channel (always 1), H rows, W columns.
"""

from dataclasses import dataclass

import numpy as np
import torch
from monai.transforms import Compose, EnsureType, NormalizeIntensity, Transform
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SquareGeometry", "SquareResize", "preprocessing"]


@dataclass(frozen=True, kw_only=True)
class SquareGeometry:
    """Where a film of `rows` x `columns` pixels lies in a square tensor of `size` pixels a side."""

    rows: int
    columns: int
    size: int

    @property
    def side(self) -> int:
        """Side of the padded square, in pixels of the film."""
        return max(self.rows, self.columns)

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Pixels added at the (left, right, top, bottom); the odd one goes right and down."""
        wide, high = self.side - self.columns, self.side - self.rows
        return wide // 2, wide - wide // 2, high // 2, high - high // 2

    def to_film(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points of the tensor to points of the film.

        Parameters
        ----------
        points : numpy.ndarray
            (N, 2) column and row coordinates in the tensor, 0 to `size`, where (0, 0) is the outer corner of the first
            pixel: the convention of SCOORD (PS3.3 C.18.6).

        Returns
        -------
        numpy.ndarray
            (N, 2) column and row coordinates in the film, clipped to its edges.
        """
        left, _, top, _ = self.margins
        on_film = points * (self.side / self.size) - np.array([left, top], dtype=np.float64)
        return np.clip(on_film, 0.0, np.array([self.columns, self.rows], dtype=np.float64))


class SquareResize(Transform):
    """Pad to a square with the film's background, then resize once, antialiased.

    The background is the darkest displayed value of the film: air around the patient, or the collimator's shadow.

    Parameters
    ----------
    size : int
        Side of the result in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, film: NDArray[np.float32] | Tensor) -> Tensor:
        """Turn (H, W) float32 into (1, size, size) float32, values still in [0, 1]."""
        image = torch.as_tensor(film, dtype=torch.float32)[None, None]
        rows, columns = image.shape[-2:]
        geometry = SquareGeometry(rows=rows, columns=columns, size=self.size)
        if rows != columns:
            image = torch.nn.functional.pad(image, geometry.margins, value=float(image.min()))
        if geometry.side != self.size:
            image = torch.nn.functional.interpolate(
                image, size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False
            )
        return image[0]


def preprocessing(*, size: int, mean: float, std: float) -> Compose:
    """Compose film (H, W) in [0, 1] to network input (1, size, size), float32.

    Parameters
    ----------
    size : int
        Side of the network's input in pixels.
    mean, std : float
        Of the training part's pixels in [0, 1].
    """
    return Compose(
        [
            SquareResize(size),
            NormalizeIntensity(subtrahend=torch.tensor(mean), divisor=torch.tensor(std)),
            # The network has no use for MetaTensor's bookkeeping, which costs time in each of its layers.
            EnsureType(dtype=torch.float32, track_meta=False),
        ]
    )
