"""What a road to whole films is worth: networks that never saw a person read that person's films."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from monai.utils import CommonKeys
from numpy.typing import NDArray
from pytorch_lightning.callbacks import EMAWeightAveraging

from pneumo_monai.bundle import Bundle
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.network import ResNet18
from training.datamodule import Films
from training.folds import Chosen, choose, deal, parts_of_fold, set_aside
from training.recipe import Recipe
from training.records import Exam
from training.run import DESCRIPTION, build_module, precision
from training.split import Part
from training.weights import initialise

__all__ = ["CrossValidation", "Sitting", "normalisation", "recipe_of"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sitting:
    """Held-out films of one group, read by one network: logits (N,) in the order of the exams."""

    repeat: int
    fold: int
    group: str
    exams: list[Exam]
    logits: NDArray[np.float64]


class CrossValidation:
    """Repeated cross-validation, grouped by person, stratified by class and view.

    Parameters
    ----------
    folders : list of Path
        Data folders.
    recipe : Recipe
        How each fold's network is fine-tuned. All its epochs are run: nothing is chosen by what a fold holds out.
    weights : str
        What each fold starts from, as `initialise` takes it.
    groups : list of Chosen
        What is evaluated. Their persons are dealt out together, so a person of two groups is held out of both at once.
    split : Path or None
        split.csv: of everybody who is not evaluated only its training part is used.
    cache : Path
        Folder of decoded pixels.
    lungs : Path or None
        Films are cut to their lungs by these weights; None: whole films.
    workers : int
        Processes that decode and that feed the trainer.

    Raises
    ------
    ConfigurationError
        From labels and weights; a group has no films; the weights were trained on an evaluated person.
    """

    def __init__(
        self,
        folders: list[Path],
        recipe: Recipe,
        *,
        weights: str,
        groups: list[Chosen],
        split: Path | None = None,
        cache: Path,
        lungs: Path | None = None,
        workers: int = 0,
    ) -> None:
        self.recipe, self.weights = recipe, weights
        self.network = ResNet18()
        self.lineage = initialise(self.network, weights)
        if not self.lineage and weights not in {"imagenet", "none"}:
            _log.warning("%s does not say whom it was trained on: nothing can be checked", Path(weights).name)
        self.films = Films(folders, recipe, cache=cache, lungs=lungs, workers=workers)
        self.films.read()
        self.evaluated = {chosen.group: choose(self.films.exams, chosen, split) for chosen in groups}
        self._refuse_trained()
        self._everyone = [exam for exams in self.evaluated.values() for exam in exams]
        self.films.exams = set_aside(self.films.exams, self._everyone, split)

    def _refuse_trained(self) -> None:
        trained = {person for run in self.lineage for person in run["persons"]}
        for group, exams in self.evaluated.items():
            if leaked := trained.intersection(exam.person for exam in exams):
                raise ConfigurationError(
                    f"--weights were trained on {len(leaked)} persons of {group}; give {group}:test or "
                    f"{group}:validation with the --split of the run that trained them"
                )

    def read_as_they_are(self, *, mean: float, std: float) -> Iterator[Sitting]:
        """Yield the films read by the weights without any training."""
        self.films.mean, self.films.std = mean, std
        yield from self._read(self.network, self.evaluated, repeat=0, fold=0)

    def run(self, *, folds: int, repeats: int) -> Iterator[Sitting]:
        """Yield each group's films of each fold, read by a network that was fine-tuned on everybody else."""
        for repeat in range(repeats):
            fold_of = deal(self._everyone, folds=folds, seed=self.recipe.seed + repeat)
            for fold in range(folds):
                parts = parts_of_fold(self.films.exams, fold_of, fold)
                self.films.recipe = self.recipe.model_copy(update={"seed": self.recipe.seed + repeat * folds + fold})
                self.films.divide(parts, needed=(Part.TRAINING, Part.TEST))
                self.films.measure()
                held_out = {
                    group: [exam for exam in exams if parts[exam.person] is Part.TEST]
                    for group, exams in self.evaluated.items()
                }
                network = self._fine_tuned()
                yield from self._read(network, held_out, repeat=repeat, fold=fold)

    def _fine_tuned(self) -> ResNet18:
        recipe = self.films.recipe
        pl.seed_everything(recipe.seed, workers=True, verbose=False)
        network = ResNet18()
        network.load_state_dict(self.network.state_dict())
        module = build_module(recipe, network)
        trainer = pl.Trainer(
            max_epochs=recipe.epochs,
            gradient_clip_val=recipe.gradient_clip,
            precision=precision(recipe, is_on_gpu=torch.cuda.is_available()),
            accumulate_grad_batches=recipe.accumulate,
            use_distributed_sampler=False,
            callbacks=[EMAWeightAveraging(decay=recipe.ema_decay)] if recipe.ema_decay > 0.0 else [],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            reload_dataloaders_every_n_epochs=1 if recipe.progressive else 0,
        )
        trainer.fit(module, datamodule=self.films)
        return module.network

    def _read(self, network: ResNet18, held_out: dict[str, list[Exam]], *, repeat: int, fold: int) -> Iterator[Sitting]:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = network.eval().to(device)
        for group, exams in held_out.items():
            if not exams:
                continue
            with torch.inference_mode():
                loader = self.films.held_out(exams)
                logits = [network(batch[CommonKeys.IMAGE].to(device))[:, 0].cpu() for batch in loader]
            read = torch.cat(logits).double().numpy()
            yield Sitting(repeat=repeat, fold=fold, group=group, exams=exams, logits=read)


def recipe_of(weights: str, config: Path | None, overrides: dict[str, Any]) -> Recipe:
    """Read a recipe: of the file, else of the run that the weights lie in, else the defaults."""
    stored = Path(weights).parent.parent / "recipe.yaml"
    lies_in_a_run = Path(weights).is_file() and stored.is_file()
    given = {key: value for key, value in overrides.items() if value is not None}
    return Recipe.read(config or (stored if lies_in_a_run else None), given)


def normalisation(weights: str) -> tuple[float, float]:
    """Return mean and standard deviation that weights expect, from the run or the bundle that they lie in.

    Raises
    ------
    ConfigurationError
        They lie in neither.
    """
    folder = Path(weights).parent.parent
    if (folder / DESCRIPTION).is_file():
        stored = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        return float(stored["mean"]), float(stored["std"])
    if (folder / "configs" / "metadata.json").is_file():
        constants = Bundle(folder).contract.preprocessing
        return constants.mean, constants.std
    raise ConfigurationError(
        f"--no-train with --weights {weights}: nothing beside them says how films are normalised; give a checkpoint "
        "inside the folder of its run, or models/model.pt of a bundle"
    )
