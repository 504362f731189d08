"""Labels are read as the challenge writes them, and what is wrong with them is said."""

import logging
from pathlib import Path

import pytest

from pneumo_monai.errors import ConfigurationError
from tests.training.conftest import Challenge
from training.records import NORMAL, OPACITY, read_folder, read_folders


def test_rows_of_an_exam_become_one_exam_with_its_boxes(challenge: Challenge) -> None:
    exams = {exam.patient_id: exam for exam in read_folder(challenge(persons=2))}
    assert sorted(exams) == ["00-0", "00-1", "01-0", "01-1"]
    positive, negative = exams["01-0"], exams["00-0"]
    assert (positive.target, positive.klass, len(positive.boxes)) == (1, OPACITY, 2)
    assert positive.boxes[0] == (10.0, 10.0, 16.0, 16.0)
    assert (negative.target, negative.klass, negative.boxes) == (0, NORMAL, ())
    assert (positive.person, positive.source, positive.label_quality, positive.group) == (
        "P1",
        "drawn",
        "exact",
        "films/exact",
    )


def test_without_patients_csv_each_exam_is_a_person_and_the_log_warns(
    challenge: Challenge, caplog: pytest.LogCaptureFixture
) -> None:
    folder = challenge(persons=2, known_persons=False)
    with caplog.at_level(logging.WARNING):
        exams = read_folder(folder)
    assert len({exam.person for exam in exams}) == len(exams) == 4
    assert "cannot be grouped by person" in caplog.text


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("stage_2_train_labels.csv", "Target", "Label", "column Target is missing"),
        ("stage_2_train_labels.csv", ",,,,0", ",,,,maybe", "line 2: Target is 'maybe'"),
        ("stage_2_train_labels.csv", "10,10,16,16", "10,10,wide,16", "must be numbers"),
        ("stage_2_detailed_class_info.csv", "00-0,Normal\r\n", "", "00-0 has no row"),
        ("patients.csv", "00-0,P0,drawn,exact\r\n", "", "00-0 has no row"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(challenge: Challenge, file: str, old: str, new: str, message: str) -> None:
    folder = challenge(persons=2)
    content = (folder / file).read_bytes().decode()
    assert old in content
    (folder / file).write_bytes(content.replace(old, new).encode())
    with pytest.raises(ConfigurationError, match=message) as raised:
        read_folder(folder)
    assert str(folder) in str(raised.value)


@pytest.mark.parametrize("file", ["stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"])
def test_a_missing_file_is_named(challenge: Challenge, file: str) -> None:
    folder = challenge(persons=2)
    (folder / file).unlink()
    with pytest.raises(ConfigurationError, match=file):
        read_folder(folder)


def test_a_folder_without_films_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="stage_2_train_images/ is missing"):
        read_folder(tmp_path)


def test_two_folders_of_one_name_are_refused(challenge: Challenge, tmp_path: Path) -> None:
    first = challenge("a/films")
    with pytest.raises(ConfigurationError, match="two folders are called films"):
        read_folders([first, challenge("b/films")])
