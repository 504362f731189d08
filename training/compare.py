"""``python -m training.compare A B``: whether one experiment reads the same films better than another."""

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pneumo_monai.errors import ConfigurationError
from training.entry import start
from training.outoffold import PREDICTIONS, RESULT, read_predictions
from training.weighing import CHALLENGE_MIX, RESAMPLES, Film, Resamples, interval, mix_weights, subsets

__all__ = ["compare", "differences"]

_log = logging.getLogger(__name__)


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of training.crossvalidate.")],
    second: Annotated[Path, typer.Argument(help="Another; the difference is this one less the first.")],
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples of persons.")] = RESAMPLES,
) -> None:
    """Compare two experiments on the films that both read, by a paired bootstrap of persons."""
    one, other = (read_predictions(folder / PREDICTIONS) for folder in (first, second))
    found = differences(one, other, mix=_mix(first, second), resamples=resamples)
    if out is not None:
        out.write_text(json.dumps({"first": first.name, "second": second.name, **found}, indent=2), encoding="utf-8")
    typer.echo("| group | films | AUROC of the first | of the second | difference | resamples in which it is above 0 |")
    typer.echo("| --- | --- | --- | --- | --- | --- |")
    for group, by_subset in found.items():
        for subset, figures in by_subset.items():
            gain = figures["weighed"]
            shown = f"{gain['value']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
            ends = f"{gain['first']:.3f} | {gain['second']:.3f}"
            typer.echo(f"| {group} | {subset}, {figures['exams']} | {ends} | {shown} | {gain['above_zero']:.0%} |")


def differences(
    first: list[Film], second: list[Film], *, mix: dict[str, float], resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Return the AUROC of the second less that of the first, for each group and subset.

    Both are computed from the same resampled persons, so what makes a film easy or hard for both cancels out.

    Raises
    ------
    ConfigurationError
        The two share no film, or a film's label differs between them.
    """
    others = {(film.folder, film.patient_id): film for film in second}
    pairs = [(film, others[key]) for film in first if (key := (film.folder, film.patient_id)) in others]
    if not pairs:
        raise ConfigurationError("the two experiments share no film; compare results of the same --group")
    if len(pairs) < max(len(first), len(second)):
        _log.warning("%d films stand in both and are compared, of %d and %d", len(pairs), len(first), len(second))
    if odd := [one for one, other in pairs if (one.target, one.person) != (other.target, other.person)]:
        raise ConfigurationError(f"{len(odd)} films have another label or person in the second experiment")
    result: dict[str, Any] = {}
    for group in dict.fromkeys(one.group for one, _ in pairs):
        mine = [(one, other) for one, other in pairs if one.group == group]
        result[group] = _of_group(mine, mix, resamples)
    return result


def _of_group(pairs: list[tuple[Film, Film]], mix: dict[str, float], resamples: int) -> dict[str, Any]:
    films = [one for one, _ in pairs]
    labels = np.array([film.target for film in films])
    scores = [np.array([pair[place].score for pair in pairs]) for place in (0, 1)]
    drawn = Resamples([film.person for film in films], count=resamples)
    weights = {"weighed": mix_weights([film.klass for film in films], mix), "unweighed": np.ones(len(films))}
    result: dict[str, Any] = {}
    for name, inside in subsets(films).items():
        result[name] = {"exams": int(inside.sum()), "positive": int(labels[inside].sum())}
        for kind, weight in weights.items():
            one, other = (drawn.figures(values, labels, weight, inside)["auroc"] for values in scores)
            gain = other - one
            defined = gain[1:][np.isfinite(gain[1:])]
            result[name][kind] = {
                "first": round(float(one[0]), 4),
                "second": round(float(other[0]), 4),
                **interval(gain),
                "above_zero": round(float((defined > 0).mean()), 4) if defined.size else None,
            }
    return result


def _mix(*folders: Path) -> dict[str, float]:
    """Return the mix of both results; the challenge's where they differ or do not say."""
    mixes = []
    for folder in folders:
        file = folder / RESULT
        mixes.append(json.loads(file.read_text(encoding="utf-8"))["mix"] if file.is_file() else CHALLENGE_MIX)
    return dict(mixes[0]) if mixes[0] == mixes[1] else CHALLENGE_MIX


if __name__ == "__main__":
    start(compare)
