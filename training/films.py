"""One film as the trainer sees it, and which films an epoch draws.

Shape legend: B batch, C channel (always 1), H rows, W columns, G side of the grid of boxes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from monai.utils import CommonKeys
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from pneumo_monai.errors import ConfigurationError
from training.augmentation import Augmentation
from training.cache import Depth, PixelCache
from training.records import NORMAL, NOT_NORMAL, OPACITY, Exam

__all__ = ["BOXES", "BOXES_KNOWN", "CLASS", "CLASSES", "GRID_STEP", "INDEX", "Draws", "FilmDataset", "boxes_square"]

INDEX = "index"
"""Key of a film's place in its dataset, beside `CommonKeys`."""

CLASS = "class"
"""Key of its detailed class, a place in `CLASSES`, or -1."""

BOXES = "boxes"
"""Key of the share of each grid cell that lies in a box."""

BOXES_KNOWN = "boxes_known"
"""Key of whether the boxes of the film are known: 1 or 0."""

CLASSES = (NORMAL, NOT_NORMAL, OPACITY)

GRID_STEP = 16
"""Pixels of the network's input for each cell of the grid of boxes: the scale of the network's last but one stage."""


class FilmDataset(Dataset[dict[str, Any]]):
    """Films of one part as (1, H, W) float32 with their labels.

    An item is asked for by its place, or by its place and the seed of its augmentation, so that what a film looks like
    does not depend on which worker makes it.
    """

    def __init__(
        self,
        exams: list[Exam],
        cache: PixelCache,
        *,
        side: int,
        depth: Depth,
        transform: Callable[[NDArray[Any]], Tensor] | Augmentation,
    ) -> None:
        self.exams, self.transform = exams, transform
        self._cache, self._side, self._depth = cache, side, depth

    def __len__(self) -> int:
        return len(self.exams)

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, Any]:
        place, seed = item if isinstance(item, tuple) else (item, None)
        exam = self.exams[place]
        square = self._cache.square(exam, side=self._side, depth=self._depth)
        found = {
            CommonKeys.LABEL: torch.tensor(exam.target, dtype=torch.float32),
            CLASS: CLASSES.index(exam.klass) if exam.klass in CLASSES else -1,
            INDEX: place,
        }
        if not isinstance(self.transform, Augmentation):
            return {CommonKeys.IMAGE: self.transform(square), **found}
        boxes = boxes_square(exam, self._side) if exam.boxes else None
        image, grid = self.transform(square, boxes, seed=seed)
        known = torch.tensor(float(exam.target == 0 or bool(exam.boxes)))
        return {CommonKeys.IMAGE: image, **found, BOXES: grid, BOXES_KNOWN: known}


def boxes_square(exam: Exam, side: int) -> NDArray[np.uint8]:
    """Draw the exam's boxes on a square like the one that is cached: (side, side) uint8, 255 inside a box."""
    drawn = np.zeros((side, side), dtype=np.uint8)
    geometry = exam.geometry(side)
    for x, y, width, height in exam.boxes:
        corners = geometry.to_tensor(np.array([[x, y], [x + width, y + height]]))
        (left, top), (right, bottom) = np.clip(np.round(corners), 0, side).astype(int)
        drawn[top:bottom, left:right] = 255
    return drawn


class Draws(Sampler[tuple[int, int]]):
    """Places and augmentation seeds of one epoch, a function of the seed and the epoch alone.

    Each group gives its share of the draws. Within a group every film is drawn once before one is drawn twice.

    Parameters
    ----------
    exams : list of Exam
        The training part.
    shares : dict of str to float
        Share of each group; empty: every film once.
    count : int
        Draws of an epoch.
    seed : int
        Of the run.
    is_balanced : bool
        Draw as many positive as negative films of each group that has both.
    """

    def __init__(
        self, exams: list[Exam], *, shares: dict[str, float], count: int, seed: int, is_balanced: bool = False
    ) -> None:
        self._places: dict[tuple[str, int], list[int]] = defaultdict(list)
        sizes: dict[str, int] = defaultdict(int)
        for place, exam in enumerate(exams):
            self._places[exam.group, exam.target].append(place)
            sizes[exam.group] += 1
        if unknown := set(shares).difference(sizes):
            raise ConfigurationError(f"draws: no training film is in {min(unknown)}; the groups are {sorted(sizes)}")
        shares = shares or {group: float(size) for group, size in sizes.items()}
        total = sum(shares.values())
        self.counts = {group: round(count * share / total) for group, share in shares.items()}
        self.positives = {
            group: self._positives(group, drawn, is_balanced=is_balanced) for group, drawn in self.counts.items()
        }
        self._seed = seed
        self._epoch = 0

    def _positives(self, group: str, drawn: int, *, is_balanced: bool) -> int:
        negative, positive = (len(self._places[group, target]) for target in (0, 1))
        if not (negative and positive):
            return drawn if positive else 0
        return round(drawn * (0.5 if is_balanced else positive / (negative + positive)))

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = np.random.default_rng([self._seed, self._epoch])
        drawn: list[int] = []
        for group, count in self.counts.items():
            positive = self.positives[group]
            for target, wanted in ((0, count - positive), (1, positive)):
                places = self._places[group, target]
                rounds = [generator.permutation(places) for _ in range(-(-wanted // max(len(places), 1)))]
                drawn.extend(np.concatenate(rounds)[:wanted].tolist() if rounds else [])
        order = generator.permutation(len(drawn))
        seeds = generator.integers(0, 1 << 31, len(drawn))
        return ((drawn[place], int(seed)) for place, seed in zip(order, seeds, strict=True))
