"""Figures of each group of films, whole and in its parts: view, sex, age, source, label, detailed class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_monai.evaluation.cases import AGE_BANDS, NOT_NORMAL, NOT_STATED, CaseReading, age_band
from pneumo_monai.evaluation.figures import PREVALENCE, figures
from pneumo_monai.evaluation.localisation import summarise
from pneumo_monai.evaluation.mix import mix_problem, mix_weights
from pneumo_monai.evaluation.resampling import RESAMPLES
from pneumo_monai.findings import View

__all__ = ["WITHOUT_NOT_NORMAL", "Group", "Protocol", "groups_of", "measure", "mix_statement"]

WITHOUT_NOT_NORMAL = f"without {NOT_NORMAL}"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How figures are computed.

    Attributes
    ----------
    threshold : float
        A film is called positive at this calibrated probability or more.
    prevalence : float
        For predictive values.
    mix : mapping of str to float
        Shares of the detailed classes to which the films of each group are weighed; empty: as they come.
    resamples, seed : int
        Of the bootstrap.
    """

    threshold: float
    prevalence: float = PREVALENCE
    mix: Mapping[str, float] = field(default_factory=dict)
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Films that are judged together, as arrays.

    Attributes
    ----------
    name : str
        Of the group.
    readings : list of CaseReading
        N of them.
    logits, probabilities, labels, weights : numpy.ndarray
        (N,) each.
    persons, classes : list of str
        N each.
    """

    name: str
    readings: list[CaseReading]
    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    persons: list[str]
    classes: list[str]

    @property
    def has_both_classes(self) -> bool:
        """Whether there are positive and negative films."""
        return 0 < int(self.labels.sum()) < len(self.labels)

    def part(self, chosen: NDArray[np.bool_]) -> "Group":
        """Return some of the films; each keeps its weight, so that they are a part of what the whole stands for."""
        places = np.flatnonzero(chosen)
        return Group(
            name=self.name,
            readings=[self.readings[place] for place in places],
            logits=self.logits[places],
            probabilities=self.probabilities[places],
            labels=self.labels[places],
            weights=self.weights[places],
            persons=[self.persons[place] for place in places],
            classes=[self.classes[place] for place in places],
        )


def groups_of(readings: Sequence[CaseReading], mix: Mapping[str, float]) -> list[Group]:
    """Divide readings by group, in order of the names; groups are never mixed, because the group tells the label."""
    found = []
    for name in sorted({reading.case.group for reading in readings}):
        members = [reading for reading in readings if reading.case.group == name]
        classes = [reading.case.klass for reading in members]
        found.append(
            Group(
                name=name,
                readings=members,
                logits=np.array([reading.logit for reading in members]),
                probabilities=np.array([reading.probability for reading in members]),
                labels=np.array([reading.case.target for reading in members]),
                weights=mix_weights(classes, mix),
                persons=[reading.case.person for reading in members],
                classes=classes,
            )
        )
    return found


def mix_statement(groups: Sequence[Group], mix: Mapping[str, float]) -> dict[str, Any] | None:
    """Say which groups are weighed to the mix, and why the others are not; None: no mix is given."""
    if not mix:
        return None
    problems = {group.name: mix_problem(group.classes, mix) for group in groups}
    return {
        "classes": dict(mix),
        "weighed": [name for name, problem in problems.items() if problem is None],
        "as_they_come": {name: problem for name, problem in problems.items() if problem is not None},
    }


def measure(groups: Sequence[Group], protocol: Protocol) -> dict[str, dict[str, Any]]:
    """Compute the figures of each group and of its parts.

    Returns
    -------
    dict
        Group to part to figures. The part ``all`` comes first; a part that is the whole group is left out. Beside what
        `figures` returns, ``by`` says by what the part was made, ``classes`` counts the detailed classes, and
        ``localisation`` stands where films have boxes.
    """
    return {
        group.name: {
            name: _figures(group.part(chosen), protocol, by)
            for name, by, chosen in _parts(group)
            if chosen.any() and (name == "all" or not chosen.all())
        }
        for group in groups
    }


def _figures(group: Group, protocol: Protocol, by: str) -> dict[str, Any]:
    found = figures(
        group.probabilities,
        group.labels,
        group.persons,
        threshold=protocol.threshold,
        logits=group.logits,
        weights=group.weights,
        prevalence=protocol.prevalence,
        resamples=protocol.resamples,
        seed=protocol.seed,
    )
    found["by"] = by
    found["classes"] = dict(sorted(Counter(klass or NOT_STATED for klass in group.classes).items()))
    localised = [
        (one.localisation, one.case.person)
        for one in group.readings
        if one.localisation is not None and one.case.target == 1
    ]
    if localised:
        where, persons = zip(*localised, strict=True)
        found["localisation"] = summarise(where, persons, resamples=protocol.resamples, seed=protocol.seed)
    return found


def _parts(group: Group) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Return name, what it is by, and the films (N,) bool of each part."""
    cases = [reading.case for reading in group.readings]
    columns: dict[str, tuple[list[str], Sequence[str], str]] = {
        # By what: the value of each film, the values in their order, and the form of the part's name.
        "view": ([case.view.value for case in cases], [view.value for view in View], "{}"),
        "sex": ([case.sex or NOT_STATED for case in cases], ("F", "M", "O", NOT_STATED), "sex {}"),
        "age": ([age_band(case.age) for case in cases], (*AGE_BANDS, NOT_STATED), "age {}"),
        "source": ([case.source or NOT_STATED for case in cases], (), "source {}"),
        "label quality": ([case.label_quality or NOT_STATED for case in cases], (), "label quality {}"),
    }
    parts = [("all", "", np.ones(len(cases), dtype=np.bool_))]
    for by, (values, order, form) in columns.items():
        parts += [(form.format(value), by, np.array(values) == value) for value in order or sorted(set(values))]
    parts.append((WITHOUT_NOT_NORMAL, "class", np.array(group.classes) != NOT_NORMAL))
    return parts
