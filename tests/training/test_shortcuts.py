"""What is no finding: measured on drawn films, predicted from, and a network that leans on it found out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom import dcmread

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.geometry import Window
from pneumo_monai.network import LungNet
from tests.training.conftest import RECIPE, Challenge
from training.cache import PixelCache
from training.facts import FACTS, Fact, matrix, measure
from training.logistic import cross_validated, fit
from training.outoffold import Pooled, write_predictions
from training.records import Exam, read_folders
from training.reliance import reliance
from training.shortcuts import shortcuts

SIDE = 147


@pytest.fixture
def exam(challenge: Challenge, tmp_path: Path) -> Exam:
    return PixelCache(tmp_path / "cache").fill(read_folders([challenge("films")])[:1], side=SIDE, depth="uint8")[0][0]


def test_every_fact_is_measured(exam: Exam, tmp_path: Path) -> None:
    film = dcmread(exam.path)
    film.PatientAge, film.PatientSex, film.PixelSpacing = "051Y", "F", [0.2, 0.2]
    film.save_as(exam.path)
    square = np.zeros((SIDE, SIDE), dtype=np.uint8)
    facts = measure(exam, square, np.tri(128, dtype=bool))
    assert set(facts) == set(FACTS)
    assert facts["view"].words == ("AP",)
    assert facts["size and spacing"].words == ("0.2\\0.2",)
    assert list(facts["sex and age"].numbers) == [51.0, 51.0**2]
    assert facts["lung area"].numbers[0] == pytest.approx(0.5, abs=0.01)
    assert len(facts["thumbnail"].numbers) == len(facts["lung outline"].numbers) == 64
    assert np.isnan(measure(exam, square, None)["lung area"].numbers[0])


def test_letters_are_marks_and_a_shoulder_is_none(exam: Exam) -> None:
    whole = replace(exam, rows=SIDE, columns=SIDE, window=Window.whole(SIDE, SIDE))
    film = np.full((SIDE, SIDE), 60, dtype=np.uint8)
    film[:40, :40] = 200
    assert sum(measure(whole, film, None)["burned-in marks"].numbers) == 0.0
    film[10:14, 120:124] = 250
    marks = measure(whole, film, None)["burned-in marks"].numbers
    assert marks[1] > 0.0
    assert sum(marks) == marks[1]


def test_the_border_is_that_of_the_film_not_of_its_padding(exam: Exam) -> None:
    square = np.zeros((SIDE, SIDE), dtype=np.uint8)
    wide = round(SIDE * exam.columns / exam.rows)
    left = (SIDE - wide) // 2
    square[:, left : left + wide] = 255
    assert list(measure(exam, square, None)["border"].numbers) == [1.0, 0.0] * 4


def test_words_and_unknown_numbers_become_features() -> None:
    facts = [Fact([1.0, 5.0], ("a",)), Fact([3.0, 5.0], ("b",)), Fact([float("nan"), 5.0], ("a",))]
    features = matrix(facts)
    # The first number, whether it is known, and the two words; the second number is the same for all.
    assert features.shape == (3, 4)
    assert features.mean(axis=0) == pytest.approx(0.0)
    assert features.std(axis=0) == pytest.approx(1.0)
    assert features[2, 0] == pytest.approx(0.0)
    assert matrix([Fact(words=("a",))] * 3).shape == (3, 0)


def test_a_label_is_predicted_where_it_can_be() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 3))
    labels = (features[:, 0] + 0.5 * random.normal(size=400) > 0).astype(np.int64)
    folds = np.arange(400) % 5
    logits = cross_validated(features, labels, folds, np.ones(400))
    assert ((logits > 0) == labels).mean() > 0.8
    coefficients, _ = fit(features, labels, np.ones(400))
    assert coefficients[0] > 5 * abs(coefficients[1:]).max()
    # A film that counts twice is two films.
    twice = fit(np.vstack([features, features[:50]]), np.concatenate([labels, labels[:50]]), np.ones(450))
    weighed = fit(features, labels, np.where(np.arange(400) < 50, 2.0, 1.0))
    assert weighed[0] == pytest.approx(twice[0], abs=1e-4)


def test_a_network_that_goes_by_a_fact_is_found_out() -> None:
    random = np.random.default_rng(0)
    view = random.integers(0, 2, 600)
    labels = (random.random(600) < np.where(view == 1, 0.7, 0.2)).astype(np.int64)
    persons, features = [str(place) for place in range(600)], view[:, None].astype(float)
    noise = random.normal(size=600)
    leaning = reliance(view + 0.01 * noise, labels, persons, features, features[:, 0], resamples=50)
    honest = reliance(labels + noise, labels, persons, features, features[:, 0], resamples=50)
    assert leaning["auroc"]["value"] > 0.7
    assert leaning["auroc_among_like"]["high"] < 0.6
    assert leaning["within_negatives"]["low"] > 0.7
    assert honest["auroc_among_like"]["value"] > 0.7
    assert honest["within_negatives"]["low"] < 0.0 < honest["within_negatives"]["high"]


def test_shortcuts_are_written_by_group_and_pool(challenge: Challenge, tmp_path: Path) -> None:
    folders = [challenge("films", persons=40), challenge("again", persons=24)]
    exams = read_folders(folders)
    pooled = [Pooled(exam=exam, logit=float(exam.target), spread=0.0, readings=1) for exam in exams]
    write_predictions(tmp_path / "predictions.csv", pooled)
    RECIPE.model_copy(update={"draws": {"films/exact": 0.9, "again/exact": 0.1}}).write(tmp_path / "mixed.yaml")
    out = tmp_path / "out"
    settings = {"cache": tmp_path / "cache", "cut": ["again"], "resamples": 20}
    pools = ["films/exact, again/exact"]
    shortcuts(folders, out, pools, [tmp_path / "mixed.yaml"], predictions=tmp_path / "predictions.csv", **settings)
    result = json.loads((out / "shortcuts.json").read_text())
    assert set(result["groups"]) == {"films/exact", "again/exact", "films/exact + again/exact", "as mixed draws"}
    figures = result["groups"]["films/exact"]["auroc"]
    assert figures["source"] is None
    # Positives are the brighter films.
    assert figures["grey levels"]["value"] == 1.0
    assert result["groups"]["films/exact + again/exact"]["auroc"]["source"] is not None
    assert result["model"]["films/exact"]["view"]["auroc"]["value"] == 1.0
    table = (out / "shortcuts.md").read_text()
    assert "| source | the same for all |" in table
    assert "The network on again/exact: AUROC 1.00" in table


def test_what_is_left_after_the_cut_is_measured(challenge: Challenge, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(LungNet().state_dict(), tmp_path / "lungs.pt")
    settings = {"cache": tmp_path / "cache", "resamples": 20, "as_cut": True}
    folder = challenge("films", persons=20)
    shortcuts([folder], tmp_path / "out", lungs=tmp_path / "lungs.pt", **settings)
    assert (
        "lung area" in json.loads((tmp_path / "out" / "shortcuts.json").read_text())["groups"]["films/exact"]["auroc"]
    )
    with pytest.raises(ConfigurationError, match="--as-cut needs --lungs"):
        shortcuts([folder], tmp_path / "out", **settings)


def test_a_pool_of_unknown_groups_is_refused(challenge: Challenge, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no film is in other/exact; the groups are \['films/exact'\]"):
        shortcuts([challenge("films")], tmp_path / "out", ["other/exact"], cache=tmp_path / "cache")
