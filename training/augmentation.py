"""What a training film may look like: random transforms, one interpolation.

Shape legend: B batch, S side of the result, G = S / 16 side of the grid of boxes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

__all__ = ["DESCRIPTION", "GRID_STEP", "Augmentation", "Change", "RandPathology", "drawn_side", "film_and_mask"]

DESCRIPTION = (
    "rotation up to 10 degrees, translation up to 6 %, scale 0.8 (a crop resized to the whole input) to 1.1 for each "
    "axis, horizontal flip, gamma 0.74 to 1.35, brightness up to 10 %, seldom blur and noise"
)
"""What `Augmentation` does, for the model card."""

GRID_STEP = 16
"""Pixels of the network's input for each cell of the grid of boxes: the scale of the network's last but one stage."""


def drawn_side(size: int) -> int:
    """Return the side of the square films are drawn from: a seventh more, so that the one interpolation stays sharp."""
    return math.ceil(size * 8 / 7)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is done to one film; without arguments nothing.

    Attributes
    ----------
    rotate : float
        Radians.
    translate : tuple of float
        Rows and columns, as shares of the square.
    scale : tuple of float
        Of rows and columns: how much of the square is shown.
    is_flipped : bool
        Left and right.
    gamma, bright : float
        Exponent, then factor, of every pixel.
    blur : float
        Share of a 3 x 3 mean.
    noise : numpy.ndarray or None
        (S, S) float32, added where the film is not blank.
    """

    rotate: float = 0.0
    translate: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    is_flipped: bool = False
    gamma: float = 1.0
    bright: float = 1.0
    blur: float = 0.0
    noise: NDArray[np.float32] | None = None

    @classmethod
    def drawn(cls, seed: int, size: int) -> "Change":
        """Draw one, a function of the seed alone; `DESCRIPTION` says from what."""
        generator = np.random.default_rng(seed)
        u = generator.random(10)
        shift_rows, shift_columns = (0.12 * u[1:3] - 0.06).tolist()
        scale_rows, scale_columns = (0.8 + 0.3 * u[3:5]).tolist()
        kind, noise = u[8], None
        if 0.15 <= kind < 0.3:
            noise = generator.standard_normal((size, size), dtype=np.float32) * np.float32(0.02)
        return cls(
            rotate=math.radians(20.0 * u[0] - 10.0),
            translate=(shift_rows, shift_columns),
            scale=(scale_rows, scale_columns),
            is_flipped=bool(u[5] < 0.5),
            gamma=math.exp(0.6 * u[6] - 0.3),
            bright=float(0.9 + 0.2 * u[7]),
            blur=float(u[9]) if kind < 0.15 else 0.0,
            noise=noise,
        )

    def place(self) -> NDArray[np.float32]:
        """Return the (2, 3) matrix from centred rows and columns of the result to those of the square.

        Both run from -1 to 1. Rotation, translation and scale are composed as in MONAI's `AffineGrid`.
        """
        cosine, sine = math.cos(self.rotate), math.sin(self.rotate)
        turned = np.array([[cosine, -sine], [sine, cosine]])
        flip = -1.0 if self.is_flipped else 1.0
        moved = np.column_stack([np.diag([self.scale[0], flip * self.scale[1]]), 2.0 * np.array(self.translate)])
        return (turned @ moved).astype(np.float32)

    def look(self, film: Tensor) -> None:
        """Change how a film (S, S) float32 in [0, 1] looks, in place, so that a source's look tells nothing."""
        film.pow_(self.gamma).mul_(self.bright)
        if self.blur > 0.0:
            film.lerp_(avg_pool2d(film[None], 3, stride=1, padding=1)[0], self.blur)
        if self.noise is not None:
            # Blank stays blank: where a film is cut to its lungs, noise would tell nothing but that it is noise.
            film.add_(torch.from_numpy(self.noise).mul_(film > 0.0))


class Augmentation:
    """What training films may look like, from cached squares to the network's input: see `DESCRIPTION`.

    Written for a whole batch, because MONAI's transforms, one film after the other, take a tenth of the time of a
    training step from it; a test holds the geometry to MONAI's. What becomes of a film is a function of film and seed
    alone. Values stay in [0, 1] until they are normalised.

    Parameters
    ----------
    size : int
        Side of the network's input in pixels.
    mean, std : float
        Of the training part's pixels in [0, 1].
    is_random : bool
        False: films are resized and normalised, nothing else.
    """

    def __init__(self, *, size: int, mean: float, std: float, is_random: bool = True) -> None:
        self.size, self.mean, self.std, self.is_random = size, mean, std, is_random
        # Centres of the pixels, where the outer edges are -1 and 1.
        self._axis = (torch.arange(size) * 2.0 + 1.0) / size - 1.0

    def __call__(
        self, square: NDArray[np.uint8], boxes: NDArray[np.uint8] | None, *, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Turn one film and its boxes, as `batch` does: (1, S, S) and (1, G, G)."""
        image, grid = self.batch(square[None], [boxes], [seed])
        return image[0], grid[0]

    def batch(
        self, squares: NDArray[np.uint8], boxes: Sequence[NDArray[np.uint8] | None], seeds: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Turn films and their boxes.

        Parameters
        ----------
        squares : numpy.ndarray
            (B, side, side) uint8 with the side of `drawn_side`.
        boxes : sequence of numpy.ndarray
            (side, side) uint8, 255 inside a box; None where there are none.
        seeds : sequence of int
            Of everything random about each film.

        Returns
        -------
        tuple of Tensor
            (B, 1, S, S) float32, normalised, and (B, 1, G, G) float32, the share of each cell in a box.
        """
        changes = [Change.drawn(seed, self.size) if self.is_random else Change() for seed in seeds]
        grid_bhwc = self._grid(changes)
        images = _sampled(squares, grid_bhwc).clamp_(0.0, 1.0)
        for film, change in zip(images[:, 0], changes, strict=True):
            if self.is_random:
                change.look(film)
        images.clamp_(0.0, 1.0).sub_(self.mean).div_(self.std)
        cells = torch.zeros(len(squares), 1, self.size // GRID_STEP, self.size // GRID_STEP)
        if boxed := [place for place, drawn in enumerate(boxes) if drawn is not None]:
            drawn = np.stack([boxes[place] for place in boxed])
            cells[boxed] = avg_pool2d(_sampled(drawn, grid_bhwc[boxed]), GRID_STEP)
        return images, cells

    def _grid(self, changes: list[Change]) -> Tensor:
        """Return where in its square each pixel lies: (B, S, S, 2), columns before rows."""
        places = torch.from_numpy(np.stack([change.place()[::-1] for change in changes]))[..., None, None]
        rows, columns, shift = places.unbind(2)
        planes_bchw = (rows * self._axis[:, None] + shift) + columns * self._axis
        return planes_bchw.permute(0, 2, 3, 1)


def _sampled(squares: NDArray[np.uint8], grid_bhwc: Tensor) -> Tensor:
    """Take the pixels of a grid from each square, bilinearly, black beyond: (B, 1, S, S) float32 in [0, 1]."""
    films = torch.from_numpy(squares)[:, None].float().div_(255.0)
    return grid_sample(films, grid_bhwc, mode="bilinear", padding_mode="zeros", align_corners=False)


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
    return interpolate(both[None], (size, size), mode="bilinear", antialias=True)[0]
