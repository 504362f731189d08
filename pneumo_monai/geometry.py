"""Where a square that a network sees lies on its film, and the way back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SquareGeometry", "Window"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A square of film pixels: its left and top edge and its side. It may reach beyond the film."""

    left: int
    top: int
    side: int

    @classmethod
    def whole(cls, rows: int, columns: int) -> "Window":
        """Return the film padded to a square on both sides; an odd pixel goes right or down."""
        side = max(rows, columns)
        return cls(left=-((side - columns) // 2), top=-((side - rows) // 2), side=side)


@dataclass(frozen=True, kw_only=True)
class SquareGeometry:
    """Where a square tensor of `size` pixels a side lies on a film of `rows` x `columns` pixels."""

    rows: int
    columns: int
    size: int
    window: Window

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
        corner = np.array([self.window.left, self.window.top], dtype=np.float64)
        on_film = points * (self.window.side / self.size) + corner
        return np.clip(on_film, 0.0, np.array([self.columns, self.rows], dtype=np.float64))

    def to_tensor(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (N, 2) column and row coordinates of the film to the tensor: the inverse of `to_film`, not clipped."""
        corner = np.array([self.window.left, self.window.top], dtype=np.float64)
        return (points - corner) * (self.size / self.window.side)
