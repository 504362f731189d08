"""Two processes under gloo learn what one process does that works through the same halves of each batch."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import RECIPE, Challenge
from tests.training.test_datamodule import exams_of
from training.films import Draws, ProcessShare
from training.recipe import Recipe
from training.run import LAST

ROOT = Path(__file__).parents[2]


def start(folder: Path, out: Path, devices: int, *settings: str) -> list[dict[str, Any]]:
    """Run `share_a_batch` and return the notes of each of its processes."""
    out.mkdir()
    recipe = {
        **RECIPE.model_dump(),
        "epochs": 2,
        "ema_decay": 0.9,
        "objective": {"class_weight": 0.5, "box_weight": 1.0},
    }
    Recipe.model_validate(recipe).write(out / "given.yaml")
    command = [sys.executable, "-m", "tests.training.share_a_batch", str(folder), str(out), str(devices), *settings]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [torch.load(out / f"notes-{rank}.pt", weights_only=True) for rank in range(devices)]


@pytest.mark.slow
def test_gradients_are_those_of_one_process_that_accumulates(challenge: Challenge, tmp_path: Path) -> None:
    folder = challenge()
    (one,) = start(folder, tmp_path / "one", 1, "augment=false", "accumulate=2")
    first, second = start(folder, tmp_path / "two", 2, "augment=false")
    # Eight training films, four a step, two epochs.
    assert len(one["seen"]) == 8
    assert [one["seen"][place] for place in range(0, 8, 2)] == first["seen"]
    assert [one["seen"][place] for place in range(1, 8, 2)] == second["seen"]
    assert one["positive_weight"] == first["positive_weight"] == second["positive_weight"]
    for mine in (first, second):
        assert len(mine["gradients"]) == len(one["gradients"]) == 4
        # Only the first step starts from the same weights to the last bit.
        torch.testing.assert_close(mine["gradients"][0], one["gradients"][0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(first["gradients"], second["gradients"], rtol=0.0, atol=0.0)
    # What is validated is what is kept: the first process's statistics, figures gathered from both.
    torch.testing.assert_close(first["buffers"], second["buffers"], rtol=0.0, atol=0.0)
    for name in ("val/auroc", "val/loss", "val/true_positive"):
        assert first["figures"][name] == second["figures"][name]
    counts = ("true_negative", "false_positive", "false_negative", "true_positive")
    assert sum(first["figures"][f"val/{name}"] for name in counts) == 8
    assert torch.load(tmp_path / "two" / LAST, weights_only=True)["pneumo_monai_lineage"][0]["persons"]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_each_batch_of_the_epoch(processes: int) -> None:
    exams = exams_of(["a"] * 30, [0, 1] * 15)
    draws = Draws(exams, shares={}, count=30, seed=0)
    shares = [ProcessShare(draws, batch_size=8, rank=rank, processes=processes) for rank in range(processes)]
    for epoch in (0, 3):
        draws.set_epoch(epoch)
        whole, parts = list(draws), []
        for share in shares:
            share.set_epoch(epoch)
            parts.append(list(share))
            assert len(parts[-1]) == len(share) == 24 // processes
        mine = 8 // processes
        for step in range(3):
            together = [item for part in parts for item in part[step * mine : (step + 1) * mine]]
            assert together == whole[8 * step : 8 * step + 8]
        assert len({place for part in parts for place, _ in part}) == 24
