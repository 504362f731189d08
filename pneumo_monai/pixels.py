"""Stored values to displayed values: what a film looks like to a person, as numbers.

The grayscale pipeline of PS3.3 C.11 and PS3.4 N.2, in its order: Modality LUT, VOI LUT, Presentation. Training,
evaluation and the service all start from `read_film`; there is no second implementation.
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels import apply_modality_lut, apply_voi

from pneumo_monai.errors import Reason, Refused

__all__ = ["MAX_PIXELS", "check_pixel_description", "read_film"]

MAX_PIXELS = 1 << 26
"""Largest Rows x Columns that is decoded. The largest flat-panel detectors (43 x 43 cm at 0.1 mm) have 1.9e7."""

MIN_SIDE = 16
"""Fewest rows or columns that are decoded: less is no picture, and MONAI's filters need some neighbourhood."""


def check_pixel_description(dataset: Dataset) -> None:
    """Refuse what cannot be decoded into one grayscale film, before a byte of it is decoded.

    Parameters
    ----------
    dataset : Dataset
        The whole instance, file meta information included.

    Raises
    ------
    Refused
        No pixel data, colour, several frames, sizes that are missing or beyond `MAX_PIXELS`, an odd pixel format, or
        fewer bytes than the header declares.
    """
    if "PixelData" not in dataset or not dataset.PixelData:
        raise Refused(Reason.NO_PIXEL_DATA, "the object carries no Pixel Data (7FE0,0010)")
    if (frames := int(dataset.get("NumberOfFrames") or 1)) != 1:
        raise Refused(Reason.MULTIFRAME, f"Number of Frames (0028,0008) is {frames}, one is read")
    photometric = str(dataset.get("PhotometricInterpretation", "") or "")
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        raise Refused(Reason.COLOUR, f"Photometric Interpretation (0028,0004) is {photometric or 'missing'}")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if rows * columns > MAX_PIXELS:
        raise Refused(Reason.TOO_LARGE, f"declares {rows} x {columns} pixels, at most {MAX_PIXELS} are decoded")
    if min(rows, columns) < MIN_SIDE:
        raise Refused(Reason.PIXEL_FORMAT, f"declares {rows} x {columns} pixels, too few for a film")
    allocated, stored = int(dataset.get("BitsAllocated") or 0), int(dataset.get("BitsStored") or 0)
    if allocated not in {8, 16} or not 0 < stored <= allocated:
        raise Refused(Reason.PIXEL_FORMAT, f"Bits Allocated {allocated}, Bits Stored {stored}: 8 or 16 bit are read")
    if "PixelRepresentation" not in dataset:
        raise Refused(Reason.PIXEL_FORMAT, "Pixel Representation (0028,0103) is missing")
    syntax, length = dataset.file_meta.TransferSyntaxUID, len(dataset.PixelData)
    if not syntax.is_encapsulated and length < rows * columns * allocated // 8:
        raise Refused(Reason.UNDECODABLE, f"Pixel Data is cut short: {length} bytes for {rows} x {columns} pixels")


def read_film(dataset: Dataset) -> NDArray[np.float32]:
    """Decode one grayscale film into displayed values.

    Modality LUT Sequence or rescale (C.11.1); then the first item of VOI LUT Sequence, else the first window with its
    VOI LUT Function (C.11.2), else the full range that Bits Stored can hold (so 8 bit is ``x / 255``); pixels in the
    padding range (C.7.5.1.1.2) become the darkest displayed value; MONOCHROME1 is inverted last.

    Parameters
    ----------
    dataset : Dataset
        An instance with file meta information and Pixel Data (7FE0,0010).

    Returns
    -------
    numpy.ndarray
        Film, shape (H, W), float32, 0 (black) to 1 (white).

    Raises
    ------
    Refused
        From `check_pixel_description`, or because the codestream cannot be decoded.
    """
    check_pixel_description(dataset)
    stored = _decode(dataset)
    padding = _padding_mask(dataset, stored)
    values, low, high = _modality(dataset, stored)
    shown = _voi(dataset, values, low, high)
    if padding is not None:
        shown[padding] = 1.0 if dataset.PhotometricInterpretation == "MONOCHROME1" else 0.0
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1.0 - shown
    return np.ascontiguousarray(shown, dtype=np.float32)


def _decode(dataset: Dataset) -> NDArray[np.integer]:
    try:
        with warnings.catch_warnings():
            # Real films are tolerated where the decoder can repair them (odd padding, trailing bytes).
            warnings.simplefilter("ignore")
            stored: NDArray[np.integer] = dataset.pixel_array
    except Exception as error:  # four decoder libraries raise as they please on hostile bytes
        raise Refused(Reason.UNDECODABLE, f"the codestream could not be decoded ({type(error).__name__})") from error
    declared = (dataset.Rows, dataset.Columns)
    if stored.shape != declared:
        raise Refused(Reason.UNDECODABLE, f"decoded to {stored.shape}, the header declares {declared}")
    return stored


def _stored_range(dataset: Dataset) -> tuple[int, int]:
    bits = int(dataset.BitsStored)
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dataset.PixelRepresentation == 1 else (0, (1 << bits) - 1)


def _padding_mask(dataset: Dataset, stored: NDArray[np.integer]) -> NDArray[np.bool_] | None:
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit", value)
    low, high = sorted((int(value), int(limit)))
    mask: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return mask if mask.any() else None


def _modality(dataset: Dataset, stored: NDArray[np.integer]) -> tuple[NDArray[np.float32], float, float]:
    """Return values after the Modality LUT and the range they can take."""
    low, high = _stored_range(dataset)
    sequence = dataset.get("ModalityLUTSequence")
    if sequence:
        bits = int(sequence[0].LUTDescriptor[2])
        return apply_modality_lut(stored, dataset).astype(np.float32), 0.0, float((1 << bits) - 1)
    slope, intercept = _number(dataset.get("RescaleSlope"), 1.0), _number(dataset.get("RescaleIntercept"), 0.0)
    if slope == 0.0:
        raise Refused(Reason.PIXEL_FORMAT, "Rescale Slope (0028,1053) is 0")
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept), ends[0], ends[1]


def _voi(dataset: Dataset, values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    sequence = dataset.get("VOILUTSequence")
    if sequence:
        bits = int(sequence[0].LUTDescriptor[2])
        shown: NDArray[np.float32] = apply_voi(values.astype(np.int64), dataset, index=0).astype(np.float32)
        return shown / np.float32((1 << bits) - 1)
    center, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if center is None or width is None:
        return np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    function = str(dataset.get("VOILUTFunction", "") or "LINEAR").upper()
    return _window(values, center, width, function, low, high)


def _window(
    values: NDArray[np.float32], center: float, width: float, function: str, low: float, high: float
) -> NDArray[np.float32]:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, mapped to [0, 1]; a width the standard forbids falls back to the full range."""
    x = values.astype(np.float64)
    if function == "SIGMOID" and width > 0:
        shown = 1.0 / (1.0 + np.exp(np.clip(-4.0 * (x - center) / width, -700.0, 700.0)))
    elif function == "LINEAR_EXACT" and width > 0:
        shown = (x - center) / width + 0.5
    elif function == "LINEAR" and width == 1:
        shown = (x > center - 0.5).astype(np.float64)
    elif function == "LINEAR" and width > 1:
        shown = (x - (center - 0.5)) / (width - 1.0) + 0.5
    else:
        shown = (x - low) / (high - low)
    return np.clip(shown, 0.0, 1.0).astype(np.float32)


def _first(value: object) -> float | None:
    if isinstance(value, MultiValue):
        value = value[0] if len(value) else None
    return None if value is None or value == "" else float(value)  # type: ignore[arg-type]


def _number(value: object, default: float) -> float:
    return default if value is None or value == "" else float(value)  # type: ignore[arg-type]
