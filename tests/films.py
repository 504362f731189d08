"""Small radiographs made here, so that a test needs no file but itself."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

__all__ = ["CR", "DX", "SC", "film_bytes", "gradient", "make_film", "make_item"]

CR = ComputedRadiographyImageStorage
DX = DigitalXRayImageStorageForPresentation
SC = SecondaryCaptureImageStorage

_MODALITY = {CR: "CR", DX: "DX", SC: "CR"}


def gradient(rows: int, columns: int, bits_stored: int) -> NDArray[np.uint16]:
    """Pixels that rise from 0 at the top left to the largest stored value at the bottom right."""
    ramp = np.add.outer(np.arange(rows), np.arange(columns)) / (rows + columns - 2)
    return np.round(ramp * ((1 << bits_stored) - 1)).astype(np.uint16)


def make_film(
    *,
    pixels: NDArray[Any] | None = None,
    rows: int = 64,
    columns: int = 48,
    bits_stored: int = 8,
    sop_class: str = CR,
    transfer_syntax: str = ExplicitVRLittleEndian,
    **attributes: Any,
) -> Dataset:
    """Make a frontal chest film as a scanner sends it, file meta information and pixel data included.

    Every call draws new Study, Series and SOP Instance UIDs; give them to place several films in one study.

    Parameters
    ----------
    pixels : numpy.ndarray, optional
        Stored values, (H, W), signed or unsigned; by default a `gradient` of `rows` x `columns`.
    rows, columns : int
        Size of the default pixels.
    bits_stored : int
        Bits Stored (0028,0101), 1 to 16; Bits Allocated follows.
    sop_class : str
        `CR`, `DX` or `SC`.
    transfer_syntax : str
        An uncompressed or deflated one; call ``Dataset.compress`` on the result for others.
    **attributes
        DICOM keywords that replace what stands in the film, valid or not; None takes the attribute out.
    """
    stored = gradient(rows, columns, bits_stored) if pixels is None else np.asarray(pixels)
    allocated = 8 if bits_stored <= 8 else 16
    signed = bool(np.issubdtype(stored.dtype, np.signedinteger))
    encoded = stored.astype(f"<{'i' if signed else 'u'}{allocated // 8}").tobytes()
    film = Dataset()
    defaults: dict[str, Any] = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": generate_uid(prefix=None),
        "StudyInstanceUID": generate_uid(prefix=None),
        "SeriesInstanceUID": generate_uid(prefix=None),
        "StudyDate": "20240131",
        "StudyTime": "101500",
        "AccessionNumber": "A-17",
        "Modality": _MODALITY.get(sop_class, "DX"),
        "ReferringPhysicianName": "Referrer^Test",
        "PatientName": "Phantom^Chest",
        "PatientID": "PHANTOM-1",
        "PatientBirthDate": "19700101",
        "PatientSex": "O",
        "PatientAge": "054Y",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "StudyID": "1",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "PatientOrientation": ["L", "F"],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": allocated,
        "BitsStored": bits_stored,
        "HighBit": bits_stored - 1,
        "PixelRepresentation": int(signed),
        "PixelData": encoded + b"\0" * (len(encoded) % 2),
    }
    if sop_class == SC:
        defaults["ConversionType"] = "WSD"
    if sop_class == DX:
        defaults["PresentationIntentType"] = "FOR PRESENTATION"
    for keyword, value in {**defaults, **attributes}.items():
        if value is not None:
            _set(film, keyword, value, allocated)
    film.file_meta = FileMetaDataset()
    _set(film.file_meta, "MediaStorageSOPClassUID", film.get("SOPClassUID", sop_class), allocated)
    _set(film.file_meta, "MediaStorageSOPInstanceUID", film.get("SOPInstanceUID", generate_uid(prefix=None)), allocated)
    _set(film.file_meta, "TransferSyntaxUID", transfer_syntax, allocated)
    return film


def make_item(**attributes: Any) -> Dataset:
    """Make the item of a sequence; attributes may be wrong on purpose."""
    item = Dataset()
    for keyword, value in attributes.items():
        _set(item, keyword, value, 8)
    return item


def _set(film: Dataset, keyword: str, value: Any, allocated: int) -> None:
    """Set an attribute whatever its value: a test's film may be wrong on purpose."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword of the DICOM dictionary")
    vr = dictionary_VR(tag)
    if vr == "OB or OW":
        vr = "OB" if allocated == 8 else "OW"
    elif vr == "US or SS":
        vr = "SS" if film.PixelRepresentation else "US"
    film[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)


def film_bytes(film: Dataset) -> bytes:
    """Encode a film as a Part 10 file."""
    buffer = BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
