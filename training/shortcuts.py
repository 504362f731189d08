"""``python -m training.shortcuts --data DIR --out DIR``: how much of the label is told by what is no finding."""

import json
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.lungs import find_lungs
from pneumo_monai.network import LungNet
from pneumo_monai.weights import load_network
from training.augmentation import drawn_side
from training.cache import PixelCache
from training.entry import start
from training.facts import ALL, FACTS, OUTSIDE, SHOWS_LUNG, Fact, matrix, measure
from training.films import Draws
from training.folds import deal
from training.logistic import cross_validated
from training.outoffold import read_predictions
from training.recipe import Recipe
from training.records import Exam, read_folders
from training.reliance import reliance
from training.segment import read_mask
from training.weighing import RESAMPLES, Resamples, interval

__all__ = ["shortcuts"]

FOLDS = 5
SIDE = 128

_Finder = Callable[[Exam, NDArray[np.uint8]], NDArray[np.bool_] | None]
_Facts = dict[tuple[str, str], dict[str, Fact]]
_Predicted = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pool:
    """Films that are judged together, and how much each counts."""

    name: str
    exams: list[Exam]
    weights: NDArray[np.float64]

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.array([exam.target for exam in self.exams])


def shortcuts(
    data: Annotated[list[Path], typer.Option(help="Folder in the layout of the challenge; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder for shortcuts.json and shortcuts.md.")],
    pool: Annotated[
        list[str] | None, typer.Option(help="Groups that are also judged together, by commas; may be repeated.")
    ] = None,
    config: Annotated[
        list[Path] | None, typer.Option(help="Recipe whose draws are also judged as one pool; may be repeated.")
    ] = None,
    lungs: Annotated[
        Path | None, typer.Option(help="lungs.pt of training.segment: it tells the lungs of whole films.")
    ] = None,
    cut: Annotated[list[str] | None, typer.Option(help="Folder whose films are cut to the lungs already.")] = None,
    as_cut: Annotated[
        bool, typer.Option("--as-cut", help="Measure what is left once films are cut to their lungs by --lungs.")
    ] = False,
    predictions: Annotated[
        Path | None, typer.Option(help="predictions.csv of a network, to be held against every shortcut.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder of decoded pixels.")] = Path("cache"),
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode.")] = 0,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples behind every interval.")] = RESAMPLES,
) -> None:
    """Measure how well each shortcut alone predicts the label, and whether a network leans on it."""
    if as_cut and lungs is None:
        raise ConfigurationError("--as-cut needs --lungs, by which the films are cut")
    store = PixelCache(cache, workers=workers, lungs=lungs if as_cut else None)
    exams, skipped = store.fill(read_folders(data), side=drawn_side(SIDE), depth="uint8")
    find = _blank_or_not if as_cut else _finder(lungs, cut or [])
    facts: _Facts = {}
    for exam in track(exams, "Measuring", transient=True):
        square = store.square(exam, side=drawn_side(SIDE), depth="uint8")
        facts[exam.folder, exam.patient_id] = measure(exam, square, find(exam, square))
    read = read_predictions(predictions) if predictions else []
    scores = {(film.folder, film.patient_id): film.score for film in read}
    found: dict[str, Any] = {}
    leanings: dict[str, Any] = {}
    for films in [*_groups(exams), *_pools(exams, pool or []), *_as_drawn(exams, config or [])]:
        if min(np.bincount(films.labels, minlength=2)) < 2 * FOLDS:
            _log.info("%s: too few films of one class, nothing can be predicted", films.name)
            continue
        found[films.name], predicted = _judged(films, facts, resamples)
        if scores and films.name in {exam.group for exam in exams}:
            leanings[films.name] = _leanings(films, predicted, scores, resamples)
    out.mkdir(parents=True, exist_ok=True)
    result = {"films_skipped": len(skipped), "facts": FACTS, "groups": found, "model": leanings}
    (out / "shortcuts.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
    page = "\n\n".join([_table(found), *(_leaning_table(name, rows) for name, rows in leanings.items() if rows)])
    (out / "shortcuts.md").write_text(f"{page}\n", encoding="utf-8")
    typer.echo(page)


def _finder(lungs: Path | None, cut: list[str]) -> _Finder:
    """Find lungs where the film is not blank, in folders that are cut already, else by the segmentation."""
    network = load_network(LungNet(), lungs) if lungs else None

    def find(exam: Exam, square: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
        if exam.folder in cut and (mask := read_mask(exam, square, is_cut=True)) is not None:
            return mask > 0
        return find_lungs(network, square.astype(np.float32) / 255.0).mask if network else None

    return find


def _blank_or_not(exam: Exam, square: NDArray[np.uint8]) -> NDArray[np.bool_]:  # noqa: ARG001 a `_Finder`
    return square > 0


def _groups(exams: list[Exam]) -> list[_Pool]:
    members: dict[str, list[Exam]] = defaultdict(list)
    for exam in exams:
        members[exam.group].append(exam)
    return [_Pool(name=name, exams=own, weights=np.ones(len(own))) for name, own in sorted(members.items())]


def _pools(exams: list[Exam], pools: list[str]) -> list[_Pool]:
    found = []
    for text in pools:
        groups = [group.strip() for group in text.split(",")]
        if unknown := set(groups).difference(exam.group for exam in exams):
            raise ConfigurationError(f"--pool: no film is in {min(unknown)}; the groups are {_names(exams)}")
        own = [exam for exam in exams if exam.group in groups]
        found.append(_Pool(name=" + ".join(groups), exams=own, weights=np.ones(len(own))))
    return found


def _names(exams: list[Exam]) -> list[str]:
    return sorted({exam.group for exam in exams})


def _as_drawn(exams: list[Exam], configs: list[Path]) -> list[_Pool]:
    """Weigh films by how often a recipe draws them: this is the mix that a network learns from."""
    found = []
    for file in configs:
        recipe = Recipe.read(file, {})
        own = [exam for exam in exams if not recipe.draws or exam.group in recipe.draws]
        draws = Draws(own, shares=recipe.draws, count=len(own), seed=0, is_balanced=recipe.balance)
        wanted = {(g, 1): p for g, p in draws.positives.items()} | {
            (g, 0): draws.counts[g] - p for g, p in draws.positives.items()
        }
        sizes: dict[tuple[str, int], int] = defaultdict(int)
        for exam in own:
            sizes[exam.group, exam.target] += 1
        weights = [wanted[exam.group, exam.target] / sizes[exam.group, exam.target] for exam in own]
        found.append(_Pool(name=f"as {file.stem} draws", exams=own, weights=np.array(weights)))
    return found


def _judged(films: _Pool, facts: _Facts, resamples: int) -> tuple[dict[str, Any], _Predicted]:
    """Return the figures of one pool, and for each fact that varies its features and cross-validated logits."""
    labels = films.labels
    fold_of = deal(films.exams, folds=FOLDS, seed=0)
    folds = np.array([fold_of[exam.person] for exam in films.exams])
    drawn = Resamples([exam.person for exam in films.exams], count=resamples)
    own = [facts[exam.folder, exam.patient_id] for exam in films.exams]
    features = {name: matrix([fact[name] for fact in own]) for name in FACTS}
    features[OUTSIDE] = np.hstack([features[name] for name in FACTS if name not in SHOWS_LUNG])
    features[ALL] = np.hstack([features[name] for name in FACTS])
    result: dict[str, Any] = {
        "exams": len(labels),
        "persons": drawn.persons,
        "positive": int(labels.sum()),
        "auroc": {},
    }
    predicted: _Predicted = {}
    everything = np.ones(len(labels), dtype=bool)
    for name, values in features.items():
        if values.shape[1] == 0:
            result["auroc"][name] = None
            continue
        logits = cross_validated(values, labels, folds, films.weights)
        predicted[name] = values, logits
        result["auroc"][name] = interval(drawn.figures(logits, labels, films.weights, everything)["auroc"])
    _log.info("%s: %d films judged", films.name, len(labels))
    return result, predicted


def _leanings(
    films: _Pool, predicted: _Predicted, scores: dict[tuple[str, str], float], resamples: int
) -> dict[str, Any]:
    """Hold a network's scores of the films that it read against every fact."""
    read = np.array([(exam.folder, exam.patient_id) in scores for exam in films.exams])
    exams = [exam for exam, known in zip(films.exams, read, strict=True) if known]
    labels = films.labels[read]
    if len(set(labels.tolist())) < 2:
        return {}
    own = np.array([scores[exam.folder, exam.patient_id] for exam in exams])
    persons = [exam.person for exam in exams]
    return {
        name: reliance(own, labels, persons, values[read], logits[read], resamples=resamples)
        for name, (values, logits) in predicted.items()
    }


def _shown(value: dict[str, float] | None) -> str:
    return f"{value['value']:.2f} ({value['low']:.2f} to {value['high']:.2f})" if value else "the same for all"


def _table(found: dict[str, Any]) -> str:
    names = list(found)
    heads = [f"{name}, {found[name]['exams']} films, {found[name]['positive']} positive" for name in names]
    rows = [f"| shortcut | {' | '.join(heads)} |", "| --- " * (len(names) + 1) + "|"]
    rows += [
        f"| {fact} | {' | '.join(_shown(found[name]['auroc'][fact]) for name in names)} |"
        for fact in (*FACTS, OUTSIDE, ALL)
    ]
    return "\n".join(rows)


def _leaning_table(group: str, rows: dict[str, Any]) -> str:
    overall = next(iter(rows.values()))["auroc"]
    lines = [
        f"The network on {group}: AUROC {_shown(overall)}.",
        "",
        "| shortcut | AUROC among films alike in it | correlation within negatives | within positives |",
        "| --- | --- | --- | --- |",
    ]
    keys = ("auroc_among_like", "within_negatives", "within_positives")
    lines += [f"| {name} | {' | '.join(_shown(row[key]) for key in keys)} |" for name, row in rows.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    start(shortcuts)
