"""What a training film may look like: MONAI's random transforms, one interpolation."""

import math

import numpy as np
import torch
from monai.transforms import (
    Compose,
    EnsureType,
    Lambda,
    NormalizeIntensity,
    RandAdjustContrast,
    RandAffine,
    RandFlip,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandScaleIntensity,
)
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["DESCRIPTION", "augmentation", "drawn_side"]

DESCRIPTION = (
    "rotation up to 10 degrees, translation up to 6 %, scale 0.8 (a crop resized to the whole input) to 1.1 for each "
    "axis, horizontal flip, gamma 0.75 to 1.33, brightness up to 10 %, seldom blur and noise"
)
"""What `augmentation` does, for the model card."""


def drawn_side(size: int) -> int:
    """Return the side of the square films are drawn from: a seventh more, so that the one interpolation stays sharp."""
    return math.ceil(size * 8 / 7)


def augmentation(*, size: int, mean: float, std: float) -> Compose:
    """Compose a cached square to augmented network input.

    Turned, moved, scaled or cropped, flipped, with other contrast and brightness, and now and then blurred or noisy, so
    that the sharpness of a source tells nothing: see `DESCRIPTION`. Values stay in [0, 1] until they are normalised.

    Parameters
    ----------
    size : int
        Side of the network's input in pixels.
    mean, std : float
        Of the training part's pixels in [0, 1].

    Returns
    -------
    Compose
        From (side, side) uint8 with the side of `drawn_side`, to (1, size, size) float32.
    """
    step = drawn_side(size) / size
    shift = 0.06 * drawn_side(size)
    scale = (0.8 * step - 1.0, 1.1 * step - 1.0)
    return Compose(
        [
            Lambda(_unit),
            RandAffine(
                prob=1.0,
                rotate_range=np.deg2rad(10.0),
                translate_range=(shift, shift),
                scale_range=(scale, scale),
                spatial_size=(size, size),
                mode="bilinear",
                padding_mode="zeros",
                cache_grid=True,
            ),
            RandFlip(prob=0.5, spatial_axis=1),
            RandAdjustContrast(prob=0.5, gamma=(0.75, 1.33)),
            RandScaleIntensity(factors=0.1, prob=0.5),
            RandGaussianSmooth(sigma_x=(0.3, 1.0), sigma_y=(0.3, 1.0), prob=0.15),
            RandGaussianNoise(prob=0.15, std=0.02),
            Lambda(_clip),
            NormalizeIntensity(subtrahend=torch.tensor(mean), divisor=torch.tensor(std)),
            EnsureType(track_meta=False, dtype=torch.float32),
        ]
    )


def _unit(square: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(square)[None].float() / 255.0


def _clip(image: Tensor) -> Tensor:
    return image.clamp(0.0, 1.0)
