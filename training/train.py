"""``python -m training.train --data DIR --out DIR``: train on folders in the layout of the RSNA challenge."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from monai.data import set_track_meta
from pytorch_lightning.utilities import rank_zero_only

from pneumo_monai.errors import ConfigurationError
from training.entry import start
from training.recipe import Recipe, overrides_from
from training.run import DESCRIPTION, LAST, RECIPE, build_trainer, prepare

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
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE of the recipe, as objective.focal_gamma=2; may be repeated."),
    ] = None,
    accelerator: Annotated[str, typer.Option(help="auto, gpu or cpu.")] = "auto",
    devices: Annotated[
        str, typer.Option(help="GPUs of this machine, or processes on the CPU: a number or auto.")
    ] = "1",
    nodes: Annotated[int, typer.Option(min=1, help="Machines; start the command on each, as with torchrun.")] = 1,
    strategy: Annotated[str, typer.Option(help="Lightning's: auto, ddp, fsdp and others.")] = "auto",
) -> None:
    """Train the network and keep the epoch with the best validation AUROC."""
    last, overrides = out / LAST, overrides_from(settings or [])
    if resume:
        if not last.is_file():
            raise ConfigurationError(f"--resume: {last} is missing; leave --resume out to start the run")
        recipe = _recipe_of(out, config, overrides)
    else:
        recipe = Recipe.read(config, overrides)
        # Also before the first checkpoint: another process may be at work there.
        if rank_zero_only.rank == 0 and (out / DESCRIPTION).is_file():
            raise ConfigurationError(f"--out {out} already holds a run; add --resume to go on, or give another folder")
    # Orientation and spacing of these squares mean nothing; carrying them along takes a third of the loading time.
    set_track_meta(False)
    trainer = build_trainer(recipe, out, accelerator=accelerator, devices=devices, nodes=nodes, strategy=strategy)
    films, module = prepare(
        recipe,
        data,
        out,
        weights=weights,
        cache=cache or out / "cache",
        split=split,
        workers=workers,
        lungs=lungs,
        resume=resume,
    )
    trainer.fit(module, datamodule=films, ckpt_path=str(last) if resume else None)
    _log.info("done; next: python -m training.export --run %s --out FOLDER", out)


def _recipe_of(out: Path, config: Path | None, overrides: dict[str, Any]) -> Recipe:
    """Return the recipe of a run that goes on: another one would make another run of it."""
    stored = Recipe.read(out / RECIPE, {})
    given = Recipe.read(config or out / RECIPE, overrides)
    if changed := [key for key, value in stored if value != getattr(given, key)]:
        raise ConfigurationError(
            f"--resume: the run in {out} was begun with another {', '.join(changed)}; leave --config and --set out"
        )
    return stored


if __name__ == "__main__":
    start(train)
