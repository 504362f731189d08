"""One film as the trainer sees it, and which films an epoch draws.

Shape legend: B batch, C channel (always 1), H rows, W columns, G side of the grid of boxes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from monai.utils import CommonKeys
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from pneumo_monai.errors import ConfigurationError
from training.augmentation import Augmentation, drawn_side
from training.cache import Depth, PixelCache
from training.records import NORMAL, NOT_NORMAL, OPACITY, Exam

__all__ = [
    "BOXES",
    "BOXES_KNOWN",
    "CLASS",
    "CLASSES",
    "INDEX",
    "AugmentedFilms",
    "Draws",
    "FilmDataset",
    "ProcessShare",
    "as_made",
    "boxes_square",
]

INDEX = "index"
"""Key of a film's place in its dataset, beside `CommonKeys`."""

CLASS = "class"
"""Key of its detailed class, a place in `CLASSES`, or -1."""

BOXES = "boxes"
"""Key of the share of each grid cell that lies in a box."""

BOXES_KNOWN = "boxes_known"
"""Key of whether the boxes of the film are known: 1 or 0."""

CLASSES = (NORMAL, NOT_NORMAL, OPACITY)


class FilmDataset(Dataset[dict[str, Any]]):
    """Films as (1, H, W) float32 with their labels, each the same whenever it is asked for.

    Parameters
    ----------
    exams : list of Exam
        In this order.
    cache : PixelCache
        Filled with their squares.
    side, depth : int, str
        Of the squares.
    transform : callable
        From a square to (1, H, W) float32.
    """

    def __init__(
        self,
        exams: list[Exam],
        cache: PixelCache,
        *,
        side: int,
        depth: Depth,
        transform: Callable[[NDArray[Any]], Tensor],
    ) -> None:
        self.exams, self.transform = exams, transform
        self._cache, self._side, self._depth = cache, side, depth

    def __len__(self) -> int:
        return len(self.exams)

    def __getitem__(self, place: int) -> dict[str, Any]:
        exam = self.exams[place]
        square = self._cache.square(exam, side=self._side, depth=self._depth)
        return {
            CommonKeys.IMAGE: self.transform(square),
            **{key: value[0] for key, value in _labels([exam], [place]).items()},
        }


class AugmentedFilms(Dataset[dict[str, Tensor]]):
    """Films of the training part, a batch at a time.

    An item is a film's place and the seed of its augmentation, so that what it looks like depends neither on the worker
    that makes it nor on its batch.

    Parameters
    ----------
    exams : list of Exam
        The training part.
    cache : PixelCache
        Filled with their uint8 squares, with the side of `drawn_side`.
    augmentation : Augmentation
        From squares to the network's input.
    """

    def __init__(self, exams: list[Exam], cache: PixelCache, augmentation: Augmentation) -> None:
        self.exams, self.augmentation = exams, augmentation
        self._cache, self._side = cache, drawn_side(augmentation.size)

    def __len__(self) -> int:
        return len(self.exams)

    def __getitems__(self, items: list[tuple[int, int]]) -> dict[str, Tensor]:
        """Return a batch: image (B, 1, H, W), boxes (B, 1, G, G), and labels, classes and places (B,)."""
        places, seeds = zip(*items, strict=True)
        exams = [self.exams[place] for place in places]
        squares = np.stack([self._cache.square(exam, side=self._side, depth="uint8") for exam in exams])
        boxes = [boxes_square(exam, self._side) if exam.boxes else None for exam in exams]
        images, cells = self.augmentation.batch(squares, boxes, seeds)
        known = torch.tensor([float(exam.target == 0 or bool(exam.boxes)) for exam in exams])
        return {CommonKeys.IMAGE: images, **_labels(exams, places), BOXES: cells, BOXES_KNOWN: known}

    def __getitem__(self, item: tuple[int, int]) -> dict[str, Tensor]:
        return {key: value[0] for key, value in self.__getitems__([item]).items()}


def as_made(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Collate what `AugmentedFilms` made: it is a batch already."""
    return batch


def _labels(exams: Sequence[Exam], places: Sequence[int]) -> dict[str, Tensor]:
    return {
        CommonKeys.LABEL: torch.tensor([float(exam.target) for exam in exams]),
        CLASS: torch.tensor([CLASSES.index(exam.klass) if exam.klass in CLASSES else -1 for exam in exams]),
        INDEX: torch.tensor(places),
    }


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


class ProcessShare(Sampler[tuple[int, int]]):
    """What one of several processes takes from each batch of an epoch.

    A batch is divided in as many runs of films as there are processes, so that all of them together learn from the same
    films at each step as one process would. What cannot be divided evenly at the end of the epoch is left out; a single
    process that draws less than one batch takes what there is.

    Parameters
    ----------
    draws : Draws
        The epoch.
    batch_size : int
        Films of one step, over all processes: a multiple of their number.
    rank, processes : int
        Which of how many.
    """

    def __init__(self, draws: Draws, *, batch_size: int, rank: int = 0, processes: int = 1) -> None:
        self._draws, self._rank, self._processes = draws, rank, processes
        self._batch_size = min(batch_size, len(draws) - len(draws) % processes)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self._draws.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._draws) // self._batch_size * (self._batch_size // self._processes)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        mine = self._batch_size // self._processes
        first = self._rank * mine
        # The draws of an epoch are few numbers: each process makes all of them.
        for place, item in enumerate(list(self._draws)[: len(self) * self._processes]):
            if first <= place % self._batch_size < first + mine:
                yield item
