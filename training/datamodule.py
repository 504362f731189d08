"""From exams to batches: split, cache, normalisation constants, draws.

Shape legend: B batch, C channel (always 1), H rows, W columns.
"""

import csv
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.transforms import normalising
from training.augmentation import Augmentation, drawn_side
from training.cache import PixelCache, Skipped
from training.films import AugmentedFilms, Draws, FilmDataset, ProcessShare, as_made
from training.recipe import Recipe
from training.records import Exam, read_folders
from training.split import Part, check_parts, read_split, split_by_person, write_split

__all__ = ["Films", "augmented_loader"]

_log = logging.getLogger(__name__)


class _Loader(DataLoader[dict[str, Tensor]]):
    """Draws an epoch when its first batch is asked for.

    Lightning makes the iterator of a resumed run before it tells the sampler the epoch, and a loader with workers would
    have drawn the first films of the wrong epoch by then.
    """

    def __iter__(self) -> Any:
        yield from super().__iter__()


def augmented_loader(
    exams: list[Exam],
    cache: PixelCache,
    recipe: Recipe,
    *,
    size: int,
    mean: float,
    std: float,
    workers: int,
    rank: int = 0,
    processes: int = 1,
) -> DataLoader[dict[str, Tensor]]:
    """Return one process's part of the augmented batches of `AugmentedFilms`.

    Parameters
    ----------
    exams : list of Exam
        The training part, whose squares are in the cache.
    size : int
        Side of the network's input in pixels, in this epoch.
    rank, processes : int
        Which process of how many.

    Raises
    ------
    ConfigurationError
        The batch cannot be divided evenly.
    """
    draws, pieces = _draws(exams, recipe), processes * recipe.accumulate
    if recipe.batch_size % pieces or len(draws) < processes:
        raise ConfigurationError(
            f"batch_size: {recipe.batch_size} films cannot be divided evenly over {processes} processes with "
            f"accumulate {recipe.accumulate}; give a multiple of {pieces}"
        )
    augmentation = Augmentation(size=size, mean=mean, std=std, is_random=recipe.augment)
    return _Loader(
        AugmentedFilms(exams, cache, augmentation),
        sampler=ProcessShare(draws, batch_size=recipe.batch_size, rank=rank, processes=processes),
        batch_size=recipe.batch_size // pieces,
        collate_fn=as_made,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def _draws(exams: list[Exam], recipe: Recipe) -> Draws:
    return Draws(
        exams,
        shares=recipe.draws,
        count=recipe.draws_per_epoch or len(exams),
        seed=recipe.seed,
        is_balanced=recipe.balance,
    )


class Films(pl.LightningDataModule):
    """The films of all data folders.

    Parameters
    ----------
    folders : list of Path
        Data folders in the layout of the challenge.
    recipe : Recipe
        The experiment.
    cache : Path
        Folder of decoded pixels.
    split : Path or None
        The split.csv of an earlier run; None: a new split.
    trained : list of str
        Persons that the initial weights were trained on.
    workers : int
        Processes that decode and that feed the trainer.
    lungs : Path or None
        Weights of `LungNet`: films are cut to their lungs; None: whole films.
    """

    def __init__(
        self,
        folders: list[Path],
        recipe: Recipe,
        *,
        cache: Path,
        split: Path | None = None,
        trained: list[str] | None = None,
        workers: int = 0,
        lungs: Path | None = None,
    ) -> None:
        super().__init__()
        self.folders, self.recipe, self.workers, self.lungs = folders, recipe, workers, lungs
        self.skipped: list[Skipped] = []
        self.exams: list[Exam] = []
        self.parts: dict[str, Part] = {}
        self.mean = self.std = float("nan")
        self._cache = PixelCache(cache, workers=workers, lungs=lungs)
        self._split, self._trained = split, trained or []
        self._moments: dict[str, tuple[float, float]] = {}

    def prepare_data(self) -> None:
        """Decode what the cache lacks: Lightning calls this in one process of each node, the others wait.

        Raises
        ------
        ConfigurationError
            From the labels, the split, or because no film could be read.
        """
        if not self.parts:
            self.read()
            self.divide(
                read_split(self._split, self.exams) if self._split else split_by_person(self.exams, self.recipe)
            )

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 every stage needs the whole split
        """Split and measure; done once, in every process, with what `prepare_data` left in the cache.

        Raises
        ------
        ConfigurationError
            As `prepare_data`, which need not have been called.
        """
        self.prepare_data()
        if math.isnan(self.mean):
            self.measure()
            for part in Part:
                _log.info("%s part: %s", part, self.describe(part))

    def read(self) -> None:
        """Read the labels and decode the films of all folders.

        Raises
        ------
        ConfigurationError
            From the labels, or because no film could be read.
        """
        listed = read_folders(self.folders)
        self.exams, self.skipped = self._cache.fill(listed, side=drawn_side(self.recipe.size), depth="uint8")
        if self.skipped:
            _log.warning("%d of %d films cannot be read and are skipped", len(self.skipped), len(listed))
            for skipped in self.skipped:
                _log.warning("skipped %s: %s", skipped.exam.path, skipped.reason)
        if not self.exams:
            raise ConfigurationError("--data: none of the films can be read; the log says why for each")

    def divide(self, parts: dict[str, Part], *, needed: Iterable[Part] = tuple(Part)) -> None:
        """Give every person a part, and decode what each part needs; parts that are not needed may be empty.

        Raises
        ------
        ConfigurationError
            From `check_parts`.
        """
        check_parts(parts, self.exams, self._trained, needed=needed)
        self.parts = parts
        for size in self.recipe.sizes:
            self._cache.fill(self.part(Part.TRAINING), side=drawn_side(size), depth="uint8")
        for part in (Part.VALIDATION, Part.TEST):
            self._cache.fill(self.part(part), side=self.recipe.size, depth="float32")

    def measure(self) -> None:
        """Measure the mean and the standard deviation of the training part."""
        self.mean, self.std = self._measure()

    def part(self, part: Part) -> list[Exam]:
        """Return the exams of one part; of the training part those whose group is drawn."""
        drawn = self.recipe.draws
        return [
            exam
            for exam in self.exams
            if self.parts[exam.person] is part and (part is not Part.TRAINING or not drawn or exam.group in drawn)
        ]

    def describe(self, part: Part) -> dict[str, dict[str, int]]:
        """Count exams, persons and positive films of one part by group."""
        groups: dict[str, list[Exam]] = defaultdict(list)
        for exam in self.part(part):
            groups[exam.group].append(exam)
        return {
            group: {
                "exams": len(exams),
                "persons": len({exam.person for exam in exams}),
                "positive": sum(exam.target for exam in exams),
            }
            for group, exams in sorted(groups.items())
        }

    def draws(self) -> Draws:
        """Return what the epochs draw from the training part."""
        return _draws(self.part(Part.TRAINING), self.recipe)

    @property
    def positive_weight(self) -> float:
        """Negatives for each positive among what is drawn, unless the recipe says otherwise."""
        wish = self.recipe.objective.positive_weight
        if wish != "balanced":
            return wish
        draws = self.draws()
        positive, drawn = sum(draws.positives.values()), sum(draws.counts.values())
        if not 0 < positive < drawn:
            raise ConfigurationError("the training part holds one class only; both are needed")
        return (drawn - positive) / positive

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return this process's part of the augmented batches, at the epoch's size.

        Raises
        ------
        ConfigurationError
            The batch cannot be divided evenly.
        """
        rank, processes = self._place
        return augmented_loader(
            self.part(Part.TRAINING),
            self._cache,
            self.recipe,
            size=self.recipe.size_at(self.trainer.current_epoch if self.trainer else 0),
            mean=self.mean,
            std=self.std,
            workers=self.workers,
            rank=rank,
            processes=processes,
        )

    @property
    def _place(self) -> tuple[int, int]:
        """Which process this is, of how many."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the validation films that the recipe selects on, preprocessed as the service does.

        Several processes share them, each film once: the figures are gathered from all.
        """
        chosen = self.recipe.select_on
        exams = [exam for exam in self.part(Part.VALIDATION) if not chosen or exam.group in chosen]
        if len({exam.target for exam in exams}) < 2:
            raise ConfigurationError(
                f"select_on: the validation films of {chosen or 'all groups'} are of one class only"
            )
        rank, processes = self._place
        return self.held_out(exams[rank::processes])

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the test films, preprocessed as the service does."""
        return self.held_out(self.part(Part.TEST))

    def held_out(self, exams: list[Exam]) -> DataLoader[dict[str, Tensor]]:
        """Return held-out films in the given order."""
        size = self.recipe.size
        self._cache.fill(exams, side=size, depth="float32")
        transform = normalising(mean=self.mean, std=self.std)
        dataset = FilmDataset(exams, self._cache, side=size, depth="float32", transform=transform)
        return DataLoader(dataset, batch_size=64, num_workers=0)

    def write(self, out: Path) -> None:
        """Write split.csv and skipped.csv."""
        write_split(out / "split.csv", self.exams, self.parts)
        with (out / "skipped.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["path", "reason"])
            writer.writerows([skipped.exam.path, skipped.reason] for skipped in self.skipped)

    def _measure(self) -> tuple[float, float]:
        """Mean and standard deviation of the training part's pixels in [0, 1], each group weighed by its draws."""
        exams = self.part(Part.TRAINING)
        counts, sizes = self.draws().counts, Counter(exam.group for exam in exams)
        weight = first = second = 0.0
        for exam in exams:
            share = counts[exam.group] / sizes[exam.group]
            moments = self._moments_of(exam)
            weight += share
            first += share * moments[0]
            second += share * moments[1]
        mean = first / weight
        return mean, float(np.sqrt(second / weight - mean**2))

    def _moments_of(self, exam: Exam) -> tuple[float, float]:
        """Mean of a film's pixels and of their squares; kept, because each fold of a cross-validation asks again."""
        if exam.content not in self._moments:
            pixels = self._cache.square(exam, side=drawn_side(self.recipe.size), depth="uint8") / np.float64(255.0)
            self._moments[exam.content] = (float(pixels.mean()), float(np.square(pixels).mean()))
        return self._moments[exam.content]
