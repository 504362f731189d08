"""Class activation maps against the boxes that readers drew.

Shape legend: h rows and w columns of a grid over the square that the network saw; N films.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_monai.evaluation.resampling import RESAMPLES, draw, stated
from pneumo_monai.findings import FilmFinding
from pneumo_monai.geometry import SquareGeometry
from pneumo_monai.region import finding_support

__all__ = ["Localisation", "localise", "summarise"]

Boxes = Sequence[tuple[float, float, float, float]]


@dataclass(frozen=True, kw_only=True)
class Localisation:
    """Where one map lies in respect of the boxes of its film.

    Attributes
    ----------
    hit : bool
        Whether the map's maximum lies in a box: the pointing game (Zhang et al., ECCV 2016), without its tolerance.
    inside : float
        Share of what speaks for the finding that lies in boxes; 0 where nothing speaks for it.
    chance : float
        Share of where the map may point, the film or the lungs it was cut to, that lies in boxes: what a random point
        scores in the pointing game, and a flat map in the share.
    """

    hit: bool
    inside: float
    chance: float


def localise(finding: FilmFinding, boxes: Boxes) -> Localisation:
    """Hold the map of a film against its boxes.

    Parameters
    ----------
    finding : FilmFinding
        With its map and where that lies on the film.
    boxes : sequence of tuple of float
        (x, y, width, height) in pixels of the film, at least one.
    """
    support = finding_support(finding)
    counted_hw = support.counted_hw if support.counted_hw.any() else np.ones_like(support.counted_hw)
    in_box_hw = _in_boxes(support.geometry, boxes) & counted_hw
    weight_hw = np.where(counted_hw, support.whole_hw, 0.0)
    total = float(weight_hw.sum())
    return Localisation(
        hit=total > 0.0 and bool(in_box_hw.flat[int(weight_hw.argmax())]),
        inside=float(weight_hw[in_box_hw].sum()) / total if total > 0.0 else 0.0,
        chance=float(in_box_hw.sum() / counted_hw.sum()),
    )


def _in_boxes(geometry: SquareGeometry, boxes: Boxes) -> NDArray[np.bool_]:
    """Tell which cells of the grid have their middle in a box: (h, w)."""
    middles = np.arange(geometry.size, dtype=np.float64) + 0.5
    x, y = geometry.to_film(np.stack([middles, middles], axis=1)).T
    inside = np.zeros((geometry.size, geometry.size), dtype=np.bool_)
    for left, top, width, height in boxes:
        inside |= np.logical_and.outer((y >= top) & (y < top + height), (x >= left) & (x < left + width))
    return inside


def summarise(
    found: Sequence[Localisation], persons: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Return the figures of several films, with intervals by person.

    Returns
    -------
    dict
        ``films``, counted; ``pointing_game``, ``share_inside`` and ``chance`` with their intervals.
    """
    drawn = draw(persons, resamples=resamples, seed=seed)
    values = {
        "pointing_game": [float(one.hit) for one in found],
        "share_inside": [one.inside for one in found],
        "chance": [one.chance for one in found],
    }
    means = {name: stated(drawn @ np.array(column) / drawn.sum(axis=1)) for name, column in values.items()}
    return {"films": len(found), **means}
