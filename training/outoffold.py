"""From the readings of many networks to one score a film, and what those scores are worth.

::

    <out>/predictions.csv     a row for each film: who it is of, what it shows, its score and how far repeats differ
    <out>/result.json         what was run, and the figures of each group
"""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_monai.errors import ConfigurationError
from training.crossvalidation import Sitting
from training.records import Exam
from training.weighing import Film, Resamples, discrimination, interval, mix_weights, subsets

__all__ = [
    "PREDICTIONS",
    "RESULT",
    "Pooled",
    "judge",
    "pool",
    "read_predictions",
    "write_predictions",
    "write_result",
]

PREDICTIONS = Path("predictions.csv")
RESULT = Path("result.json")
_COLUMNS = ("patientId", "folder", "group", "person", "class", "view", "Target", "logit", "spread", "readings")


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """One film of all sittings.

    Attributes
    ----------
    logit : float
        Mean of its readings on the common scale.
    spread : float
        Standard deviation of its readings there; 0 for one.
    readings : int
        How many there are.
    """

    exam: Exam
    logit: float
    spread: float
    readings: int

    @property
    def film(self) -> Film:
        """What figures need of it."""
        exam = self.exam
        return Film(
            patient_id=exam.patient_id,
            folder=exam.folder,
            group=exam.group,
            person=exam.person,
            klass=exam.klass,
            view=exam.view.value,
            target=exam.target,
            score=self.logit,
        )


def pool(sittings: Iterable[Sitting], *, is_common: bool) -> list[Pooled]:
    """Average each film's readings on a common scale.

    Each network has an offset and a scale of its own. They are taken out by the mean and the standard deviation of its
    logits over the films of the group that it read, without a look at their labels: the folds are dealt out by class
    and view, so these films are alike from fold to fold. What remains of the offset lowers the pooled AUROC a little,
    for every experiment alike.

    Parameters
    ----------
    sittings : iterable of Sitting
    is_common : bool
        One network read everything: the logits are on one scale already.
    """
    exams: dict[tuple[str, str], Exam] = {}
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for sitting in sittings:
        logits = sitting.logits if is_common else _standardised(sitting.logits)
        for exam, logit in zip(sitting.exams, logits.tolist(), strict=True):
            exams[exam.folder, exam.patient_id] = exam
            values[exam.folder, exam.patient_id].append(logit)
    return [
        Pooled(exam=exams[key], logit=float(np.mean(found)), spread=float(np.std(found, ddof=0)), readings=len(found))
        for key, found in sorted(values.items())
    ]


def _standardised(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = float(logits.std())
    return (logits - logits.mean()) / (spread if spread > 0.0 else 1.0)


def judge(
    films: Sequence[Film], sittings: Sequence[Sitting], *, mix: dict[str, float], resamples: int
) -> dict[str, Any]:
    """Compute the figures of one group.

    Parameters
    ----------
    films : sequence of Film
        The pooled films of the group.
    sittings : sequence of Sitting
        Of the same group.
    mix : dict of str to float
        Shares of the classes that films are weighed to.
    resamples : int
        Of the bootstrap by person behind each interval.

    Returns
    -------
    dict
        For each subset ``exams``, ``positive``, and ``weighed`` and ``unweighed`` with ``auroc`` and
        ``average_precision``. ``within_folds``: the mean AUROC of single networks on what they read, which needs no
        common scale, and how far its mean differs from repeat to repeat.
    """
    labels = np.array([film.target for film in films])
    scores = np.array([film.score for film in films])
    weights = {"weighed": mix_weights([film.klass for film in films], mix), "unweighed": np.ones(len(films))}
    drawn = Resamples([film.person for film in films], count=resamples)
    result: dict[str, Any] = {"persons": drawn.persons}
    for name, inside in subsets(films).items():
        result[name] = {"exams": int(inside.sum()), "positive": int(labels[inside].sum())}
        for kind, weight in weights.items():
            found = drawn.figures(scores, labels, weight, inside)
            result[name][kind] = {figure: interval(values) for figure, values in found.items()}
    if len(sittings) > 1:
        result["within_folds"] = _within(films, weights["weighed"], sittings)
    return result


def _within(films: Sequence[Film], weights: NDArray[np.float64], sittings: Sequence[Sitting]) -> dict[str, Any]:
    weight_of = {(film.folder, film.patient_id): w for film, w in zip(films, weights.tolist(), strict=True)}
    by_repeat: dict[int, list[float]] = defaultdict(list)
    for sitting in sittings:
        labels = np.array([exam.target for exam in sitting.exams])
        if len(set(labels.tolist())) == 2:
            own = np.array([[weight_of[exam.folder, exam.patient_id] for exam in sitting.exams]])
            by_repeat[sitting.repeat].append(float(discrimination(sitting.logits, labels, own)["auroc"][0]))
    means = [float(np.mean(found)) for found in by_repeat.values()]
    return {
        "auroc": round(float(np.mean(means)), 4) if means else None,
        "standard_deviation_of_repeats": round(float(np.std(means, ddof=1)), 4) if len(means) > 1 else None,
        "folds": sum(map(len, by_repeat.values())),
    }


def write_predictions(file: Path, pooled: Iterable[Pooled]) -> None:
    """Write one row for each film."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for row in pooled:
            exam = row.exam
            known = [exam.patient_id, exam.folder, exam.group, exam.person, exam.klass, exam.view, exam.target]
            writer.writerow([*known, f"{row.logit:.6f}", f"{row.spread:.4f}", row.readings])


def read_predictions(file: Path) -> list[Film]:
    """Read a predictions.csv of a cross-validation, or the test rows of one that `training.evaluate` wrote.

    The latter knows no label quality: there the group is the folder.

    Raises
    ------
    ConfigurationError
        It is none.
    """
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return [
                Film(
                    patient_id=row["patientId"],
                    folder=row["folder"],
                    group=row.get("group", row["folder"]),
                    person=row["person"],
                    klass=row["class"],
                    view=row["view"],
                    target=int(row["Target"]),
                    score=float(row["logit"]),
                )
                for row in csv.DictReader(stream)
                if row.get("part", "test") == "test"
            ]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigurationError(
            f"{file} is no {PREDICTIONS} of training.crossvalidate or training.evaluate ({error!r})"
        ) from None


def write_result(out: Path, described: dict[str, Any], groups: dict[str, Any]) -> None:
    """Write result.json."""
    (out / RESULT).write_text(json.dumps({**described, "groups": groups}, indent=2), encoding="utf-8")
