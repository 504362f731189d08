"""Procedurally drawn chests: nobody's film, named as such, enough to see the road work.

They look like radiographs from far away only. What the model says of them means nothing.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from pneumo_monai.uids import derive_uid

__all__ = ["PHANTOMS", "draw_phantom", "write_phantoms"]

_BITS = 12

PHANTOMS = (
    {"name": "clear", "view": "PA", "rows": 1024, "columns": 1024, "photometric": "MONOCHROME2"},
    {"name": "opacity", "view": "AP", "rows": 1024, "columns": 1024, "photometric": "MONOCHROME2"},
    {"name": "portrait", "view": "PA", "rows": 1200, "columns": 1000, "photometric": "MONOCHROME1"},
)


def draw_phantom(rows: int, columns: int, *, opacity: bool, seed: int) -> NDArray[np.float32]:
    """Draw a chest: (rows, columns) float32 in [0, 1], air dark, bone bright."""
    noise = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    film = np.full((rows, columns), 0.03, dtype=np.float32)
    film += 0.52 * _soft((x / 0.92) ** 4 + ((y - 0.25) / 1.25) ** 4, 1.0, 0.06)  # trunk
    film += 0.20 * _soft((x / 0.13) ** 2 + ((y - 0.1) / 1.3) ** 2, 1.0, 0.5)  # spine and mediastinum
    for side in (-1.0, 1.0):
        lung = _soft(((x - side * 0.43) / 0.31) ** 2 + ((y + 0.02) / 0.66) ** 2, 1.0, 0.08)
        lung *= 1.0 - _soft(((x - side * 0.45) / 0.45) ** 2 + ((y - 0.88) / 0.42) ** 2, 1.0, 0.08)  # diaphragm
        film -= 0.40 * lung
        for rib in range(9):  # ribs fall away from the spine
            centre = -0.62 + 0.14 * rib + 0.22 * (np.abs(x) - 0.2) ** 2 * 4
            film += 0.05 * np.exp(-(((y - centre) / 0.016) ** 2)) * lung
    film += 0.20 * _soft(((x - 0.12) / 0.30) ** 2 + ((y - 0.36) / 0.30) ** 2, 1.0, 0.25)  # heart
    if opacity:
        texture = 0.85 + 0.3 * noise.random((rows, columns), dtype=np.float32)
        film += 0.30 * np.exp(-(((x + 0.45) / 0.2) ** 2 + ((y - 0.3) / 0.22) ** 2)) * texture
    film += noise.normal(0.0, 0.012, film.shape).astype(np.float32)
    return np.clip(film, 0.0, 1.0)


def write_phantoms(folder: Path) -> list[Path]:
    """Write the phantoms as Computed Radiography files and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / f"phantom-{spec['name']}.dcm", dict(spec), seed) for seed, spec in enumerate(PHANTOMS)]


def _write(path: Path, spec: dict[str, object], seed: int) -> Path:
    name, rows, columns = str(spec["name"]), int(str(spec["rows"])), int(str(spec["columns"]))
    shown = draw_phantom(rows, columns, opacity=name == "opacity", seed=seed)
    stored = np.round(shown * ((1 << _BITS) - 1)).astype(np.uint16)
    if spec["photometric"] == "MONOCHROME1":
        stored = ((1 << _BITS) - 1) - stored
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID = film.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = UID(derive_uid("phantom", "film", name))
    film.SeriesInstanceUID = derive_uid("phantom", "series", name)
    film.StudyInstanceUID = derive_uid("phantom", "study", name)
    film.PatientName, film.PatientID = f"PHANTOM^{name.upper()}", f"PHANTOM-{seed + 1}"
    film.PatientBirthDate, film.PatientSex, film.PatientAge = "", "", "050Y"
    film.StudyDate, film.StudyTime, film.AccessionNumber, film.StudyID = "20260101", "120000", "", f"P{seed + 1}"
    film.ReferringPhysicianName = ""
    film.StudyDescription = "Procedurally drawn phantom, nobody's film"
    film.Modality, film.BodyPartExamined, film.ViewPosition = "CR", "CHEST", str(spec["view"])
    film.Manufacturer = "pneumo-monai demo"
    film.SeriesNumber, film.InstanceNumber, film.PatientOrientation = 1, 1, ["L", "F"]
    film.ImageType = ["DERIVED", "PRIMARY"]
    film.Rows, film.Columns, film.SamplesPerPixel = rows, columns, 1
    film.PhotometricInterpretation = str(spec["photometric"])
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, _BITS, _BITS - 1, 0
    film.PixelData = stored.tobytes()
    film.save_as(path, enforce_file_format=True)
    return path


def _soft(distance: NDArray[np.float32], edge: float, width: float) -> NDArray[np.float32]:
    """1 inside, 0 outside, with an edge as soft as anatomy's."""
    soft: NDArray[np.float32] = 1.0 / (1.0 + np.exp(np.clip((distance - edge) / width, -30.0, 30.0)))
    return soft
