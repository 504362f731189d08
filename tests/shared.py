"""Where the shared radiographs lie, which are no part of the project."""

import csv
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


def shared_folder(name: str) -> Path:
    """Return a folder of the shared data; skip the test where there is none."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip("the shared radiographs are not on this machine")
    return folder


def manifest() -> list[dict[str, str]]:
    """Return the rows of the manifest of odd DICOM files; none where the data is not there."""
    file = SHARED / "dicom" / "manifest.csv"
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
