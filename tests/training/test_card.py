"""The model card says what the bundle says, and nothing is lost of a section that this version does not know."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pneumo_monai.bundle import PACKAGED
from training.card import CARD, card, write
from training.entry import start


@pytest.fixture
def described() -> dict[str, Any]:
    return json.loads((PACKAGED / "configs" / "metadata.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [CARD, PACKAGED / "docs" / "README.md"], ids=["docs", "bundle"])
def test_the_card_is_the_one_of_the_packaged_bundle(page: Path, described: dict[str, Any]) -> None:
    assert page.read_text(encoding="utf-8") == card(described), "run: python -m training.card"


def test_what_a_reader_must_know_is_on_the_card(described: dict[str, Any]) -> None:
    text = card(described)
    assert "Research use only; not a medical device." in text[:200]
    assert "adult (18 and over)" in text
    for sentence in (
        *described["limitations"],
        *described["data_citations"],
        described["pneumo_monai"]["training"]["notes"],
    ):
        assert sentence in text
    point = described["pneumo_monai"]["operating_point"]
    assert f"{point['threshold']:.4f}" in text
    for chapter in ("Model", "Intended use", "Limits", "Training", "Data", "Evaluation", "Ethical considerations"):
        assert f"\n## {chapter}\n" in text
    assert ("\n## Gate\n" in text) is (described["pneumo_monai"]["gate"] is not None)


def test_every_figure_of_the_test_part_is_on_the_card(described: dict[str, Any]) -> None:
    text = card(described)
    for group, subsets in described["pneumo_monai"]["evaluation"]["test"].items():
        chapter = text.split(f"### Test part, {group}\n", 1)[1].split("\n## ")[0].split("\n### ")[0]
        for name, values in subsets.items():
            rows = "\n".join(line for line in chapter.splitlines() if line.startswith(f"| {name} |"))
            assert f"{values['exams']} ({values['positive']})" in rows
            for figure in (value for value in values.values() if isinstance(value, dict) and "value" in value):
                assert "{value:.3f} ({low:.3f} to {high:.3f})".format(**figure) in rows


def test_sections_and_figures_that_not_every_bundle_has_have_their_place(described: dict[str, Any]) -> None:
    figure = {"value": 0.731, "low": 0.702, "high": 0.755}
    shown = "0.731 (0.702 to 0.755)"
    contract = described["pneumo_monai"]
    contract["gate"] = {"weights_sha256": "0" * 64, "threshold": 0.25, "false_refusals": {"test": figure}}
    contract["lungs"] = {"weights_sha256": "1" * 64, "dice": {"test": {"films": {"all": {"exams": 31, **figure}}}}}
    evaluation = contract["evaluation"]
    evaluation |= {"mix": {"weighed": ["a/b", "c/d"], "classes": {"Normal": 8851}}, "prevalence": 0.05, "curve": [1, 2]}
    evaluation["operating_point"]["chosen"] = "the highest threshold of them all"
    (group, *_) = evaluation["test"]
    plain = ("exams", "persons", "positive", "confusion_matrix", "auroc", "average_precision", "sensitivity")
    subsets = {"all": {key: evaluation["test"][group]["all"][key] for key in plain}}
    evaluation["test"] = {group: subsets}
    subsets["all"] |= {"brier": figure, "calibration_slope": figure, "recall": figure, "novel_index": figure}
    subsets["all"] |= {"by": "", "classes": {"Normal": 3}, "before_calibration": {"brier": figure}}
    subsets["all"]["localisation"] = {"films": 7, "pointing_game": figure}
    subsets["sex F"] = {"exams": 5, "persons": 4, "positive": 0, "specificity": figure}
    text = card(described)
    for line in (
        f"| false_refusals, test | {shown} |",
        f"| dice, test, films, all | {shown}, 31 exams |",
        f"| weights_sha256 | `{'0' * 64}` |",
        "- mix, weighed: a/b, c/d.",
        "- mix, classes, Normal: 8851.",
        "- prevalence: 0.05.",
        f"| sex F | 4 | 5 (0) |  |  |  | {shown} |",
        "| films | Brier score | calibration slope |",
        "| films | novel index |",
    ):
        assert f"\n{line}\n" in text
    assert "The rule: the highest threshold of them all." in text
    assert f"Before calibration:\n\n| films | Brier score |\n| --- | --- |\n| all | {shown} |" in text
    assert f"Localisation:\n\n| films | pointing game |\n| --- | --- |\n| all | {shown} |" in text
    assert "recall" not in text
    assert "curve" not in text


def test_every_table_is_one(described: dict[str, Any]) -> None:
    described["task"] = "one | other"
    blocks = [block.splitlines() for block in card(described).split("\n\n") if block.startswith("|")]
    assert len(blocks) > 5
    for block in blocks:
        assert len({line.replace("\\|", "").count("|") for line in block}) == 1


def test_the_command_writes_the_card_of_any_bundle(
    tmp_path: Path, described: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(described | {"name": "other"}))
    (tmp_path / "docs").mkdir()
    before = CARD.read_bytes()
    write(bundle=tmp_path)
    assert (tmp_path / "docs" / "README.md").read_text().startswith("# Model card: other ")
    assert CARD.read_bytes() == before
    monkeypatch.setattr(sys, "argv", ["card", "--bundle", str(tmp_path / "configs")])
    with pytest.raises(SystemExit) as stopped:
        start(write)
    assert stopped.value.code == 2
    assert "is no MONAI Bundle" in caplog.text
