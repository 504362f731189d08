"""The benchmark runs, and writes what it measured."""

import json
from pathlib import Path

import pytest

from benchmarks.loader import loader
from tests.training.conftest import Challenge


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_both_ways_are_measured(challenge: Challenge, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader(
        data=[challenge()],
        cache=tmp_path / "cache",
        settings=["batch_size=4"],
        size=[32],
        precision=["bf16-mixed"],
        workers=0,
        films=8,
        warm_up=1,
        steps=1,
        repeats=2,
        out=tmp_path / "loader.json",
    )
    (row,) = json.loads((tmp_path / "loader.json").read_text())["measured"]
    assert (row["size"], row["precision"], row["films"]) == (32, "bf16-mixed", 8)
    assert row["ratio"] > 0.0
    assert len(row["repeats"]["loader"]) == len(row["repeats"]["in_memory"]) == 2
    assert "bf16-mixed" in capsys.readouterr().out
