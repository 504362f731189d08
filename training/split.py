"""Training, validation and test part: by person, stratified, a function of the persons and the seed alone."""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from pneumo_monai.errors import ConfigurationError
from training.recipe import Recipe
from training.records import Exam

__all__ = ["Part", "check_parts", "persons_by_stratum", "read_split", "split_by_person", "write_split"]


class Part(StrEnum):
    """What an exam may be used for."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


def split_by_person(exams: list[Exam], recipe: Recipe) -> dict[str, Part]:
    """Give every person one part.

    A person stands in the stratum (group, class, view) of its rarest exam, so that the small groups are divided as
    evenly as the large ones. Within a stratum, persons are ordered by a hash of seed and person: neither the order of
    the files nor that of the folders matters.

    Returns
    -------
    dict of str to Part
        The part of each person.
    """
    parts = {}
    for stratum, persons in persons_by_stratum(exams, recipe.seed).items():
        shares = recipe.split_by_group.get(stratum[0], recipe.split)
        test = round(len(persons) * shares.test)
        validation = round(len(persons) * (shares.test + shares.validation))
        for place, person in enumerate(persons):
            parts[person] = Part.TEST if place < test else Part.VALIDATION if place < validation else Part.TRAINING
    return parts


def persons_by_stratum(exams: list[Exam], seed: int) -> dict[tuple[str, str, str], list[str]]:
    """Return the persons of each stratum, as `split_by_person` orders them; each person once."""
    sizes = Counter(_stratum(exam) for exam in exams)
    strata: dict[str, tuple[str, str, str]] = {}
    for exam in exams:
        mine, other = _stratum(exam), strata.get(exam.person)
        if other is None or (sizes[mine], mine) < (sizes[other], other):
            strata[exam.person] = mine
    members: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for person, stratum in strata.items():
        members[stratum].append(person)
    for persons in members.values():
        persons.sort(key=lambda person: hashlib.sha256(f"{seed}:{person}".encode()).digest())
    return dict(members)


def _stratum(exam: Exam) -> tuple[str, str, str]:
    return exam.group, exam.klass, exam.view.value


def write_split(file: Path, exams: Iterable[Exam], parts: dict[str, Part]) -> None:
    """Write one row for each exam: patientId, folder, person, part."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patientId", "folder", "person", "part"])
        writer.writerows([exam.patient_id, exam.folder, exam.person, parts[exam.person].value] for exam in exams)


def read_split(file: Path, exams: Iterable[Exam]) -> dict[str, Part]:
    """Read the parts that an earlier run wrote.

    Raises
    ------
    ConfigurationError
        The file cannot be read, puts a person on two sides, or does not know a person.
    """
    parts: dict[str, Part] = {}
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                part = Part(row["part"])
                if parts.setdefault(row["person"], part) is not part:
                    raise ConfigurationError(f"{file}: a person stands in {part} and in {parts[row['person']]}")
    except (OSError, KeyError, ValueError) as error:
        raise ConfigurationError(f"{file} is no split.csv of an earlier run: {error}") from error
    if unknown := sum(exam.person not in parts for exam in exams):
        raise ConfigurationError(
            f"{file} does not know the persons of {unknown} exams; give the same --data folders as the run that wrote "
            "it, or leave --split out"
        )
    return parts


def check_parts(
    parts: dict[str, Part], exams: Iterable[Exam], trained: Iterable[str], *, needed: Iterable[Part] = tuple(Part)
) -> None:
    """Refuse a split in which held-out figures would be worth nothing.

    Parameters
    ----------
    parts : dict of str to Part
        The part of each person.
    exams : iterable of Exam
        All exams; the same file under two persons is found by its content.
    trained : iterable of str
        Persons that the initial weights were trained on.
    needed : iterable of Part
        Parts that may not be empty.

    Raises
    ------
    ConfigurationError
        A person or a file stands on both sides, or a part is empty.
    """
    held_out = {person for person, part in parts.items() if part is not Part.TRAINING}
    if leaked := held_out.intersection(trained):
        raise ConfigurationError(
            f"--weights were trained on {len(leaked)} persons who are held out now; give --split the split.csv of the "
            "run that trained them"
        )
    seen: dict[str, Part] = {}
    for exam in exams:
        part = parts[exam.person]
        if exam.content and seen.setdefault(exam.content, part) is not part:
            raise ConfigurationError(
                f"{exam.path} stands in {part} and, under another person, in {seen[exam.content]}; give both the same "
                "person in patients.csv"
            )
    for part in needed:
        if part not in parts.values():
            raise ConfigurationError(
                f"the {part} part is empty: {len(parts)} persons are too few for the split's shares"
            )
