"""``python -m training.train --data DIR --out DIR``: train on folders in the layout of the RSNA challenge."""

import logging
from pathlib import Path
from typing import Annotated

import typer
from monai.data import set_track_meta

from pneumo_monai.errors import ConfigurationError
from training.entry import start
from training.recipe import Recipe
from training.run import DESCRIPTION, LAST, build_trainer, prepare

_log = logging.getLogger(__name__)


def train(
    data: Annotated[list[Path], typer.Option(help="Folder with stage_2_train_images and its CSVs; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    config: Annotated[Path | None, typer.Option(help="Recipe, a YAML file as in training/configs.")] = None,
    weights: Annotated[
        str, typer.Option(help="imagenet, none, or a file: state dict, checkpoint or model.pt.")
    ] = "imagenet",
    lungs: Annotated[
        Path | None, typer.Option(help="lungs.pt of training.segment: films are cut to their lungs.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run's last checkpoint.")] = False,
    split: Annotated[
        Path | None, typer.Option(help="split.csv of an earlier run, to hold out the same persons.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded pixels. [default: OUT/cache]")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode and load films.")] = 2,
    size: Annotated[
        int | None, typer.Option(help="Side of the network's input in pixels; overrides the recipe.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Overrides the recipe.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Overrides the recipe.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Overrides the recipe.")] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the recipe.")] = None,
) -> None:
    """Train the network and keep the epoch with the best validation AUROC."""
    recipe = Recipe.read(
        config,
        {"size": size, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed},
    )
    last = out / LAST
    if resume and not last.is_file():
        raise ConfigurationError(f"--resume: {last} is missing; leave --resume out to start the run")
    # Also before the first checkpoint: another process may be at work there.
    if not resume and (out / DESCRIPTION).is_file():
        raise ConfigurationError(f"--out {out} already holds a run; add --resume to go on, or give another folder")
    # Orientation and spacing of these squares mean nothing; carrying them along takes a third of the loading time.
    set_track_meta(False)
    films, module = prepare(
        recipe,
        data,
        out,
        weights=weights,
        cache=cache or out / "cache",
        split=split,
        workers=workers,
        lungs=lungs,
    )
    trainer = build_trainer(recipe, out)
    trainer.fit(module, datamodule=films, ckpt_path=str(last) if resume else None)
    _log.info("done; next: python -m training.export --run %s --out FOLDER", out)


if __name__ == "__main__":
    start(train)
