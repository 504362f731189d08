"""The squares that networks see: a film or a window of it, resized once, and normalised.

Shape legend: B batch, C channel (always 1), H rows, W columns.
"""

import numpy as np
import torch
from monai.transforms import Compose, EnsureType, Lambda, NormalizeIntensity, Transform
from numpy.typing import NDArray
from torch import Tensor

from pneumo_monai.geometry import Window

__all__ = ["SquareResize", "normalising", "preprocessing"]


class SquareResize(Transform):
    """Cut a square window out of the film, then resize once, antialiased.

    What the window holds beyond the film is the film's background, its darkest displayed value: air around the patient,
    or the collimator's shadow.

    Parameters
    ----------
    size : int
        Side of the result in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, film: NDArray[np.float32] | Tensor, window: Window | None = None) -> Tensor:
        """Turn (H, W) float32 into (1, size, size) float32, values still in [0, 1]; without window the whole film."""
        image = torch.as_tensor(film, dtype=torch.float32)
        rows, columns = image.shape
        window = window or Window.whole(rows, columns)
        right, bottom = window.left + window.side, window.top + window.side
        inside = image[max(window.top, 0) : min(bottom, rows), max(window.left, 0) : min(right, columns)][None, None]
        margins = (max(-window.left, 0), max(right - columns, 0), max(-window.top, 0), max(bottom - rows, 0))
        if any(margins):
            inside = torch.nn.functional.pad(inside, margins, value=float(image.min()))
        if window.side != self.size:
            inside = torch.nn.functional.interpolate(
                inside, size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False
            )
        return inside[0]


def preprocessing(*, size: int, mean: float, std: float) -> Compose:
    """Compose a whole film (H, W) in [0, 1] to network input (1, size, size), float32.

    Parameters
    ----------
    size : int
        Side of the network's input in pixels.
    mean, std : float
        Of the training part's pixels in [0, 1].
    """
    return Compose([SquareResize(size), normalising(mean=mean, std=std)])


def normalising(*, mean: float, std: float) -> Compose:
    """Compose a square (1, size, size) or (size, size) in [0, 1] to network input (1, size, size), float32.

    Parameters
    ----------
    mean, std : float
        Of the training part's pixels in [0, 1].
    """
    return Compose(
        [
            Lambda(_with_channel),
            NormalizeIntensity(subtrahend=torch.tensor(mean), divisor=torch.tensor(std)),
            # The network has no use for MetaTensor's bookkeeping, which costs time in each of its layers.
            EnsureType(dtype=torch.float32, track_meta=False),
        ]
    )


def _with_channel(square: NDArray[np.float32] | Tensor) -> Tensor:
    return torch.as_tensor(square, dtype=torch.float32).reshape(1, *square.shape[-2:])
