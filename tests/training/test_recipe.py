"""A recipe is read, overridden and written; what is wrong with it is said."""

from pathlib import Path

import pytest

from pneumo_monai.errors import ConfigurationError
from training.recipe import LungRecipe, Recipe

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
