"""Where on the film the finding is: an outline in the film's pixels, no DICOM.

Shape legend: N points, h rows and w columns of a grid over the square that the network saw.
"""

from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label
from scipy.spatial import ConvexHull, QhullError

from pneumo_monai.findings import FilmFinding
from pneumo_monai.geometry import SquareGeometry

__all__ = ["SHARE_OF_MAXIMUM", "Support", "film_frame", "finding_region", "finding_support"]

SHARE_OF_MAXIMUM = 0.5
"""The region is where the activation reaches this share of its maximum on the film: the half maximum, by which the
extent of a peak is commonly told when nobody has outlined one to fit a better share to."""

_STEPS = 9
"""Grid cells a side for each cell of the activation map: odd, so that one of them has the map's own value."""

_INSET = 0.5
"""Pixels that an outline keeps from the film's edges: the middle of the outermost pixel, which every viewer draws."""

_EDGE = 0.5
"""Share of the way from a cell's middle to its neighbour's where the cell ends."""

_LEAST = 0.05
"""Least share of that way that an outline keeps from a cell's middle, so that it never meets itself there."""

_BOX = 4
"""Corners of a closed line that OHIF takes for what a person drew with a rectangle tool: it asks whether to go on
measuring with it."""

_STRAIGHT = 1e-6
"""Square pixels that a corner spans, twice over, below which there is no corner but rounding."""


def finding_region(finding: FilmFinding) -> NDArray[np.float64]:
    """Outline where the finding is when it is present, and what was analysed when it is absent.

    Where it is present: what speaks for it in the activation map, interpolated linearly, at least `SHARE_OF_MAXIMUM` of
    its maximum on the film, and connected with that maximum; the outer outline of that. Where it is absent, or nothing
    on the film speaks for it: both lung fields of a film that was cut to them, in one convex outline because a group
    has one region (PS3.16 TID 1410), else the whole film.

    Parameters
    ----------
    finding : FilmFinding
        With its activation map and where that lies on the film, of 2 or more rows and columns.

    Returns
    -------
    numpy.ndarray
        (N, 2) float64, column and row coordinates of a simple polygon that encloses an area. It is closed: the first
        point is the last (POLYLINE, PS3.3 C.18.6.1.2). In pixels, (0, 0) being the top left corner of the top left
        pixel and (columns, rows) the bottom right corner of the bottom right one.
    """
    last = _last(finding.geometry)
    if not finding.present:
        return _analysed(finding, last)
    support = finding_support(finding)
    geometry, support_hw = support.geometry, support.whole_hw
    on_film_hw = np.where(support.counted_hw, support_hw, 0.0)
    threshold = SHARE_OF_MAXIMUM * float(on_film_hw.max())
    if not threshold > 0.0:
        return _analysed(finding, last)
    region_hw = _connected(on_film_hw >= threshold, int(on_film_hw.argmax()))
    outline = geometry.to_film(_outline(support_hw, region_hw, threshold))
    return _simplified(np.clip(outline, _INSET, last))


def film_frame(rows: int, columns: int) -> NDArray[np.float64]:
    """Outline a whole film of 2 or more rows and columns, as `finding_region` returns it."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    return _closed(_INSET + corners * (np.array([columns, rows], dtype=np.float64) - 2 * _INSET))


class Support(NamedTuple):
    """What of a class activation map speaks for the finding, on a grid over the square that the network saw.

    Attributes
    ----------
    whole_hw : numpy.ndarray
        (h, w) float64, interpolated linearly; what speaks against the finding is 0.
    counted_hw : numpy.ndarray
        (h, w) bool, which cells have their middle on the film and, where it was cut to them, in the lungs.
    geometry : SquareGeometry
        Where the grid lies on the film.
    """

    whole_hw: NDArray[np.float64]
    counted_hw: NDArray[np.bool_]
    geometry: SquareGeometry


def finding_support(finding: FilmFinding) -> Support:
    """Return where on the film something speaks for the finding, and how much."""
    whole_hw = _support(finding.activation)
    geometry = replace(finding.geometry, size=whole_hw.shape[0])
    counted_hw = _on_film(geometry, _last(geometry)) & _of_lungs(finding, geometry.size)
    return Support(whole_hw=whole_hw, counted_hw=counted_hw, geometry=geometry)


def _last(geometry: SquareGeometry) -> NDArray[np.float64]:
    return np.array([geometry.columns, geometry.rows], dtype=np.float64) - _INSET


def _analysed(finding: FilmFinding, last: NDArray[np.float64]) -> NDArray[np.float64]:
    """Outline what of the film was read: the lung fields where it was cut to them, else all of it."""
    whole = film_frame(finding.geometry.rows, finding.geometry.columns)
    if finding.lungs is None or not finding.lungs.any():
        return whole
    size = finding.lungs.shape[0]
    (rows,) = np.nonzero(finding.lungs.any(axis=1))
    left, right = finding.lungs[rows].argmax(axis=1), size - finding.lungs[rows, ::-1].argmax(axis=1)
    ends = [np.stack([end, edge], axis=1) for end in (left, right) for edge in (rows, rows + 1)]
    geometry = replace(finding.geometry, size=size)
    on_film = np.clip(geometry.to_film(np.concatenate(ends).astype(np.float64)), _INSET, last)
    with suppress(QhullError):
        outline = _simplified(on_film[ConvexHull(on_film).vertices])
        # Fields beside the film leave a sliver of its edge.
        if np.ptp(outline, axis=0).min() > _INSET:
            return outline
    return whole


def _support(activation: NDArray[np.float32]) -> NDArray[np.float64]:
    """Interpolate the map to the grid, what speaks against the finding being 0."""
    side = activation.shape[0] * _STEPS
    square = Image.fromarray(np.clip(activation, 0.0, None).astype(np.float32))
    return np.array(square.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float64)


def _on_film(geometry: SquareGeometry, last: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which cells of the grid have their middle on the film, not on padding: (h, w)."""
    middles = np.arange(geometry.size, dtype=np.float64) + 0.5
    window = geometry.window
    columns, rows = (middles * (window.side / geometry.size) + edge for edge in (window.left, window.top))
    on_film: NDArray[np.bool_] = np.logical_and.outer(
        (rows > _INSET) & (rows < last[1]), (columns > _INSET) & (columns < last[0])
    )
    return on_film


def _of_lungs(finding: FilmFinding, size: int) -> NDArray[np.bool_]:
    """Tell which cells of the grid have their middle in the lungs, all where the film was read whole: (h, w)."""
    if finding.lungs is None:
        return np.ones((size, size), dtype=np.bool_)
    middles = ((np.arange(size) + 0.5) * (finding.lungs.shape[0] / size)).astype(int)
    of_lungs: NDArray[np.bool_] = finding.lungs[np.ix_(middles, middles)]
    return of_lungs


def _connected(mask_hw: NDArray[np.bool_], index: int) -> NDArray[np.bool_]:
    """Keep the cells of the mask that are connected, side by side, with the one at this flat index."""
    pieces, _ = label(mask_hw)
    connected: NDArray[np.bool_] = pieces == pieces.flat[index]
    return connected


def _outline(support_hw: NDArray[np.float64], region_hw: NDArray[np.bool_], threshold: float) -> NDArray[np.float64]:
    """Walk round the outside of the region and mark, between each cell and its neighbour, where the threshold is met.

    Returns
    -------
    numpy.ndarray
        (N, 2) column and row coordinates in the grid, clockwise, not closed.
    """
    region, support = np.pad(region_hw, 1), np.pad(support_hw, 1, mode="edge")
    row, column = (int(first) for first in np.argwhere(region)[0])
    # The hand lies on the wall: `outward` leads from the cell walked on to the neighbour that is not of the region.
    start = cell, outward = (row, column), (-1, 0)
    points: list[tuple[float, float]] = []
    while True:
        neighbour = _step(cell, outward)
        share = _EDGE
        # Only a neighbour on padding or beyond the grid can meet the threshold and not be of the region.
        if support[neighbour] < threshold:
            share = max((support[cell] - threshold) / (support[cell] - support[neighbour]), _LEAST)
        points.append((cell[1] + share * outward[1], cell[0] + share * outward[0]))
        along = (outward[1], -outward[0])
        if not region[_step(cell, along)]:
            outward = along
        elif not region[_step(_step(cell, along), outward)]:
            cell = _step(cell, along)
        else:
            cell, outward = _step(_step(cell, along), outward), (-along[0], -along[1])
        if (cell, outward) == start:
            return np.array(points) - 0.5


def _step(cell: tuple[int, int], by: tuple[int, int]) -> tuple[int, int]:
    return cell[0] + by[0], cell[1] + by[1]


def _simplified(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out what adds nothing to a closed outline, repeated points and those on a straight line, and close it."""
    kept = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    back, ahead = kept - np.roll(kept, 1, axis=0), np.roll(kept, -1, axis=0) - kept
    turns = np.abs(back[:, 0] * ahead[:, 1] - back[:, 1] * ahead[:, 0]) > _STRAIGHT
    return _closed(kept[turns])


def _closed(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lead an outline back to its first corner, each side in two halves where it would pass for a drawn rectangle."""
    if len(corners) == _BOX:
        halves = (corners + np.roll(corners, -1, axis=0)) / 2
        corners = np.stack([corners, halves], axis=1).reshape(-1, 2)
    return np.concatenate([corners, corners[:1]])
