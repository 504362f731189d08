"""What a training film may look like: MONAI's random transforms, one interpolation."""

import math

import numpy as np
import torch
from monai.transforms import (
    Compose,
    Lambda,
    RandAffine,
    RandFlip,
    RandomizableTransform,
)
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["DESCRIPTION", "Augmentation", "RandLook", "RandPathology", "drawn_side", "film_and_mask"]

DESCRIPTION = (
    "rotation up to 10 degrees, translation up to 6 %, scale 0.8 (a crop resized to the whole input) to 1.1 for each "
    "axis, horizontal flip, gamma 0.74 to 1.35, brightness up to 10 %, seldom blur and noise"
)
"""What `Augmentation` does, for the model card."""


def drawn_side(size: int) -> int:
    """Return the side of the square films are drawn from: a seventh more, so that the one interpolation stays sharp."""
    return math.ceil(size * 8 / 7)


class Augmentation:
    """What one training film may look like, from a cached square to the network's input: see `DESCRIPTION`.

    Values stay in [0, 1] until they are normalised.

    Parameters
    ----------
    size : int
        Side of the network's input in pixels.
    mean, std : float
        Of the training part's pixels in [0, 1].
    """

    def __init__(self, *, size: int, mean: float, std: float) -> None:
        self.size, self.mean, self.std = size, mean, std
        self._place = Compose([_affine(size, degrees=10.0, shift=0.06, scales=(0.8, 1.1)), _flip()])
        self._look = RandLook()

    def __call__(
        self, square: NDArray[np.uint8], boxes: NDArray[np.uint8] | None, *, seed: int | None
    ) -> tuple[Tensor, Tensor]:
        """Turn a film and its boxes.

        Parameters
        ----------
        square, boxes : numpy.ndarray
            (side, side) uint8 with the side of `drawn_side`; boxes are 255 inside, None where there are none.
        seed : int or None
            Of everything random here; None: go on.

        Returns
        -------
        tuple of Tensor
            (1, size, size) float32, normalised, and (1, size/16, size/16) float32, the share of each cell in a box.
        """
        if seed is not None:
            self._place.set_random_state(seed=seed)
            self._look.set_random_state(seed=seed)
        planes = [square] if boxes is None else [square, boxes]
        moved = self._place(torch.from_numpy(np.stack(planes)).float() / 255.0)
        grid = torch.zeros(1, self.size // 16, self.size // 16)
        if boxes is not None:
            grid = torch.nn.functional.avg_pool2d(moved[1:], 16)
        return (self._look(moved[:1]) - self.mean) / self.std, grid


class RandLook(RandomizableTransform):
    """Change how a film looks: gamma, brightness, now and then blurred or noisy, so that a source's look tells nothing.

    From and to (1, H, W) float32 in [0, 1].
    """

    def __init__(self) -> None:
        super().__init__(prob=1.0)

    def __call__(self, film: Tensor) -> Tensor:
        """Return a changed copy."""
        self.randomize(None)
        gamma, bright, kind = np.exp(self.R.uniform(-0.3, 0.3)), self.R.uniform(0.9, 1.1), self.R.rand()
        film = film.clamp(0.0, 1.0) ** float(gamma) * float(bright)
        if kind < 0.15:
            film = _blurred(film, float(self.R.uniform(0.0, 1.0)))
        elif kind < 0.3:
            noise = self.R.normal(0.0, 0.02, film.shape).astype(np.float32)
            # Blank stays blank: where a film is cut to its lungs, noise would tell nothing but that it is noise.
            film = torch.where(film > 0.0, film + torch.from_numpy(noise), film)
        return film.clamp(0.0, 1.0)


def _blurred(film: Tensor, share: float) -> Tensor:
    return (1.0 - share) * film + share * torch.nn.functional.avg_pool2d(film, 3, stride=1, padding=1)


def _affine(size: int, *, degrees: float, shift: float, scales: tuple[float, float]) -> RandAffine:
    """Turn, move and scale a square of `drawn_side` pixels onto one of `size`: one interpolation, black beyond."""
    side = drawn_side(size)
    low, high = (scale * side / size - 1.0 for scale in scales)
    return RandAffine(
        prob=1.0,
        rotate_range=np.deg2rad(degrees),
        translate_range=(shift * side, shift * side),
        scale_range=((low, high), (low, high)),
        spatial_size=(size, size),
        mode="bilinear",
        padding_mode="zeros",
        cache_grid=True,
    )


def _flip() -> RandFlip:
    return RandFlip(prob=0.5, spatial_axis=1)


def film_and_mask(size: int, *, is_random: bool) -> Compose:
    """Compose a film and its lung mask, one above the other, for the segmentation.

    More is done to the film than for the classification: what the segmentation learns from is mostly normal, and what
    it meets is not, so bright patches stand in for opacities, and the mask keeps them.

    Parameters
    ----------
    size : int
        Side of the result in pixels.
    is_random : bool
        False: only resize.

    Returns
    -------
    Compose
        From (2, side, side) uint8 with the side of `drawn_side`, to (2, size, size) float32 in [0, 1].
    """
    if not is_random:
        return Compose([Lambda(_unit_stack), Lambda(lambda both: _resized(both, size))])
    affine = _affine(size, degrees=12.0, shift=0.08, scales=(0.7, 1.25))
    return Compose([Lambda(_unit_stack), affine, _flip(), RandPathology()])


class RandPathology(RandomizableTransform):
    """Change how the film looks, not where anything is: gamma, brightness, patches as bright as opacities, noise.

    From and to (2, size, size) float32: the film in [0, 1] above its mask, which stays.
    """

    def __init__(self) -> None:
        super().__init__(prob=1.0)

    def __call__(self, both: Tensor) -> Tensor:
        """Return a changed copy."""
        self.randomize(None)
        film = both[:1].clamp(0.0, 1.0) ** float(np.exp(self.R.uniform(-0.4, 0.4))) * self.R.uniform(0.85, 1.15)
        size = film.shape[-1]
        axis = torch.arange(size, dtype=torch.float32)
        for _ in range(self.R.choice([0, 0, 1, 2, 3])):
            x, y, wide, high = self.R.uniform([0.15, 0.25, 0.04, 0.04], [0.85, 0.9, 0.16, 0.2]) * size
            patch = torch.exp(-(((axis - x) / wide) ** 2)[None] - (((axis - y) / high) ** 2)[:, None])
            film = film + self.R.uniform(0.1, 0.6) * patch * (self.R.uniform(0.6, 1.0) - film).clamp(min=0.0)
        if self.R.rand() < 0.3:
            noise = torch.from_numpy(self.R.normal(0.0, 0.03, (1, size, size)).astype(np.float32))
            film = film + noise
        return torch.cat([film.clamp(0.0, 1.0), both[1:]])


def _unit_stack(both: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(both).float() / 255.0


def _resized(both: Tensor, size: int) -> Tensor:
    return torch.nn.functional.interpolate(both[None], (size, size), mode="bilinear", antialias=True)[0]
