"""Sound films that the fuzzer breaks: every transfer syntax that is read, and headers that say much."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from pneumo_monai.demo.phantoms import draw_phantom
from tests import codestreams
from tests.films import DX, SC, film_bytes, make_film, make_item

__all__ = ["make_corpus"]

_CODESTREAMS = {
    JPEGBaseline8Bit: (codestreams.JPEG_BASELINE_8BIT, 8),
    JPEGExtended12Bit: (codestreams.JPEG_EXTENDED_12BIT, 12),
    JPEGLossless: (codestreams.JPEG_LOSSLESS, 12),
    JPEGLosslessSV1: (codestreams.JPEG_LOSSLESS_SV1, 12),
    HTJ2KLossless: (codestreams.HTJ2K_LOSSLESS_RPCL, 12),
    HTJ2KLosslessRPCL: (codestreams.HTJ2K_LOSSLESS_RPCL, 12),
    HTJ2K: (codestreams.HTJ2K_LOSSY, 12),
}
_ENCODED_HERE: dict[UID, dict[str, Any]] = {
    RLELossless: {},
    JPEGLSLossless: {},
    JPEGLSNearLossless: {"jls_error": 3},
    JPEG2000Lossless: {},
    JPEG2000: {"j2k_cr": [5]},
}
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)


def make_corpus(data: Path | None = None) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Make the films, and read those of a folder.

    Parameters
    ----------
    data : pathlib.Path, optional
        A folder of real DICOM files.

    Returns
    -------
    tuple of two sequences of bytes
        Part 10 files drawn here, alike in every run; then those of the folder, in order of their names.
    """
    films = [*_native(), *_encapsulated(), *_wordy()]
    for number, film in enumerate(films):
        _name(film, number)
    real = sorted(data.glob("*.dcm")) if data else []
    return [film_bytes(film) for film in films], [file.read_bytes() for file in real]


def _phantom(bits: int, *, signed: bool = False) -> NDArray[Any]:
    stored = draw_phantom(48, 40, opacity=True, seed=bits) * ((1 << bits) - 1)
    return (stored - (1 << (bits - 1))).astype(np.int16) if signed else stored.astype(np.uint16)


def _native() -> list[Dataset]:
    films = []
    for syntax in _NATIVE:
        for bits, signed in ((8, False), (12, False), (16, False), (12, True)):
            film = make_film(pixels=_phantom(bits, signed=signed), bits_stored=bits, transfer_syntax=syntax)
            if syntax == ExplicitVRBigEndian and bits > 8:
                film.PixelData = np.frombuffer(film.PixelData, "<u2").astype(">u2").tobytes()
            films.append(film)
    return films


def _encapsulated() -> list[Dataset]:
    films = []
    for syntax, (codestream, bits) in _CODESTREAMS.items():
        for fragments in (1, 3):
            film = make_film(rows=40, columns=32, bits_stored=bits, transfer_syntax=syntax)
            film.PixelData = encapsulate([codestream], fragments_per_frame=fragments)
            films.append(film)
    for syntax, options in _ENCODED_HERE.items():
        for bits, signed in ((8, False), (12, False), (16, True)):
            film = make_film(pixels=_phantom(bits, signed=signed), bits_stored=bits)
            film.compress(syntax, generate_instance_uid=False, **options)
            films.append(film)
    return films


def _wordy() -> list[Dataset]:
    """Make films whose tables, codes and windows are read as well."""
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [256, 0, 12])
    lut.add_new("LUTData", "US", [16 * step for step in range(256)])
    chest = make_item(CodeValue="51185008", CodingSchemeDesignator="SCT", CodeMeaning="Chest")
    view = make_item(CodeValue="399348003", CodingSchemeDesignator="SCT", CodeMeaning="antero-posterior")
    equipment = make_item(Manufacturer="Others", SoftwareVersions=["1", "2"], PurposeOfReferenceCodeSequence=[chest])
    return [
        make_film(
            sop_class=DX,
            BodyPartExamined=None,
            ViewPosition=None,
            AnatomicRegionSequence=[chest],
            ViewCodeSequence=[view],
            ContributingEquipmentSequence=[equipment, equipment],
            RescaleSlope="1.5",
            RescaleIntercept="-20",
            RescaleType="US",
            WindowCenter=["120", "60"],
            WindowWidth=["200", "90"],
            VOILUTFunction="SIGMOID",
        ),
        make_film(sop_class=SC, ModalityLUTSequence=[lut], VOILUTSequence=[lut, lut], PatientAge="51"),
        make_film(PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0, PixelPaddingRangeLimit=3),
        make_film(SpecificCharacterSet=["", "ISO 2022 IR 87"], SeriesDescription="Thorax p.a.", PatientAge=None),
        make_film(transfer_syntax=ImplicitVRLittleEndian, VOILUTSequence=[lut], SeriesDescription="CHEST AP PORTABLE"),
    ]


def _name(film: Dataset, number: int) -> None:
    """Give a film the same UIDs in every run: a case is found again by its seed and number."""
    film.StudyInstanceUID = f"2.25.{10**30 + number}"
    film.SeriesInstanceUID = f"2.25.{2 * 10**30 + number}"
    film.SOPInstanceUID = f"2.25.{3 * 10**30 + number}"
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
