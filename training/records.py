"""Exams and their labels, as the folders of the RSNA Pneumonia Detection Challenge hold them.

::

    <folder>/stage_2_train_images/<patientId>.dcm
    <folder>/stage_2_train_labels.csv           patientId, x, y, width, height, Target; a row for each box
    <folder>/stage_2_detailed_class_info.csv    patientId, class
    <folder>/patients.csv                       patientId, person, source, label_quality (optional)
"""

import csv
import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.evaluation.cases import NORMAL, NOT_NORMAL, OPACITY
from pneumo_monai.findings import View
from pneumo_monai.geometry import SquareGeometry, Window

__all__ = ["NORMAL", "NOT_NORMAL", "OPACITY", "Exam", "read_folder", "read_folders"]

IMAGES = "stage_2_train_images"
LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
PERSONS = "patients.csv"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Exam:
    """One radiograph and what is known of it.

    Attributes
    ----------
    patient_id : str
        The challenge's `patientId`: one exam, in spite of its name. It may stand in several folders.
    folder : str
        Name of the data folder it was read from.
    path : Path
        The DICOM file.
    person : str
        Key of the person, the same in every folder.
    source, label_quality : str
        Where film and label come from.
    klass : str
        The challenge's detailed class.
    target : int
        1: lung opacity, suspicious for pneumonia; 0: none.
    boxes : tuple of tuple of float
        (x, y, width, height) of each opacity in pixels of the film.
    view : View
        As the header states it; known once the file was read.
    content : str
        SHA-256 of the file; empty until the file was read.
    rows, columns : int
        Of the film; 0 until the file was read.
    window : Window or None
        What part of the film its cached square shows; None until the file was read.
    """

    patient_id: str
    folder: str
    path: Path
    person: str
    source: str
    label_quality: str
    klass: str
    target: int
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    view: View = View.NOT_STATED
    content: str = ""
    rows: int = 0
    columns: int = 0
    window: Window | None = None

    @property
    def group(self) -> str:
        """Data folder and label quality: films that may be judged together."""
        return f"{self.folder}/{self.label_quality}"

    def geometry(self, size: int) -> SquareGeometry:
        """Return where a square of `size` pixels a side lies on the film; the file must have been read."""
        if self.window is None:
            raise ValueError("the film was not read yet")
        return SquareGeometry(rows=self.rows, columns=self.columns, size=size, window=self.window)


def read_folders(folders: list[Path]) -> list[Exam]:
    """Read several data folders; their names must differ, because figures are reported by them.

    Raises
    ------
    ConfigurationError
        From `read_folder`, or because two folders have one name.
    """
    names = [folder.resolve().name for folder in folders]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"--data: two folders are called {min(twice)}; rename one, figures go by name")
    return [exam for folder in folders for exam in read_folder(folder)]


def read_folder(folder: Path) -> list[Exam]:
    """Read the labels of one data folder, in the order of the exams' names.

    Raises
    ------
    ConfigurationError
        A file or column is missing, a Target is neither 0 nor 1, or an exam has no class or no person.
    """
    if not (folder / IMAGES).is_dir():
        raise ConfigurationError(f"--data {folder}: {IMAGES}/ is missing; give the folder that holds it and {LABELS}")
    targets, boxes = _targets(folder / LABELS)
    classes = {row["patientId"]: row["class"] for row in _rows(folder / CLASSES, ("patientId", "class"))}
    persons = _persons(folder / PERSONS, list(targets))
    exams = []
    for patient_id in sorted(targets):
        if patient_id not in classes:
            raise ConfigurationError(
                f"{folder / CLASSES}: {patient_id} has no row, but {LABELS} names it; add its class"
            )
        if patient_id not in persons:
            raise ConfigurationError(f"{folder / PERSONS}: {patient_id} has no row; add it, or remove the whole file")
        exams.append(
            Exam(
                patient_id=patient_id,
                folder=folder.resolve().name,
                path=folder / IMAGES / f"{patient_id}.dcm",
                klass=classes[patient_id],
                target=targets[patient_id],
                boxes=tuple(boxes[patient_id]),
                **persons[patient_id],
            )
        )
    return exams


def _rows(file: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [column for column in columns if column not in (reader.fieldnames or [])]
            if missing:
                raise ConfigurationError(f"{file}: the column {missing[0]} is missing; its first line names {columns}")
            return list(reader)
    except FileNotFoundError:
        raise ConfigurationError(f"{file} is missing; unpack the challenge's CSV files beside {IMAGES}/") from None


def _targets(file: Path) -> tuple[dict[str, int], dict[str, list[tuple[float, float, float, float]]]]:
    """Fold the rows of an exam into one target and its boxes."""
    targets: dict[str, int] = {}
    boxes: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    for line, row in enumerate(_rows(file, ("patientId", "x", "y", "width", "height", "Target")), start=2):
        if row["Target"] not in {"0", "1"}:
            raise ConfigurationError(f"{file}, line {line}: Target is {row['Target']!r}; it must be 0 or 1")
        targets[row["patientId"]] = max(targets.get(row["patientId"], 0), int(row["Target"]))
        corners = [row[column] for column in ("x", "y", "width", "height")]
        if all(corners):
            try:
                x, y, width, height = map(float, corners)
            except ValueError:
                raise ConfigurationError(f"{file}, line {line}: x, y, width and height must be numbers") from None
            boxes[row["patientId"]].append((x, y, width, height))
    if not targets:
        raise ConfigurationError(f"{file}: no exam is listed; is this the challenge's training part?")
    return targets, boxes


def _persons(file: Path, patient_ids: list[str]) -> dict[str, dict[str, str]]:
    columns = ("person", "source", "label_quality")
    if not file.is_file():
        _log.warning(
            "%s is missing: exams cannot be grouped by person, each counts as a person of its own, and the same "
            "person may stand in training and test; figures will be too good",
            file,
        )
        return {
            patient_id: {"person": f"exam:{patient_id}", "source": "unknown", "label_quality": "unknown"}
            for patient_id in patient_ids
        }
    rows = _rows(file, ("patientId", *columns))
    return {row["patientId"]: {column: row[column] for column in columns} for row in rows}
