"""The folder of a run, and the trainer that fills it.

::

    <out>/recipe.yaml  split.csv  skipped.csv  run.json
    <out>/checkpoints/best.ckpt  last.ckpt
    <out>/tensorboard/
    <out>/metrics.json  predictions.csv         written by `training.evaluate`
"""

import json
import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
)
from pytorch_lightning.loggers import TensorBoardLogger

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.network import ResNet18
from training.datamodule import Films
from training.module import PneumoniaModule
from training.recipe import Recipe
from training.split import Part
from training.weights import initialise

__all__ = [
    "BEST",
    "DESCRIPTION",
    "LAST",
    "build_module",
    "build_trainer",
    "describe_run",
    "open_films",
    "precision",
    "prepare",
]

BEST = Path("checkpoints") / "best.ckpt"
LAST = Path("checkpoints") / "last.ckpt"
DESCRIPTION = Path("run.json")

_log = logging.getLogger(__name__)


def prepare(
    recipe: Recipe,
    folders: list[Path],
    out: Path,
    *,
    weights: str,
    cache: Path,
    split: Path | None,
    workers: int,
    lungs: Path | None = None,
) -> tuple[Films, PneumoniaModule]:
    """Make network, films and module, and write what the run is into its folder.

    Raises
    ------
    ConfigurationError
        From the weights, the labels or the split.
    """
    pl.seed_everything(recipe.seed, workers=True)
    network = ResNet18()
    lineage = initialise(network, weights)
    trained = sorted({person for run in lineage for person in run["persons"]})
    films = Films(folders, recipe, cache=cache, split=split, trained=trained, workers=workers, lungs=lungs)
    films.setup()
    out.mkdir(parents=True, exist_ok=True)
    recipe.write(out / "recipe.yaml")
    films.write(out)
    description = describe_run(films, weights=weights if weights in {"imagenet", "none"} else "file")
    (out / DESCRIPTION).write_text(
        json.dumps(
            {
                "data": [str(folder.resolve()) for folder in folders],
                "cache": str(cache.resolve()),
                "mean": films.mean,
                "std": films.std,
                "lungs": str(lungs.resolve()) if lungs else None,
                "description": description,
            },
            indent=2,
        )
    )
    persons = sorted({exam.person for exam in films.part(Part.TRAINING)})
    return films, build_module(films, network, lineage=[*lineage, {**description, "persons": persons}])


def build_module(films: Films, network: ResNet18, *, lineage: list[dict[str, Any]] | None = None) -> PneumoniaModule:
    """Build what trains a network on films, as their recipe says."""
    recipe = films.recipe
    return PneumoniaModule(
        network,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warm_up_epochs=recipe.warm_up_epochs,
        objective=recipe.objective,
        positive_weight=films.positive_weight,
        lineage=lineage,
    )


def precision(recipe: Recipe) -> Any:
    """Return the precision of a recipe's training step for Lightning's trainer."""
    if recipe.precision != "auto":
        return recipe.precision
    return "16-mixed" if torch.cuda.is_available() else "32-true"


def describe_run(films: Films, *, weights: str) -> dict[str, Any]:
    """Say what a run learns from, for the lineage and the bundle: counts and settings, no paths."""
    return {
        "initial_weights": weights,
        "sources": sorted({exam.source for exam in films.exams}),
        "recipe": films.recipe.model_dump(mode="json"),
        "films_skipped": len(films.skipped),
        "draws_per_epoch": films.draws().counts,
        "positive_weight": films.positive_weight,
        "parts": {part.value: films.describe(part) for part in Part},
    }


def open_films(out: Path) -> Films:
    """Open the films of a finished run as it split and normalised them.

    Raises
    ------
    ConfigurationError
        `out` is no folder of a run.
    """
    try:
        stored = json.loads((out / DESCRIPTION).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"--run {out} is no folder of a run: {DESCRIPTION} is missing; see --out of training"
        ) from None
    films = Films(
        [Path(folder) for folder in stored["data"]],
        Recipe.read(out / "recipe.yaml", {}),
        cache=Path(stored["cache"]),
        split=out / "split.csv",
        lungs=Path(stored["lungs"]) if stored.get("lungs") else None,
    )
    films.setup()
    films.mean, films.std = stored["mean"], stored["std"]
    return films


def build_trainer(recipe: Recipe, out: Path, *, progress: bool = True) -> pl.Trainer:
    """Build the trainer of a run: checkpoints each epoch, TensorBoard and, where asked for, a progress bar."""
    kept = {"dirpath": out / BEST.parent, "enable_version_counter": False}
    best = ModelCheckpoint(filename=BEST.stem, monitor="val/auroc", mode="max", **kept)
    # `save_last` of the first would write only when the figure improves: a resume would lose epochs.
    last = ModelCheckpoint(filename=LAST.stem, **kept)
    callbacks: list[pl.Callback] = [best, last, LearningRateMonitor("step")]
    if recipe.ema_decay > 0.0:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema_decay))
    if recipe.patience is not None:
        callbacks.append(EarlyStopping("val/auroc", mode="max", patience=recipe.patience))
    if progress:
        callbacks.append(RichProgressBar())
    return pl.Trainer(
        max_epochs=recipe.epochs,
        gradient_clip_val=recipe.gradient_clip,
        precision=precision(recipe),
        logger=TensorBoardLogger(out, name="tensorboard", version=""),
        callbacks=callbacks,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        # The films of the next epoch may have another size.
        reload_dataloaders_every_n_epochs=1 if recipe.progressive else 0,
        log_every_n_steps=1,
    )
