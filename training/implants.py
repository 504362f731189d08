"""Real opacities in films that have none: what the segmentation of the lungs is taught to keep.

Films with a lung mask are nearly all normal, and a U-Net that knows only those takes a consolidation for the chest wall
and cuts off what is looked for. Films that are cut to their lungs show opacities, but nothing around them. So lungs of
these are laid over the lungs of those, and the mask stays that of the film.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

__all__ = ["implant"]

_RIM = 5
"""Side in pixels of the minimum by which a donor's mask shrinks: twice the rim."""

_SOFT = 9
"""Side in pixels of the blur of a soft edge."""


def implant(
    film: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    donor: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """Lay a donor's lungs over those of a film.

    The donor is stretched so that the bounding boxes of both masks agree, perhaps mirrored, and shows where both have
    lung. Its edge is now and then soft, so that a seam tells nothing.

    Parameters
    ----------
    film, mask : numpy.ndarray
        (side, side) uint8, the film and its lung mask, 0 or 255.
    donor : tuple of numpy.ndarray
        The same of the donor, any side.
    generator : numpy.random.Generator
        Decides on mirroring, edge and brightness.

    Returns
    -------
    numpy.ndarray
        (side, side) uint8; `film` itself where either mask is empty.
    """
    if not (mask.any() and donor[1].any()):
        return film
    rows, columns = _box(mask)
    there = _box(donor[1])
    picture = torch.from_numpy(np.stack([plane[there] for plane in donor])).float()[None]
    if generator.random() < 0.5:
        picture = picture.flip(-1)
    size = (rows.stop - rows.start, columns.stop - columns.start)
    lungs, inside = interpolate(picture, size, mode="bilinear", antialias=True)[0]
    # The rim of a donor is mixed with the black around it.
    shrunk = -max_pool2d(-inside[None], _RIM, 1, _RIM // 2)[0]
    weight = ((shrunk >= 128.0) & torch.from_numpy(mask[rows, columns] >= 128)).float()
    if generator.random() < 0.5:
        weight = (2.0 * avg_pool2d(weight[None], _SOFT, 1, _SOFT // 2)[0] - 1.0).clamp(min=0.0)
    shift = float(generator.uniform(-10.0, 10.0))
    changed = film.copy()
    under = torch.from_numpy(film[rows, columns]).float()
    blended = under + weight * (lungs + shift - under)
    changed[rows, columns] = blended.round().clamp(0.0, 255.0).to(torch.uint8).numpy()
    return changed


def _box(mask: NDArray[np.uint8]) -> tuple[slice, slice]:
    high, wide = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(int(high[0]), int(high[-1]) + 1), slice(int(wide[0]), int(wide[-1]) + 1)
