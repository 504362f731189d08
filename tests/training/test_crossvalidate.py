"""Cross-validation on drawn films: who is held out, what is written, what is refused, and two results compared."""

import csv
import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.network import ResNet18
from tests.training.conftest import RECIPE, Challenge
from tests.training.test_commands import call
from training.compare import compare, differences
from training.crossvalidate import crossvalidate
from training.crossvalidation import CrossValidation, Sitting, normalisation
from training.folds import Chosen, choose, deal, set_aside
from training.module import LINEAGE
from training.outoffold import PREDICTIONS, RESULT, pool, read_predictions
from training.recipe import Recipe
from training.records import read_folders
from training.shortcuts import shortcuts
from training.split import Part, split_by_person, write_split
from training.weighing import CHALLENGE_MIX

pytestmark = [
    # Lightning advises loader processes, which a test of a few films does without.
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    # Lightning 2.6 asks for a class that torch 2.14 has deprecated.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]

GROUP = "films/exact"


def write_run(folder: Path, *, persons: list[str]) -> Path:
    """Write what cross-validation needs of a finished run; return its checkpoint."""
    torch.manual_seed(0)
    (folder / "checkpoints").mkdir(parents=True)
    state = {f"network.{name}": value for name, value in ResNet18().state_dict().items()}
    lineage = [{"persons": persons, "initial_weights": "none"}]
    torch.save({"state_dict": state, LINEAGE: lineage}, folder / "checkpoints" / "best.ckpt")
    (folder / "run.json").write_text(json.dumps({"mean": 0.4, "std": 0.2}))
    RECIPE.write(folder / "recipe.yaml")
    return folder / "checkpoints" / "best.ckpt"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    RECIPE.model_copy(update={"epochs": 1}).write(tmp_path / "recipe.yaml")
    return tmp_path / "recipe.yaml"


def test_persons_are_dealt_into_like_folds_and_never_divided(challenge: Challenge) -> None:
    exams = read_folders([challenge("films"), challenge("again", persons=5)])
    fold_of = deal(exams, folds=3, seed=0)
    assert sorted(fold_of) == sorted({exam.person for exam in exams})
    assert set(Counter(fold_of.values()).values()) == {4}
    positive = Counter(fold_of[exam.person] for exam in exams if exam.folder == "films" and exam.target)
    assert set(positive.values()) == {4}
    assert deal(exams[::-1], folds=3, seed=0) == fold_of
    assert deal(exams, folds=3, seed=1) != fold_of
    with pytest.raises(ConfigurationError, match="no more than the 12 persons"):
        deal(exams, folds=13, seed=0)


def test_each_film_is_read_by_networks_that_never_saw_its_person(challenge: Challenge, tmp_path: Path) -> None:
    folders = [challenge("films"), challenge("again", persons=6)]
    recipe = RECIPE.model_copy(update={"epochs": 1, "draws_per_epoch": 8})
    validation = CrossValidation(
        folders, recipe, weights="none", groups=[Chosen(GROUP)], cache=tmp_path / "cache", workers=0
    )
    sittings = []
    for sitting in validation.run(folds=2, repeats=2):
        trained = {exam.person for exam in validation.films.part(Part.TRAINING)}
        assert trained.isdisjoint(exam.person for exam in sitting.exams)
        assert {exam.folder for exam in validation.films.part(Part.TRAINING)} == {"films", "again"}
        sittings.append(sitting)
    pooled = pool(sittings, is_common=False)
    assert len(sittings) == 4
    assert len(pooled) == 24
    assert {row.readings for row in pooled} == {2}
    assert len({sitting.logits.round(4).tobytes() for sitting in sittings}) == 4


def test_logits_come_to_one_scale_before_they_are_averaged(challenge: Challenge) -> None:
    exams = read_folders([challenge("films")])[:6]
    ranks = np.array([-1.5, -1.0, -0.5, 0.5, 1.0, 1.5])
    sittings = [
        Sitting(repeat=place, fold=0, group=GROUP, exams=exams, logits=scale * ranks + offset)
        for place, (scale, offset) in enumerate([(1.0, 0.0), (7.0, -20.0)])
    ]
    pooled = pool(sittings, is_common=False)
    assert [row.logit for row in pooled] == pytest.approx(ranks / ranks.std())
    assert max(row.spread for row in pooled) == pytest.approx(0.0, abs=1e-12)
    flat = pool([Sitting(repeat=0, fold=0, group=GROUP, exams=exams, logits=np.ones(6))], is_common=False)
    assert {row.logit for row in flat} == {0.0}


def test_a_result_is_written_and_shown_as_a_row(
    challenge: Challenge, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [challenge("films"), challenge("again", persons=6)]
    settings = {"cache": tmp_path / "cache", "config": config, "folds": 2, "repeats": 1, "resamples": 20}
    crossvalidate(folders, "none", tmp_path / "a", group=GROUP, also=["again/exact"], why="A try.", **settings)
    result = json.loads((tmp_path / "a" / RESULT).read_text())
    figures = result["groups"][GROUP]
    assert figures["all"]["exams"] == 24
    assert set(figures) >= {"AP", "PA", "against Normal", "against No Lung Opacity / Not Normal", "within_folds"}
    assert set(figures["AP"]["weighed"]) == {"auroc", "average_precision"}
    assert result["mix"] == CHALLENGE_MIX
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| a |")]
    assert [row.count(" | ") for row in rows] == [9, 9]
    assert rows[0].endswith("| A try. |")
    with (tmp_path / "a" / PREDICTIONS).open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 36
    with pytest.raises(ConfigurationError, match="already holds a result"):
        crossvalidate(folders, "none", tmp_path / "a", group=GROUP, **settings)


def test_weights_are_read_as_they_are_with_the_constants_of_their_run(challenge: Challenge, tmp_path: Path) -> None:
    weights = write_run(tmp_path / "run", persons=["somebody else"])
    assert normalisation(str(weights)) == (0.4, 0.2)
    out = tmp_path / "b"
    settings = {"cache": tmp_path / "cache", "resamples": 20, "group": GROUP}
    crossvalidate([challenge("films")], str(weights), out, train=False, **settings)
    result = json.loads((out / RESULT).read_text())
    assert not result["fine_tuned"]
    assert Recipe.read(out / "recipe.yaml", {}).size == RECIPE.size
    assert "persons" not in result["lineage"][0]
    assert len(read_predictions(out / PREDICTIONS)) == 24


def test_a_person_whom_the_weights_know_is_not_evaluated(challenge: Challenge, tmp_path: Path) -> None:
    folder = challenge("films")
    weights = write_run(tmp_path / "run", persons=["P1", "P2"])
    settings = {"cache": tmp_path / "cache", "train": False, "resamples": 20}
    with pytest.raises(ConfigurationError, match="trained on 2 persons of films/exact"):
        crossvalidate([folder], str(weights), tmp_path / "out", group=GROUP, **settings)
    exams = read_folders([folder])
    parts = dict.fromkeys((exam.person for exam in exams), Part.TRAINING) | {"P3": Part.TEST, "P4": Part.TEST}
    write_split(tmp_path / "split.csv", exams, parts)
    crossvalidate(
        [folder], str(weights), tmp_path / "out", group=f"{GROUP}:test", split=tmp_path / "split.csv", **settings
    )
    assert {film.person for film in read_predictions(tmp_path / "out" / PREDICTIONS)} == {"P3", "P4"}


def test_nobody_who_is_kept_for_later_is_used(challenge: Challenge, tmp_path: Path) -> None:
    folders = [challenge("films"), challenge("again")]
    exams = read_folders(folders)
    parts = split_by_person(exams, RECIPE)
    write_split(tmp_path / "split.csv", exams, parts)
    chosen = choose(exams, Chosen.parse("films/exact:validation"), tmp_path / "split.csv")
    assert {parts[exam.person] for exam in chosen} == {Part.VALIDATION}
    used = set_aside(exams, chosen, tmp_path / "split.csv")
    assert {parts[exam.person] for exam in used} == {Part.VALIDATION, Part.TRAINING}
    assert set_aside(exams, chosen, None) == exams


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("films/exact:half", "half is no part"),
        ("other/exact", "no film of other/exact can be evaluated; the groups are films/exact"),
        ("films/exact:test", "needs --split"),
    ],
)
def test_a_group_that_cannot_be_judged(challenge: Challenge, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        choose(read_folders([challenge("films")]), Chosen.parse(text), None)


def test_weights_that_lie_nowhere_cannot_be_read_with_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing beside them says how films are normalised"):
        normalisation(str(tmp_path / "some" / "weights.pt"))


def test_experiments_are_compared_on_the_same_resampled_persons(
    challenge: Challenge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exams = read_folders([challenge("films")])
    random = np.random.default_rng(0)
    noise = random.normal(size=len(exams))
    films = [
        row.film for row in pool([Sitting(repeat=0, fold=0, group=GROUP, exams=exams, logits=noise)], is_common=True)
    ]
    better = [replace(film, score=film.score + 3.0 * film.target) for film in films]
    gain = differences(films, better, mix=CHALLENGE_MIX, resamples=200)[GROUP]["all"]["weighed"]
    assert gain["low"] > 0.0
    assert gain["above_zero"] == 1.0
    assert gain["value"] == pytest.approx(gain["second"] - gain["first"], abs=2e-4)
    same = differences(films, films, mix=CHALLENGE_MIX, resamples=50)[GROUP]["all"]["unweighed"]
    assert (same["low"], same["value"], same["high"]) == (0.0, 0.0, 0.0)
    with pytest.raises(ConfigurationError, match="share no film"):
        differences(films, [], mix=CHALLENGE_MIX)
    with pytest.raises(ConfigurationError, match="another label"):
        differences(films, [replace(film, target=1 - film.target) for film in films], mix=CHALLENGE_MIX)


def test_two_result_folders_are_compared(
    challenge: Challenge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"cache": tmp_path / "cache", "group": GROUP, "resamples": 20, "train": False}
    for name in ("a", "b"):
        weights = write_run(tmp_path / f"run-{name}", persons=[])
        crossvalidate(
            [tmp_path / "films"] if name == "b" else [challenge("films")], str(weights), tmp_path / name, **settings
        )
    compare(tmp_path / "a", tmp_path / "b", tmp_path / "difference.json", resamples=20)
    assert json.loads((tmp_path / "difference.json").read_text())[GROUP]["all"]["weighed"]["value"] == 0.0
    assert "| films/exact | AP, " in capsys.readouterr().out


@pytest.mark.parametrize("command", [crossvalidate, compare, shortcuts])
def test_help_describes_every_option(
    command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert call(command, "--help", monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out.lower()
    for name in command.__annotations__:
        if name != "return":
            assert name.replace("_", "-") in shown


def test_what_the_user_must_change_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a").mkdir()
    with caplog.at_level(logging.ERROR):
        assert call(compare, str(tmp_path / "a"), str(tmp_path / "b"), monkeypatch=monkeypatch) == 2
    assert "is no predictions.csv of training.crossvalidate" in caplog.text
