"""Where the lungs are on a film, and the film cut to them.

Shape legend: H rows and W columns of the film, S side of the square that the segmentation sees.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label
from torch import Tensor

from pneumo_monai.geometry import Window
from pneumo_monai.transforms import SquareResize

__all__ = ["LUNG_SIZE", "LungCut", "LungFields", "find_lungs"]

LUNG_SIZE = 128
"""Side in pixels of the square that the segmentation sees: lung fields are large, and a film waits for this."""

_MARGIN = 0.04
"""Share of the larger extent of the lungs that the window leaves around them."""

_LEAST_SHARE = 0.15
"""A piece smaller than this share of the largest one is no lung field: gas in the stomach, a label."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LungFields:
    """What the segmentation says of one film.

    Attributes
    ----------
    probability : numpy.ndarray
        (S, S) float32 over the film padded to a square.
    mask : numpy.ndarray
        (S, S) bool: the pieces that may be lung fields, at most two.
    picture : numpy.ndarray
        (S, S) float32 in [0, 1]: the film as the segmentation saw it.
    """

    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    picture: NDArray[np.float32]

    def window(self, rows: int, columns: int) -> Window:
        """Return the square of film pixels around the lungs; the whole film where there are none."""
        whole = Window.whole(rows, columns)
        if not self.mask.any():
            return whole
        scale = whole.side / self.mask.shape[0]
        high, wide = (np.flatnonzero(self.mask.any(axis=axis)) for axis in (1, 0))
        top, bottom, left, right = high[0], high[-1] + 1, wide[0], wide[-1] + 1
        side = max(round(max(bottom - top, right - left) * (1 + 2 * _MARGIN) * scale), 2)
        middle = ((left + right) / 2 * scale + whole.left, (top + bottom) / 2 * scale + whole.top)
        return Window(left=round(middle[0] - side / 2), top=round(middle[1] - side / 2), side=side)


def find_lungs(segment: Callable[[Tensor], Tensor], film: NDArray[np.float32]) -> LungFields:
    """Segment the lung fields of one film.

    Parameters
    ----------
    segment : callable
        Maps (1, 1, S, S) float32 to logits of the same shape: `LungNet` in evaluation mode, or what runs it.
    film : numpy.ndarray
        (H, W) float32 in [0, 1].

    Returns
    -------
    LungFields
    """
    square = SquareResize(LUNG_SIZE)(film)
    with torch.inference_mode():
        # Fixed constants, not those of a training part: the network has to serve whatever reads its result.
        probability = segment(((square - 0.5) / 0.25)[None]).sigmoid()[0, 0].numpy()
    return LungFields(probability=probability, mask=_pieces(probability >= 0.5), picture=square[0].numpy())


class LungCut:
    """Cut the film to its lungs: the window around them, everything outside the fields black.

    Parameters
    ----------
    size : int
        Side of the result in pixels.
    """

    def __init__(self, size: int) -> None:
        self.resize = SquareResize(size)

    def __call__(self, film: NDArray[np.float32], fields: LungFields) -> tuple[Tensor, Tensor, Window]:
        """Return the picture and its mask, (1, size, size) float32 in [0, 1], and the window of the film they show."""
        window = fields.window(*film.shape)
        mask = self._mask(fields, window, film.shape)
        return self.resize(film, window) * mask, mask, window

    def _mask(self, fields: LungFields, window: Window, shape: tuple[int, ...]) -> Tensor:
        """Sample the fields at the middle of each pixel of the result: (1, size, size), 0 or 1."""
        whole, size = Window.whole(*shape), self.resize.size
        middles = (torch.arange(size) + 0.5) * (window.side / size)
        x, y = (
            ((middles + near - far) / whole.side) * 2.0 - 1.0
            for near, far in ((window.left, whole.left), (window.top, whole.top))
        )
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
        # Outside the kept pieces nothing counts; inside and at their edge the probability gives a smooth outline.
        kept = torch.from_numpy(_grown(fields.mask) * fields.probability)[None, None]
        sampled = torch.nn.functional.grid_sample(kept, grid, align_corners=False, padding_mode="zeros")
        return (sampled[0] >= 0.5).float()


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    grown = torch.nn.functional.max_pool2d(torch.from_numpy(mask.astype(np.float32))[None], 3, stride=1, padding=1)
    return grown[0].numpy()


def _pieces(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the two largest connected pieces, the second only if it is not far smaller than the first."""
    pieces, _ = label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    largest = np.argsort(sizes, kind="stable")[::-1][:2]
    kept = [place + 1 for place in largest if sizes[place] >= _LEAST_SHARE * sizes[largest[0]]]
    return np.isin(pieces, kept)
