"""A run of one step, started by a test as a user starts one: ``python -m`` this module, see `test_processes.py`."""

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from training.recipe import Recipe, overrides_from
from training.run import build_trainer, prepare


class Notes(pl.Callback):
    """Writes down what each process met and what it was about to step with."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.seen: list[list[int]] = []
        self.gradients: list[dict[str, torch.Tensor]] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: dict[str, Any], batch_idx: int
    ) -> None:
        self.seen.append(batch["index"].tolist())

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.gradients.append({name: value.grad.clone() for name, value in pl_module.named_parameters()})

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        found = {
            "seen": self.seen,
            "gradients": self.gradients,
            "buffers": dict(pl_module.network.named_buffers()),
            "figures": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "positive_weight": pl_module.positive_weight,
        }
        torch.save(found, self.out / f"notes-{trainer.global_rank}.pt")


def main(data: str, out: str, devices: str, *settings: str) -> None:
    """Train as `training.train` does."""
    folder = Path(out)
    recipe = Recipe.read(folder / "given.yaml", overrides_from(settings))
    trainer = build_trainer(recipe, folder, progress=False, accelerator="cpu", devices=int(devices))
    trainer.callbacks.append(Notes(folder))
    films, module = prepare(recipe, [Path(data)], folder, weights="none", cache=folder / "cache", split=None, workers=0)
    trainer.fit(module, datamodule=films)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
