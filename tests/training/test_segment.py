"""The U-Net that finds the lungs, from drawn films to a run whose films are cut by it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.network import LungNet
from tests.training.conftest import RECIPE, Challenge
from training.cache import PixelCache
from training.datamodule import Films
from training.divide import divide
from training.records import read_folder
from training.segment import LUNGS, dice, read_mask, segment

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    # Eight drawn films make few batches.
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step"),
]


def with_masks(folder: Path) -> Path:
    """Give every film of a drawn folder a mask of two fields."""
    (folder / "lung_masks").mkdir()
    mask = np.zeros((48, 40), dtype=np.uint8)
    mask[8:40, 4:17] = mask[8:40, 23:36] = 255
    for exam in read_folder(folder):
        Image.fromarray(mask).convert("1").save(folder / "lung_masks" / f"{exam.patient_id}.png")
    return folder


def test_from_films_with_masks_to_films_cut_by_the_network(challenge: Challenge, tmp_path: Path) -> None:
    folder, split, out = with_masks(challenge()), tmp_path / "split.csv", tmp_path / "fields"
    recipes = {"whole": tmp_path / "whole.yaml", "lungs": tmp_path / "lungs.yaml"}
    RECIPE.write(recipes["whole"])
    recipes["lungs"].write_text("epochs: 1\nbatch_size: 4\n")
    divide(data=[folder], out=split, config=recipes["whole"], cache=tmp_path / "cache", workers=0)
    with split.open() as stream:
        parts = {row["person"]: row["part"] for row in csv.DictReader(stream)}
    assert sorted(set(parts.values())) == ["test", "training", "validation"]
    segment(data=[folder], split=split, out=out, config=recipes["lungs"], cache=tmp_path / "cache", workers=0)
    state = torch.load(out / LUNGS, weights_only=True)
    assert all(value.dtype == torch.float16 for value in state.values() if value.is_floating_point())
    LungNet().load_state_dict(state)
    figures = json.loads((out / "dice.json").read_text())
    assert figures["test"]["films"]["all"]["exams"] == sum(part == "test" for part in parts.values()) * 2
    assert 0.0 <= figures["test"]["films"]["all"]["low"] <= figures["test"]["films"]["all"]["value"] <= 1.0

    films = Films([folder], RECIPE, cache=tmp_path / "cache", split=split, lungs=out / LUNGS)
    films.setup()
    assert films.parts == parts
    whole = Films([folder], RECIPE, cache=tmp_path / "cache", split=split)
    whole.setup()
    assert films.mean != whole.mean


def test_a_film_that_is_cut_is_its_own_mask(challenge: Challenge) -> None:
    exam = read_folder(challenge())[0]
    square = np.zeros((147, 147), dtype=np.uint8)
    square[20:100, 20:60] = 120
    square[50, 40] = 0
    mask = read_mask(exam, square, is_cut=True)
    assert mask is not None
    assert mask[50, 40] == 255
    assert mask[10, 10] == 0
    assert read_mask(exam, square, is_cut=False) is None


def test_without_masks_there_is_nothing_to_learn(challenge: Challenge, tmp_path: Path) -> None:
    folder = challenge()
    RECIPE.write(tmp_path / "recipe.yaml")
    cache = {"cache": tmp_path / "cache", "workers": 0}
    divide(data=[folder], out=tmp_path / "split.csv", config=tmp_path / "recipe.yaml", **cache)
    with pytest.raises(ConfigurationError, match=r"lung_masks/<patientId>\.png"):
        segment(data=[folder], split=tmp_path / "split.csv", out=tmp_path / "out", config=None, **cache)


def test_dice_of_halves() -> None:
    found = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    found[..., :2] = True
    true = torch.zeros(1, 1, 4, 4)
    true[..., 1:3] = 1.0
    assert float(dice(found, true)[0]) == pytest.approx(0.5)
    assert float(dice(true > 0, true)[0]) == 1.0


def test_the_cache_keeps_whole_and_cut_squares_apart(challenge: Challenge, tmp_path: Path) -> None:
    exams = read_folder(challenge(persons=2))
    torch.manual_seed(0)
    torch.save(LungNet().state_dict(), tmp_path / "lungs.pt")
    whole, cut = PixelCache(tmp_path / "cache"), PixelCache(tmp_path / "cache", lungs=tmp_path / "lungs.pt")
    first, second = (cache.fill(exams, side=64, depth="uint8")[0][0] for cache in (whole, cut))
    assert first.content == second.content
    assert not np.array_equal(whole.square(first, side=64, depth="uint8"), cut.square(second, side=64, depth="uint8"))
