"""Squares that are no frontal chest film, made from squares that are: what the gate is measured on.

Each maps a square (S, S) float32 in [0, 1] to another; the generator draws what varies.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["CORRUPTIONS", "Square"]

Square = NDArray[np.float32]


def _resized(part: Square, rows: int, columns: int) -> Square:
    picture = torch.from_numpy(np.ascontiguousarray(part))[None, None]
    resized = torch.nn.functional.interpolate(picture, size=(rows, columns), mode="bilinear", antialias=True)
    return resized[0, 0].numpy()


def _on_background(part: Square, square: Square) -> Square:
    """Lay a part of full height in the middle of the square's darkest value."""
    result = np.full_like(square, square.min())
    left = (square.shape[1] - part.shape[1]) // 2
    result[:, left : left + part.shape[1]] = part
    return result


def _quarter_turn(square: Square, generator: np.random.Generator) -> Square:
    return np.rot90(square, generator.choice([1, 3]))


def _limb(square: Square, generator: np.random.Generator) -> Square:
    """Draw a bone in soft tissue, at any angle that is nearer to one edge."""
    size = square.shape[0]
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    width = generator.uniform(0.15, 0.6)
    distance = np.abs(x - generator.uniform(-0.4, 0.4) - generator.uniform(-0.4, 0.4) * y)
    tissue = 0.55 * np.sqrt(np.clip(1.0 - (distance / width) ** 2, 0.0, 1.0))
    bone = 0.35 * (np.abs(distance - width * generator.uniform(0.0, 0.5)) < 0.18 * width)
    drawn = np.clip(0.05 + tissue + bone + generator.normal(0.0, 0.02, square.shape), 0.0, 1.0)
    return drawn if generator.random() < 0.5 else drawn.T


def _part(square: Square, generator: np.random.Generator) -> Square:
    """Cut out a quarter to a half of each side: one lung's tip, a shoulder, the upper abdomen."""
    size = square.shape[0]
    side = int(generator.integers(size // 4, size // 2))
    top, left = generator.integers(0, size - side, 2)
    return _resized(square[top : top + side, left : left + side], size, size)


def _one_side(square: Square, generator: np.random.Generator) -> Square:
    size = square.shape[0]
    half = square[:, : size // 2] if generator.random() < 0.5 else square[:, size // 2 :]
    return _resized(half, size, size)


def _squeezed(square: Square, generator: np.random.Generator) -> Square:
    size = square.shape[0]
    return _on_background(_resized(square, size, int(size * generator.uniform(0.3, 0.5))), square)


def _folded(square: Square, generator: np.random.Generator) -> Square:
    """Lay one half over the other, as both lungs lie over each other in a lateral film; it is none for all that."""
    size = square.shape[0]
    halves = (square[:, : size // 2] + square[:, : (size - 1) // 2 : -1]) / 2.0
    both = _resized(halves, size, int(size * generator.uniform(0.5, 0.9)))
    return _on_background(both if generator.random() < 0.5 else both[:, ::-1], square)


def _clouds(square: Square, generator: np.random.Generator) -> Square:
    count = int(generator.integers(2, 24))
    return _resized(generator.random((count, count), dtype=np.float32), *square.shape)


def _noise(square: Square, generator: np.random.Generator) -> Square:
    return generator.random(square.shape, dtype=np.float32)


CORRUPTIONS: dict[str, Callable[[Square, np.random.Generator], Square]] = {
    "inverted": lambda square, _: 1.0 - square,
    "quarter turn": _quarter_turn,
    "half turn": lambda square, _: square[::-1, ::-1],
    "upside down": lambda square, _: square[::-1],
    "mirrored": lambda square, _: square[:, ::-1],
    "one side alone": _one_side,
    "a part alone": _part,
    "squeezed": _squeezed,
    "folded": _folded,
    "drawn limb": _limb,
    "clouds": _clouds,
    "noise": _noise,
    "blank": lambda square, _: np.full_like(square, 0.5),
}
"""By name. A mirrored film cannot be told from an unmirrored one by its outline; it stands here to show that."""
