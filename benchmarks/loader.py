"""``python -m benchmarks.loader --data DIR``: does the loader keep the trainer busy?

The same training step (network, auxiliary heads, backward pass, clipping, Adam, moving average, Lightning's loop) is
fed by the real loader, then with batches that are in memory already. The ratio of both is the loader's efficiency.
"""

import json
import logging
import os
import platform
import statistics
import time
import warnings
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
import typer
from pytorch_lightning.callbacks import EMAWeightAveraging
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from pneumo_monai.network import ResNet18
from training.augmentation import drawn_side
from training.cache import PixelCache
from training.datamodule import augmented_loader
from training.entry import start
from training.films import as_made
from training.module import PneumoniaModule
from training.recipe import Recipe, overrides_from
from training.records import Exam, read_folders

_IN_MEMORY = 4
"""Batches that are kept; more would not fit a processor's cache either."""


class Clock(pl.Callback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object, **__: object) -> None:
        """Note the time, once a GPU is done."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def loader(
    data: Annotated[list[Path], typer.Option(help="Folder in the layout of the challenge; may be repeated.")],
    cache: Annotated[Path, typer.Option(help="Folder of decoded pixels.")] = Path("cache"),
    config: Annotated[Path | None, typer.Option(help="Recipe, a YAML file as in training/configs.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the recipe.")] = None,
    size: Annotated[list[int] | None, typer.Option(help="May be repeated. [default: 128 and 224]")] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="May be repeated. [default: 32-true and bf16-mixed]")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load films.")] = 2,
    films: Annotated[int, typer.Option(min=2, help="As many films are drawn from.")] = 2000,
    warm_up: Annotated[int, typer.Option(min=1, help="Steps before the clock runs.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Steps that are timed.")] = 16,
    repeats: Annotated[int, typer.Option(min=1, help="Times each is measured, in turns.")] = 3,
    out: Annotated[Path | None, typer.Option(help="JSON file for what was measured.")] = None,
) -> None:
    """Measure images a second of a training step, from memory and through the loader."""
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    given = {"objective.class_weight": 0.5, "objective.box_weight": 1.0, **overrides_from(settings or [])}
    pixels = PixelCache(cache, workers=workers)
    exams = read_folders(data)
    exams = exams[:: max(len(exams) // films, 1)][:films]
    rows = []
    for side in size or [128, 224]:
        usable, _ = pixels.fill(exams, side=drawn_side(side), depth="uint8")
        for kind in precision or ["32-true", "bf16-mixed"]:
            recipe = Recipe.read(config, {**given, "size": side, "precision": kind, "draws": {}})
            timed = {"warm_up": warm_up, "steps": steps}
            rows.append(_compared(recipe, usable, pixels, workers=workers, repeats=repeats, **timed))
            Console().print(_table(rows))
    if out:
        out.write_text(json.dumps({"machine": _machine(), "measured": rows}, indent=2) + "\n", encoding="utf-8")


def _compared(
    recipe: Recipe, exams: list[Exam], cache: PixelCache, *, workers: int, repeats: int, warm_up: int, steps: int
) -> dict[str, Any]:
    # The loader must not run dry before the clock stops: what it has made in advance would be a present.
    drawn = recipe.batch_size * (warm_up + steps + 2 * workers + 1)
    recipe = recipe.model_copy(update={"draws_per_epoch": drawn})
    kept: list[dict[str, Tensor]] = []
    rates: dict[str, list[float]] = {"in_memory": [], "loader": []}
    for _ in range(repeats):
        feed = augmented_loader(exams, cache, recipe, size=recipe.size, mean=0.5, std=0.25, workers=workers)
        kept = kept or list(islice(feed, _IN_MEMORY))
        # Lightning would take a bare list for several loaders.
        memory = DataLoader(list(islice(cycle(kept), warm_up + steps)), batch_size=None, collate_fn=as_made)
        rates["in_memory"].append(_rate(recipe, memory, warm_up, steps))
        rates["loader"].append(_rate(recipe, feed, warm_up, steps))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "size": recipe.size,
        "precision": recipe.precision,
        "batch_size": recipe.batch_size,
        "workers": workers,
        "films": len(exams),
        "images_per_second": {name: round(value, 2) for name, value in medians.items()},
        "repeats": {name: [round(value, 2) for value in values] for name, values in rates.items()},
        "ratio": round(medians["loader"] / medians["in_memory"], 4),
    }


def _rate(recipe: Recipe, batches: DataLoader[dict[str, Tensor]], warm_up: int, steps: int) -> float:
    """Return images a second over the steps after the first ones."""
    module = PneumoniaModule(
        ResNet18(), learning_rate=recipe.learning_rate, objective=recipe.objective, positive_weight=1.0
    )
    clock = Clock()
    with warnings.catch_warnings():
        # Advice for a whole run, which this is not.
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            max_epochs=1,
            limit_train_batches=warm_up + steps,
            precision=recipe.precision,
            gradient_clip_val=recipe.gradient_clip,
            callbacks=[clock, EMAWeightAveraging(decay=0.998)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(module, train_dataloaders=batches)
    return recipe.batch_size * steps / (clock.ends[-1] - clock.ends[warm_up - 1])


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("size", "precision", "images/s, in memory", "images/s, loader", "loader / in memory")
    for row in rows:
        rates = row["images_per_second"]
        shown = (str(row["size"]), row["precision"], f"{rates['in_memory']:.1f}", f"{rates['loader']:.1f}")
        table.add_row(*shown, f"{row['ratio']:.1%}")
    return table


def _machine() -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    start(loader)
