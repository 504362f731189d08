"""``python -m training.divide --data DIR --out FILE``: training, validation and test persons, before any training."""

import logging
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from training.augmentation import drawn_side
from training.cache import PixelCache
from training.entry import start
from training.recipe import Recipe
from training.records import read_folders
from training.split import split_by_person, write_split

_log = logging.getLogger(__name__)


def divide(
    data: Annotated[list[Path], typer.Option(help="Folder in the layout of the challenge; may be repeated.")],
    out: Annotated[Path, typer.Option(help="The split.csv to write, for --split of the other commands.")],
    config: Annotated[Path | None, typer.Option(help="Recipe whose seed and held-out shares are used.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder of decoded pixels.")] = Path("cache"),
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode.")] = 2,
) -> None:
    """Divide the persons of all folders once, so that every run holds out the same."""
    recipe = Recipe.read(config, {})
    # The view, which the persons are stratified by, stands in the films.
    exams, skipped = PixelCache(cache, workers=workers).fill(read_folders(data), side=drawn_side(128), depth="uint8")
    parts = split_by_person(exams, recipe)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_split(out, exams, parts)
    for (group, part), count in sorted(Counter((exam.group, parts[exam.person].value) for exam in exams).items()):
        _log.info("%s, %s: %d exams", group, part, count)
    _log.info("%d films could not be read and stand in no part", len(skipped))


if __name__ == "__main__":
    start(divide)
