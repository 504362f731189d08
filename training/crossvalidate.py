"""``python -m training.crossvalidate --data DIR --weights FILE --out DIR``: what an experiment is worth."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from monai.data import set_track_meta

from pneumo_monai.errors import ConfigurationError
from training.crossvalidation import CrossValidation, Sitting, normalisation, recipe_of
from training.entry import start
from training.folds import Chosen
from training.outoffold import PREDICTIONS, RESULT, judge, pool, write_predictions, write_result
from training.recipe import Recipe
from training.records import NORMAL, NOT_NORMAL
from training.weighing import CHALLENGE_MIX, RESAMPLES

__all__ = ["crossvalidate", "table_row"]

DEFAULT_GROUP = "nih-frontal/radiologist"

_log = logging.getLogger(__name__)


def crossvalidate(
    data: Annotated[list[Path], typer.Option(help="Folder in the layout of the challenge; may be repeated.")],
    weights: Annotated[str, typer.Option(help="imagenet, none, or a file: state dict, checkpoint or model.pt.")],
    out: Annotated[Path, typer.Option(help="Folder for predictions.csv and result.json.")],
    config: Annotated[
        Path | None, typer.Option(help="Recipe of the fine-tuning. [default: that of the run of the weights]")
    ] = None,
    group: Annotated[
        str, typer.Option(help="Films that are judged, GROUP or GROUP:PART with --split.")
    ] = DEFAULT_GROUP,
    also: Annotated[
        list[str] | None, typer.Option(help="Another group that is held out and judged likewise; may be repeated.")
    ] = None,
    lungs: Annotated[
        Path | None, typer.Option(help="lungs.pt of training.segment: films are cut to their lungs.")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="split.csv: of persons not judged only its training part is used.")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Fine-tune in each fold, or read with the weights as they are.")
    ] = True,
    folds: Annotated[int, typer.Option(min=2, help="Parts that persons are dealt into.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="How often they are dealt anew.")] = 3,
    name: Annotated[str, typer.Option(help="Of the experiment. [default: that of the folder]")] = "",
    why: Annotated[str, typer.Option(help="What the experiment asks, for the table.")] = "",
    cache: Annotated[Path, typer.Option(help="Folder of decoded pixels.")] = Path("cache"),
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode and load films.")] = 0,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples behind every interval.")] = RESAMPLES,
    size: Annotated[int | None, typer.Option(help="Overrides the recipe.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Overrides the recipe.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Overrides the recipe.")] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the recipe.")] = None,
) -> None:
    """Judge weights, or a way to fine-tune them, on films of persons whom no network that reads them has seen."""
    if (out / RESULT).is_file():
        raise ConfigurationError(f"--out {out} already holds a result; give another folder")
    given = {"size": size, "epochs": epochs, "learning_rate": learning_rate, "seed": seed}
    recipe = recipe_of(weights, config, given)
    set_track_meta(False)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    validation = CrossValidation(
        data,
        recipe,
        weights=weights,
        groups=[Chosen.parse(text) for text in (group, *(also or []))],
        split=split,
        cache=cache,
        lungs=lungs,
        workers=workers,
    )
    if train:
        sittings = _followed(validation, folds=folds, repeats=repeats)
    else:
        mean, std = normalisation(weights)
        sittings = list(validation.read_as_they_are(mean=mean, std=std))
    described = {
        "name": name or out.resolve().name,
        "why": why,
        "weights": weights if weights in {"imagenet", "none"} else "file",
        "fine_tuned": train,
        "films": "cut to their lungs" if lungs else "whole",
        "folds": folds if train else None,
        "repeats": repeats if train else None,
        "mix": recipe.mix or CHALLENGE_MIX,
        "intervals": f"95 %, {resamples} bootstrap resamples of persons",
        "recipe": recipe.model_dump(mode="json"),
        "lineage": [{key: value for key, value in run.items() if key != "persons"} for run in validation.lineage],
        "films_skipped": len(validation.films.skipped),
    }
    _conclude(out, sittings, described, recipe, is_common=not train, resamples=resamples)


def _followed(validation: CrossValidation, *, folds: int, repeats: int) -> list[Sitting]:
    sittings = []
    for sitting in validation.run(folds=folds, repeats=repeats):
        sittings.append(sitting)
        place = f"repeat {sitting.repeat + 1}, fold {sitting.fold + 1}"
        _log.info("%s: read %d films of %s", place, len(sitting.exams), sitting.group)
    return sittings


def _conclude(
    out: Path, sittings: list[Sitting], described: dict[str, Any], recipe: Recipe, *, is_common: bool, resamples: int
) -> None:
    pooled = pool(sittings, is_common=is_common)
    groups = {
        group: judge(
            [row.film for row in pooled if row.exam.group == group],
            [sitting for sitting in sittings if sitting.group == group],
            mix=recipe.mix or CHALLENGE_MIX,
            resamples=resamples,
        )
        for group in dict.fromkeys(sitting.group for sitting in sittings)
    }
    out.mkdir(parents=True, exist_ok=True)
    recipe.write(out / "recipe.yaml")
    write_predictions(out / PREDICTIONS, pooled)
    write_result(out, described, groups)
    for group, figures in groups.items():
        # On the terminal, to be copied into the table of experiments.
        typer.echo(table_row(described["name"], group, figures, described["why"]))


def table_row(name: str, group: str, figures: dict[str, Any], why: str) -> str:
    """Return a row of the table of experiments in docs/experiments.md: AUROC weighed to the mix, but for the last."""

    def cell(subset: str, kind: str = "weighed", figure: str = "auroc") -> str:
        if subset not in figures:
            return "-"
        found = figures[subset][kind][figure]
        return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"

    against = (f"against {NORMAL}", f"against {NOT_NORMAL}")
    cells = [cell(subset) for subset in ("all", "AP", "PA", *against)]
    cells += [cell("all", figure="average_precision"), cell("all", "unweighed")]
    return f"| {name} | {group} | {' | '.join(cells)} | {why} |"


if __name__ == "__main__":
    start(crossvalidate)
