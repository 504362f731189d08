"""A run that is cut off at the end of an epoch ends, bit for bit, where one that was not does."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from tests.training.conftest import RECIPE, Challenge
from training.module import LINEAGE
from training.recipe import Recipe
from training.run import LAST, build_trainer, prepare

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    # Lightning 2.6 asks for a class that torch 2.14 has deprecated.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.slow,
    # A resumed run finds its own checkpoints.
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]

EVERYTHING = {
    **RECIPE.model_dump(),
    "epochs": 3,
    "ema_decay": 0.9,
    "patience": 3,
    "objective": {"class_weight": 0.5, "box_weight": 1.0, "focal_gamma": 1.0, "label_smoothing": 0.1},
}


class CutOff(pl.Callback):
    """End the process, as if the machine had gone down, once an epoch is kept: the schedule reckons with all epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def fit(recipe: Recipe, folder: Path, out: Path, *, workers: int, resume: bool = False, cut: int | None = None) -> None:
    """Train as `training.train` does."""
    # What the command line says of weights and split counts for a new run only: nothing is downloaded here.
    weights, settings = "imagenet" if resume else "none", {"cache": out / "cache", "workers": workers}
    films, module = prepare(recipe, [folder], out, weights=weights, split=None, resume=resume, **settings)
    trainer = build_trainer(recipe, out, progress=False)
    if cut is not None:
        trainer.callbacks.append(CutOff(cut))
    trainer.fit(module, datamodule=films, ckpt_path=str(out / LAST) if resume else None)


def flat(stored: object, name: str = "") -> dict[str, Any]:
    """Return every leaf of a checkpoint under its path."""
    if isinstance(stored, dict):
        return {path: leaf for key, value in stored.items() for path, leaf in flat(value, f"{name}/{key}").items()}
    if isinstance(stored, list | tuple):
        return {path: leaf for key, value in enumerate(stored) for path, leaf in flat(value, f"{name}/{key}").items()}
    return {name: stored}


@pytest.mark.parametrize(
    ("workers", "changes"),
    [
        (0, {}),
        (2, {}),
        (2, {"size": 64, "progressive": {0: 32, 1: 64}}),
    ],
    ids=["no worker", "two workers", "progressive"],
)
def test_every_tensor_is_the_same(challenge: Challenge, tmp_path: Path, workers: int, changes: dict[str, Any]) -> None:
    recipe, folder = Recipe.model_validate({**EVERYTHING, **changes}), challenge()
    fit(recipe, folder, tmp_path / "straight", workers=workers)
    for cut in (1, 2, None):
        fit(recipe, folder, tmp_path / "cut", workers=workers, resume=cut != 1, cut=cut)
        if cut:
            assert torch.load(tmp_path / "cut" / LAST, weights_only=True)["epoch"] == cut - 1
    kept = [flat(torch.load(tmp_path / name / LAST, weights_only=True)) for name in ("straight", "cut")]
    parts = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers")
    straight, resumed = ({k: v for k, v in one.items() if k.split("/")[1] in parts} for one in kept)
    assert straight.keys() == resumed.keys()
    assert {name.split("/")[1] for name in straight} == set(parts)
    assert any("heads" in name for name in straight)
    for name, value in straight.items():
        same = torch.equal(value, resumed[name]) if isinstance(value, Tensor) else value == resumed[name]
        assert same, name
    assert len(kept[0]["/pneumo_monai_lineage/0/persons/0"]) > 1
    assert {k: v for k, v in kept[0].items() if LINEAGE in k} == {k: v for k, v in kept[1].items() if LINEAGE in k}
    assert kept[0]["/epoch"] == kept[1]["/epoch"] == 2
    assert kept[0]["/global_step"] == kept[1]["/global_step"]
