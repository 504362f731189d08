"""A recipe is read, overridden and written; what is wrong with it is said."""

import re
from pathlib import Path

import pytest

from pneumo_monai.errors import ConfigurationError
from training.recipe import LungRecipe, Objective, Recipe, overrides_from

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_recipe_of_the_repository_is_valid(file: Path) -> None:
    (LungRecipe if file.stem == "lungs" else Recipe).read(file, {})


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("size: 128\nepochs: 3\n")
    recipe = Recipe.read(file, {"epochs": 5})
    assert (recipe.size, recipe.epochs, recipe.seed) == (128, 5, 0)
    recipe.write(file)
    assert Recipe.read(file, {}) == recipe


def test_every_key_can_be_set_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("draws: {a/exact: 0.5}\npatience: 3\nprogressive: {0: 64}\n")
    settings = [
        "objective.focal_gamma=2",
        "draws.b/exact=0.25",
        "split_by_group.a/exact.test=0.5",
        "progressive.0=96",
        "patience=null",
        "select_on=[a/exact]",
        "learning_rate=1e-3",
        "precision=bf16-mixed",
        "notes=x = y",
    ]
    recipe = Recipe.read(file, overrides_from(settings))
    assert recipe.objective == Objective(focal_gamma=2.0)
    assert recipe.draws == {"a/exact": 0.5, "b/exact": 0.25}
    assert recipe.split_by_group["a/exact"].test == 0.5
    assert (recipe.progressive, recipe.patience, recipe.select_on) == ({0: 96}, None, ["a/exact"])
    assert (recipe.learning_rate, recipe.precision, recipe.notes) == (1e-3, "bf16-mixed", "x = y")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("objective.focal_gama=2", "objective.focal_gama is no key; the keys are positive_weight, focal_gamma"),
        ("split_by_group.a/exact.tests=1", "tests is no key; the keys are validation, test"),
        ("sise=96", "sise is no key; the keys are size"),
        ("size", "give KEY=VALUE"),
        ("size={", "is no YAML"),
        ("precision=fp16", "precision"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_named(setting: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Recipe.read(None, overrides_from([setting]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sise: 128", "sise"),
        ("size: 100", "size"),
        ("split: {test: 0.7, validation: 0.5}", "more than all"),
        ("progressive: {0: 100}", "progressive"),
        ("- size", "recipe.yaml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        Recipe.read(file, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml cannot be read"):
        Recipe.read(tmp_path / "none.yaml", {})


def test_every_key_has_its_row() -> None:
    text = (CONFIGS.parent / "README.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `([a-z_.]+)` \| [^|]+ \| [^|]+ \|$", text, re.MULTILINE)
    keys = [
        f"{name}.{inner}" if name == "objective" else name
        for name in Recipe.model_fields
        for inner in (Objective.model_fields if name == "objective" else [""])
    ]
    assert sorted(documented) == sorted(keys)
