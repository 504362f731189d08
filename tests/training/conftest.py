"""Tiny folders in the layout of the RSNA challenge, drawn here."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from pneumo_monai.uids import derive_uid
from training.recipe import Recipe
from training.records import NORMAL, NOT_NORMAL, OPACITY

RECIPE = Recipe(
    size=32,
    epochs=2,
    batch_size=4,
    learning_rate=1e-3,
    split={"validation": 0.25, "test": 0.25},
)


def write_film(path: Path, *, seed: int, view: str = "PA", shape: tuple[int, int] = (48, 40), bright: int = 0) -> None:
    """Write a Secondary Capture film of noise with one bright square."""
    pixels = np.random.default_rng(seed).integers(0, 120, shape).astype(np.uint8)
    pixels[10:26, 10:26] += np.uint8(bright)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = derive_uid("film", str(path.name))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.Modality, film.ViewPosition, film.BodyPartExamined = "CR", view, "CHEST"
    film.Rows, film.Columns = shape
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 8, 8, 7, 0
    film.PixelData = pixels.tobytes()
    film.save_as(path, enforce_file_format=True)


Challenge = Callable[..., Path]


@pytest.fixture
def challenge(tmp_path: Path) -> Challenge:
    """Return `draw` for folders of this test."""
    return lambda name="films", **settings: draw(tmp_path / name, **settings)


@pytest.fixture(scope="session")
def draw_challenge() -> Challenge:
    """Return `draw`."""
    return draw


def draw(folder: Path, *, persons: int = 12, known_persons: bool = True) -> Path:
    """Draw a data folder of `persons` persons with two exams each; every second one has an opacity."""
    (folder / "stage_2_train_images").mkdir(parents=True)
    labels: list[list[object]] = [["patientId", "x", "y", "width", "height", "Target"]]
    classes: list[list[object]] = [["patientId", "class"]]
    keys: list[list[object]] = [["patientId", "person", "source", "label_quality"]]
    for person in range(persons):
        for visit in range(2):
            exam, positive = f"{person:02d}-{visit}", person % 2
            write_film(
                folder / "stage_2_train_images" / f"{exam}.dcm",
                seed=2 * person + visit,
                view="AP" if person % 4 < 2 else "PA",
                bright=130 * positive,
            )
            # Two boxes for each opacity, as the challenge has several rows for an exam.
            box = [10, 10, 16, 16] if positive else ["", "", "", ""]
            labels += [[exam, *box, positive]] * (1 + positive)
            classes += [[exam, OPACITY if positive else (NORMAL, NOT_NORMAL)[visit]]] * (1 + positive)
            keys.append([exam, f"P{person}", "drawn", "exact"])
    tables = {"stage_2_train_labels.csv": labels, "stage_2_detailed_class_info.csv": classes}
    for file, rows in {**tables, **({"patients.csv": keys} if known_persons else {})}.items():
        with (folder / file).open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
    return folder
