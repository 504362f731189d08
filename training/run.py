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
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.network import ResNet18
from training.datamodule import Films
from training.module import PneumoniaModule
from training.pictures import Pictures
from training.recipe import Recipe
from training.split import Part
from training.weights import initialise

__all__ = [
    "BEST",
    "DESCRIPTION",
    "LAST",
    "RECIPE",
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
RECIPE = Path("recipe.yaml")
SPLIT = Path("split.csv")

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
    resume: bool = False,
) -> tuple[Films, PneumoniaModule]:
    """Make network, films and module, and write what the run is into its folder.

    The first process reads the films at once, so that what is wrong with them is said before others are started; those
    read them when Lightning says so, and write nothing.

    Parameters
    ----------
    resume : bool
        Go on with the run in `out`: its split and the origin of its weights count, not `split` and `weights`.

    Raises
    ------
    ConfigurationError
        From the weights, the labels or the split.
    """
    pl.seed_everything(recipe.seed, workers=True)
    network = ResNet18()
    lineage = initialise(network, str(out / LAST) if resume else weights)
    origin = weights if weights in {"imagenet", "none"} else "file"
    if resume:
        *lineage, itself = lineage
        origin, split = itself["initial_weights"], out / SPLIT
    trained = sorted({person for run in lineage for person in run["persons"]})
    films = Films(folders, recipe, cache=cache, split=split, trained=trained, workers=workers, lungs=lungs)
    module = build_module(recipe, network, lineage=lineage)
    if rank_zero_only.rank == 0:
        films.setup()
        description = describe_run(films, weights=origin)
        persons = sorted({exam.person for exam in films.part(Part.TRAINING)})
        module.lineage = [*lineage, {**description, "persons": persons}]
        out.mkdir(parents=True, exist_ok=True)
        if resume:
            _check_films(out, films)
        else:
            # A resumed run has its recipe; the other processes may be reading it now.
            recipe.write(out / RECIPE)
        _write(out, films, description, folders, cache, lungs)
    return films, module


def _check_films(out: Path, films: Films) -> None:
    stored = json.loads((out / DESCRIPTION).read_text(encoding="utf-8"))
    if (stored["mean"], stored["std"]) != (films.mean, films.std):
        raise ConfigurationError(
            f"--resume: the run in {out} was begun with other films; give the same --data and --lungs"
        )


def _write(
    out: Path, films: Films, description: dict[str, Any], folders: list[Path], cache: Path, lungs: Path | None
) -> None:
    films.write(out)
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


def build_module(recipe: Recipe, network: ResNet18, *, lineage: list[dict[str, Any]] | None = None) -> PneumoniaModule:
    """Build what trains a network as a recipe says."""
    return PneumoniaModule(
        network,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warm_up_epochs=recipe.warm_up_epochs,
        objective=recipe.objective,
        lineage=lineage,
    )


def precision(recipe: Recipe, *, is_on_gpu: bool) -> Any:
    """Return the precision of a recipe's training step for Lightning's trainer.

    Raises
    ------
    ConfigurationError
        float16 was asked for without a GPU.
    """
    if recipe.precision == "16-mixed" and not is_on_gpu:
        raise ConfigurationError("precision: 16-mixed needs a GPU; on a processor give bf16-mixed or 32-true")
    if recipe.precision != "auto":
        return recipe.precision
    return "16-mixed" if is_on_gpu else "32-true"


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
        Recipe.read(out / RECIPE, {}),
        cache=Path(stored["cache"]),
        split=out / SPLIT,
        lungs=Path(stored["lungs"]) if stored.get("lungs") else None,
    )
    films.setup()
    films.mean, films.std = stored["mean"], stored["std"]
    return films


def build_trainer(
    recipe: Recipe,
    out: Path,
    *,
    progress: bool = True,
    accelerator: str = "auto",
    devices: str | int = 1,
    nodes: int = 1,
    strategy: str = "auto",
) -> pl.Trainer:
    """Build the trainer of a run: checkpoints each epoch, TensorBoard and, where asked for, a progress bar.

    Parameters
    ----------
    accelerator, devices, nodes, strategy : str, int
        As Lightning names them; `nodes` is its `num_nodes`.

    Raises
    ------
    ConfigurationError
        The precision needs a GPU, or Lightning refuses one of the others.
    """
    kept = {"dirpath": out / BEST.parent, "enable_version_counter": False}
    best = ModelCheckpoint(filename=BEST.stem, monitor="val/auroc", mode="max", **kept)
    # `save_last` of the first would write only when the figure improves: a resume would lose epochs.
    last = ModelCheckpoint(filename=LAST.stem, **kept)
    callbacks: list[pl.Callback] = [best, last, LearningRateMonitor("step"), Pictures()]
    if recipe.ema_decay > 0.0:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema_decay))
    if recipe.patience is not None:
        callbacks.append(EarlyStopping("val/auroc", mode="max", patience=recipe.patience))
    if progress:
        callbacks.append(RichProgressBar())
    is_on_gpu = torch.cuda.is_available() and accelerator != "cpu"
    try:
        return pl.Trainer(
            max_epochs=recipe.epochs,
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=precision(recipe, is_on_gpu=is_on_gpu),
            accumulate_grad_batches=recipe.accumulate,
            gradient_clip_val=recipe.gradient_clip,
            # A resumed run repeats every bit; CUDA must be told to. A processor does so anyway.
            deterministic="warn" if is_on_gpu else None,
            logger=TensorBoardLogger(out, name="tensorboard", version=""),
            callbacks=callbacks,
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            # The films of the next epoch may have another size.
            reload_dataloaders_every_n_epochs=1 if recipe.progressive else 0,
            # `Films` divides them itself: no film is validated twice, and a step sees what one process would see.
            use_distributed_sampler=False,
            log_every_n_steps=1,
        )
    except (ValueError, MisconfigurationException) as error:
        raise ConfigurationError(f"--accelerator, --devices, --nodes or --strategy: {error}") from error
