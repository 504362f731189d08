"""Evaluation of a bundle on drawn folders: what is read, weighed, named and refused."""

import csv
import json
from pathlib import Path

import pytest

from pneumo_monai.bundle import Bundle
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.evaluation.groups import WITHOUT_NOT_NORMAL
from pneumo_monai.evaluation.mix import CHALLENGE
from tests.bundles import write_random_bundle
from tests.training.conftest import Challenge
from training.evaluate import evaluate_bundle
from training.split import Part


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(write_random_bundle(tmp_path / "bundle", preprocessing={"size": 32, "mean": 0.3, "std": 0.2}))


def test_a_bundle_on_a_folder(challenge: Challenge, bundle: Bundle, tmp_path: Path) -> None:
    folder, out = challenge(persons=4), tmp_path / "out"
    (folder / "stage_2_train_images" / "00-0.dcm").write_bytes(b"no film")
    (folder / "stage_2_train_images" / "00-1.dcm").unlink()
    found = evaluate_bundle(bundle, [folder], out, mix=CHALLENGE, resamples=20)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(found))
    assert metrics["model"]["uid"] == bundle.identity.uid
    # Nobody said whom the model was trained on, and it stands first.
    assert metrics["part"] == "all"
    assert "unknown whether the model was trained" in metrics["notes"][0]
    assert metrics["data"]["not_read"] == {"missing": 1, "unparseable": 1}
    assert [film["exam"] for film in metrics["data"]["films_not_read"]] == ["00-0", "00-1"]
    figures = metrics["all"]["films/exact"]
    assert (figures["all"]["exams"], figures["all"]["positive"]) == (6, 4)
    assert figures["all"]["localisation"]["films"] == 4
    assert {"AP", "PA", WITHOUT_NOT_NORMAL} <= figures.keys()
    assert metrics["mix"]["weighed"] == ["films/exact"]
    assert figures["all"]["prevalence"]["value"] == pytest.approx(6012 / sum(CHALLENGE.values()), abs=1e-3)
    assert len(list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))) == 6
    page = (out / "report.html").read_text()
    assert "unknown whether the model was trained" in page
    assert "00-0" in page


def test_with_a_split_only_the_persons_of_the_part_are_read(
    challenge: Challenge, bundle: Bundle, tmp_path: Path
) -> None:
    folder, split = challenge(persons=4), tmp_path / "split.csv"
    parts = ["test", "test", "training", "validation"]
    rows = "\n".join(f"x,films,P{person},{part}" for person, part in enumerate(parts))
    split.write_text(f"patientId,folder,person,part\n{rows}\n")
    found = evaluate_bundle(bundle, [folder], tmp_path / "out", split=split, resamples=20, films=False)
    assert found["part"] == "test"
    assert found["test"]["films/exact"]["all"]["persons"] == 2
    assert "never trained on" in found["held_out"]
    assert not any("Beware" in note for note in found["notes"])
    trained = evaluate_bundle(
        bundle, [folder], tmp_path / "out", split=split, part=Part.TRAINING, resamples=20, films=False
    )
    assert trained["notes"][0].startswith("Beware: the training part of the split: its persons were trained on")
    split.write_text("patientId,folder,person,part\nx,films,P0,test\n")
    with pytest.raises(ConfigurationError, match="does not know the persons"):
        evaluate_bundle(bundle, [folder], tmp_path / "out", split=split)


def test_a_folder_of_which_nothing_can_be_read_is_an_error(
    challenge: Challenge, bundle: Bundle, tmp_path: Path
) -> None:
    folder = challenge(persons=1)
    for film in (folder / "stage_2_train_images").iterdir():
        film.write_bytes(b"no film")
    with pytest.raises(ConfigurationError, match="none of the films can be read"):
        evaluate_bundle(bundle, [folder], tmp_path / "out")
