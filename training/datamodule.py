"""From exams to batches: split, cache, normalisation constants, draws.

Shape legend: B batch, C channel (always 1), H rows, W columns.
"""

import csv
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.transforms import normalising
from training.augmentation import Augmentation, drawn_side
from training.cache import PixelCache, Skipped
from training.films import Draws, FilmDataset
from training.recipe import Recipe
from training.records import Exam, read_folders
from training.split import Part, check_parts, read_split, split_by_person, write_split

__all__ = ["Films"]

_log = logging.getLogger(__name__)


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

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 every stage needs the whole split
        """Read, decode, split and measure; done once.

        Raises
        ------
        ConfigurationError
            From the labels, the split, or because no film could be read.
        """
        if self.exams:
            return
        self.read()
        parts = read_split(self._split, self.exams) if self._split else split_by_person(self.exams, self.recipe)
        self.divide(parts)
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
        """Give every person a part, and measure the training part; parts that are not needed may be empty.

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
        """Return the sampler of the training part."""
        exams = self.part(Part.TRAINING)
        return Draws(
            exams,
            shares=self.recipe.draws,
            count=self.recipe.draws_per_epoch or len(exams),
            seed=self.recipe.seed,
            is_balanced=self.recipe.balance,
        )

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
        """Return augmented batches: image (B, 1, H, W), label (B,) and what `FilmDataset` adds, at the epoch's size."""
        size = self.recipe.size_at(self.trainer.current_epoch if self.trainer else 0)
        dataset = FilmDataset(
            self.part(Part.TRAINING),
            self._cache,
            side=drawn_side(size),
            depth="uint8",
            transform=Augmentation(size=size, mean=self.mean, std=self.std),
        )
        return DataLoader(
            dataset,
            sampler=self.draws(),
            batch_size=self.recipe.batch_size,
            drop_last=len(dataset) > self.recipe.batch_size,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the validation films that the recipe selects on, preprocessed as the service does."""
        chosen = self.recipe.select_on
        exams = [exam for exam in self.part(Part.VALIDATION) if not chosen or exam.group in chosen]
        if len({exam.target for exam in exams}) < 2:
            raise ConfigurationError(
                f"select_on: the validation films of {chosen or 'all groups'} are of one class only"
            )
        return self.held_out(exams)

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
