"""Which persons each fold of a cross-validation holds out."""

from dataclasses import dataclass
from pathlib import Path

from pneumo_monai.errors import ConfigurationError
from training.records import Exam
from training.split import Part, persons_by_stratum, read_split

__all__ = ["Chosen", "choose", "deal", "parts_of_fold", "set_aside"]


@dataclass(frozen=True)
class Chosen:
    """A group that is evaluated, and of which part of the split its films come; None: of any."""

    group: str
    part: Part | None = None

    @classmethod
    def parse(cls, text: str) -> "Chosen":
        """Read ``GROUP`` or ``GROUP:PART``.

        Raises
        ------
        ConfigurationError
            There is no such part.
        """
        group, _, part = text.partition(":")
        try:
            return cls(group, Part(part) if part else None)
        except ValueError:
            raise ConfigurationError(f"{text}: {part} is no part; give one of {', '.join(Part)}") from None


def choose(exams: list[Exam], chosen: Chosen, split: Path | None) -> list[Exam]:
    """Return the exams of a chosen group.

    Raises
    ------
    ConfigurationError
        There are none, or a part is asked for and no split is given.
    """
    if chosen.part is not None and split is None:
        raise ConfigurationError(f"{chosen.group}:{chosen.part} needs --split, which says whose films these are")
    parts = read_split(split, exams) if split and chosen.part else {}
    found = [
        exam
        for exam in exams
        if exam.group == chosen.group and (chosen.part is None or parts[exam.person] is chosen.part)
    ]
    if not found:
        groups = ", ".join(sorted({exam.group for exam in exams}))
        of = f" in the {chosen.part} part" if chosen.part else ""
        raise ConfigurationError(f"no film of {chosen.group}{of} can be evaluated; the groups are {groups}")
    return found


def set_aside(exams: list[Exam], evaluated: list[Exam], split: Path | None) -> list[Exam]:
    """Return the exams that a cross-validation may use: of evaluated persons, and of the split's training persons.

    Without a split there is nobody to be kept for later.
    """
    if split is None:
        return exams
    parts, persons = read_split(split, exams), {exam.person for exam in evaluated}
    return [exam for exam in exams if exam.person in persons or parts[exam.person] is Part.TRAINING]


def deal(evaluated: list[Exam], *, folds: int, seed: int) -> dict[str, int]:
    """Give every evaluated person a fold, from 0.

    Persons are dealt out one after the other, stratum by stratum (group, class, view), so that folds have nearly the
    same size and mix. A person stands in one fold with all films, whatever the folders.

    Raises
    ------
    ConfigurationError
        There are fewer persons than folds, or fewer than two folds.
    """
    strata = persons_by_stratum(evaluated, seed)
    persons = [person for stratum in sorted(strata) for person in strata[stratum]]
    if not 2 <= folds <= len(persons):
        raise ConfigurationError(f"--folds {folds}: give at least 2, and no more than the {len(persons)} persons")
    return {person: place % folds for place, person in enumerate(persons)}


def parts_of_fold(exams: list[Exam], fold_of: dict[str, int], fold: int) -> dict[str, Part]:
    """Return the part of each person while one fold is held out."""
    return {exam.person: Part.TEST if fold_of.get(exam.person) == fold else Part.TRAINING for exam in exams}
