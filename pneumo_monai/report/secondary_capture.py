"""A result as pictures that every viewer shows: one Secondary Capture Image for each film (PS3.3 A.8.1)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    SecondaryCaptureImageStorage,
)

from pneumo_monai.attributes import text
from pneumo_monai.equipment import MANUFACTURER, MODEL_NAME, SOFTWARE_VERSION
from pneumo_monai.errors import Refused
from pneumo_monai.findings import StudyFindings
from pneumo_monai.forms import Form
from pneumo_monai.report.form_codes import SOURCE_IMAGE, SPATIAL_RESAMPLING
from pneumo_monai.report.instance import begin_instance, place_series, stated_code, stated_codes
from pneumo_monai.report.picture import draw_result
from pneumo_monai.report.provenance import stamp
from pneumo_monai.report.result import Result

__all__ = ["build_secondary_captures"]

_WITH_REGION = "Resampled to RGB; banner, heat map, outline of the finding and assessment burned in. Not for diagnosis."
_WITHOUT_REGION = "Resampled to RGB; banner and what the result says burned in. Not for diagnosis."

_LOSSY: Mapping[UID, str] = MappingProxyType(
    {
        JPEGBaseline8Bit: "ISO_10918_1",
        JPEGExtended12Bit: "ISO_10918_1",
        JPEGLSNearLossless: "ISO_14495_1",
        JPEG2000: "ISO_15444_1",
    }
)
"""Transfer syntaxes that lose something, JPEG 2000 at least may, and their Lossy Image Compression Method."""


def build_secondary_captures(result: Result) -> Sequence[Dataset]:
    """Build a picture of each film that could be decoded, with all that is said of it burned in.

    The pixels are RGB, 8 bit and not compressed: every archive takes these, and a picture has no more than 5 MB.

    Parameters
    ----------
    result : Result
        What is said, of which films, and their pictures.

    Returns
    -------
    sequence of Dataset
        One instance for each film of the outcome that has a picture, in their order.
    """
    known = result.known_references()
    return [_build(result, uid, known.get(uid)) for uid in result.outcome.film_uids if uid in result.pictures]


def _build(result: Result, uid: str, reference: Dataset | None) -> Dataset:
    film = result.sources[uid]
    instance = begin_instance(result, Form.SECONDARY_CAPTURE, SecondaryCaptureImageStorage, uid)
    instance.Modality = "OT"
    place_series(film, instance)
    instance.PatientOrientation = list(stated_codes(film, "PatientOrientation"))
    # SC Equipment and SC Image (C.8.6.1, C.8.6.2)
    instance.ConversionType = "WSD"
    instance.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    instance.SecondaryCaptureDeviceManufacturerModelName = MODEL_NAME
    instance.SecondaryCaptureDeviceSoftwareVersions = SOFTWARE_VERSION
    _derive(reference, instance, description=_WITH_REGION if _is_present(result, uid) else _WITHOUT_REGION)
    _hand_on_loss(film, instance)
    _draw(np.asarray(draw_result(result, uid)), instance)
    stamp(instance, result, Form.SECONDARY_CAPTURE)
    instance.DateOfSecondaryCapture, instance.TimeOfSecondaryCapture = instance.ContentDate, instance.ContentTime
    return instance


def _is_present(result: Result, uid: str) -> bool:
    outcome = result.outcome
    return isinstance(outcome, StudyFindings) and any(f.present for f in outcome.films if f.sop_instance_uid == uid)


def _derive(reference: Dataset | None, instance: Dataset, *, description: str) -> None:
    """Say what it was made from and how (General Image, C.7.6.1)."""
    instance.ImageType = ["DERIVED", "SECONDARY"]
    instance.DerivationDescription = description
    instance.DerivationCodeSequence = [CodedConcept.from_code(SPATIAL_RESAMPLING)]
    if reference is not None:
        source = Dataset()
        source.ReferencedSOPClassUID = reference.SOPClassUID
        source.ReferencedSOPInstanceUID = reference.SOPInstanceUID
        source.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(SOURCE_IMAGE)]
        instance.SourceImageSequence = [source]
    instance.BurnedInAnnotation = "YES"
    instance.RecognizableVisualFeatures = "NO"


def _hand_on_loss(film: Dataset, instance: Dataset) -> None:
    """Say that something was lost before, if it was: that is never undone (C.7.6.1.1.5)."""
    method = _LOSSY.get(getattr(film, "file_meta", Dataset()).get("TransferSyntaxUID", ""))
    stated = stated_code(film, "LossyImageCompression")
    instance.LossyImageCompression = "01" if method or stated == "01" else "00"
    if instance.LossyImageCompression == "00":
        return
    try:
        ratio = float(text(film, "LossyImageCompressionRatio"))
    except (Refused, ValueError):
        ratio = 0.0
    if 1.0 <= ratio < 1e6:
        instance.LossyImageCompressionRatio = f"{ratio:.6g}"
    if method := stated_code(film, "LossyImageCompressionMethod") or method:
        instance.LossyImageCompressionMethod = method


def _draw(pixels: np.ndarray, instance: Dataset) -> None:
    """Write the picture, (H, W, 3) uint8 (Image Pixel, C.7.6.3)."""
    instance.SamplesPerPixel = 3
    instance.PhotometricInterpretation = "RGB"
    instance.PlanarConfiguration = 0
    instance.Rows, instance.Columns = pixels.shape[:2]
    instance.BitsAllocated = instance.BitsStored = 8
    instance.HighBit = 7
    instance.PixelRepresentation = 0
    encoded = pixels.tobytes()
    instance.add_new("PixelData", "OB", encoded + b"\0" * (len(encoded) % 2))
