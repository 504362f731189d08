"""No person stands on two sides, and the split is a function of persons and seed alone."""

from collections import Counter
from pathlib import Path

import pytest

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.findings import View
from training.recipe import Recipe
from training.records import NORMAL, OPACITY, Exam
from training.split import Part, check_parts, read_split, split_by_person, write_split

RECIPE = Recipe(split={"validation": 0.2, "test": 0.2})


def exams(persons: int = 200, folder: str = "a") -> list[Exam]:
    return [
        Exam(
            patient_id=f"{person}-{visit}",
            folder=folder,
            path=Path(f"{folder}/{person}-{visit}.dcm"),
            person=f"P{person}",
            source="drawn",
            label_quality="exact",
            klass=OPACITY if person % 5 == 0 else NORMAL,
            target=int(person % 5 == 0),
            view=View.AP if person % 3 else View.PA,
            content=f"{folder}-{person}-{visit}",
        )
        for person in range(persons)
        for visit in range(1 + person % 3)
    ]


def test_parts_have_their_share_of_every_class() -> None:
    parts = split_by_person(exams(), RECIPE)
    for positive in (0, 1):
        counts = Counter(parts[f"P{person}"] for person in range(200) if (person % 5 == 0) == positive)
        assert counts[Part.TEST] == pytest.approx(0.2 * counts.total(), abs=2)
        assert counts[Part.VALIDATION] == pytest.approx(0.2 * counts.total(), abs=2)


def test_parts_have_their_share_of_every_class_in_every_view() -> None:
    parts = split_by_person(exams(), RECIPE)
    strata = {exam.person: (exam.target, exam.view) for exam in exams()}
    for stratum in set(strata.values()):
        counts = Counter(parts[person] for person, mine in strata.items() if mine == stratum)
        assert counts[Part.TEST] == pytest.approx(0.2 * counts.total(), abs=1)
        assert counts[Part.VALIDATION] == pytest.approx(0.2 * counts.total(), abs=1)


def test_a_person_in_two_folders_has_one_part() -> None:
    both = [*exams(), *exams(60, folder="b")]
    parts = split_by_person(both, RECIPE)
    assert set(parts) == {exam.person for exam in both}
    check_parts(parts, both, trained=())


def test_the_order_of_the_files_does_not_matter_and_the_seed_does() -> None:
    assert split_by_person(exams(), RECIPE) == split_by_person(exams()[::-1], RECIPE)
    assert split_by_person(exams(), RECIPE) != split_by_person(exams(), RECIPE.model_copy(update={"seed": 1}))


def test_a_group_may_hold_out_more() -> None:
    recipe = Recipe(split_by_group={"b/exact": {"validation": 0.3, "test": 0.5}})
    films = exams(folder="b")
    counts = Counter(split_by_person(films, recipe).values())
    assert counts[Part.TEST] == pytest.approx(100, abs=3)


def test_a_written_split_is_read_back(tmp_path: Path) -> None:
    films, file = exams(), tmp_path / "split.csv"
    parts = split_by_person(films, RECIPE)
    write_split(file, films, parts)
    assert read_split(file, films) == parts


def test_a_split_with_a_person_on_two_sides_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    file.write_text("patientId,folder,person,part\n1,a,P1,training\n2,a,P1,test\n")
    with pytest.raises(ConfigurationError, match="a person stands in"):
        read_split(file, [])


def test_a_split_that_does_not_know_a_person_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    file.write_text("patientId,folder,person,part\n1,a,P1,training\n")
    with pytest.raises(ConfigurationError, match="does not know the persons of"):
        read_split(file, exams(3))


def test_weights_that_saw_a_held_out_person_are_refused() -> None:
    parts = split_by_person(exams(), RECIPE)
    seen = next(person for person, part in parts.items() if part is Part.TEST)
    with pytest.raises(ConfigurationError, match="1 persons who are held out now; give --split"):
        check_parts(parts, exams(), trained=[seen])


def test_one_file_under_two_persons_is_refused() -> None:
    films = exams(2)
    same = [films[0], Exam(**{**vars(films[1]), "content": films[0].content})]
    with pytest.raises(ConfigurationError, match="under another person"):
        check_parts({"P0": Part.TEST, "P1": Part.TRAINING}, same, trained=())


def test_too_few_persons_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="part is empty"):
        check_parts(split_by_person(exams(2), RECIPE), exams(2), trained=())
