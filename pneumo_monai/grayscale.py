"""The grayscale pipeline of PS3.3 C.11 and PS3.4 N.2 as one table: Modality LUT, VOI LUT, Presentation.

Every step maps one value to one value, so they are worked out once for each value that Bits Stored can hold, in double
precision, and a film of any size is looked up.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from pneumo_monai.attributes import integer, integers, items, label, number, raw, text
from pneumo_monai.errors import Reason, Refused
from pneumo_monai.pixel_description import PixelDescription

__all__ = ["LookupTable", "Rescale", "VoiWindow", "displayed_values", "stated_transformation"]

_MAX_RESCALE = 1e9
"""Rescale beyond this, or its inverse, maps no detector's values; double precision would lose the film in it."""


def displayed_values(dataset: Dataset, description: PixelDescription) -> NDArray[np.float32]:
    """Work out the displayed value of every stored value.

    Parameters
    ----------
    dataset : Dataset
        An instance; its Modality LUT, VOI LUT and General Equipment modules are read.
    description : PixelDescription
        How its pixels are stored.

    Returns
    -------
    numpy.ndarray
        Table, (2 ** bits_stored,), float32, 0 (black) to 1 (white); entry i belongs to the stored bits i.

    Raises
    ------
    Refused
        A lookup table or the rescale cannot be used.
    """
    stored = description.values()
    modality, voi = stated_transformation(dataset, description)
    low, high = modality.reach(*description.range)
    values = modality.apply(stored)
    scaled = (values - low) / (high - low) if voi is None else voi.scaled(values)
    shown: NDArray[np.float32] = np.clip(scaled, 0.0, 1.0).astype(np.float32)
    if description.inverted:
        shown = np.float32(1.0) - shown
    shown[_padding(dataset, description, stored)] = 0.0
    return shown


@dataclass(frozen=True)
class LookupTable:
    """A lookup table (C.11.1.1): the value that the first entry belongs to, the entries, and the greatest of them."""

    first: int
    entries: NDArray[np.float64]
    full: float

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look values up; outside the table its ends hold, between two entries the line that joins them."""
        return np.interp(values, self.first + np.arange(len(self.entries)), self.entries)

    def reach(self, low: float, high: float) -> tuple[float, float]:  # noqa: ARG002 - whatever goes in
        """Return the range of what comes out."""
        return 0.0, self.full

    def scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look values up and map the range of what comes out to 0 to 1."""
        return self.apply(values) / self.full


@dataclass(frozen=True)
class Rescale:
    """Rescale Slope (0028,1053) and Rescale Intercept (0028,1052)."""

    slope: float
    intercept: float

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rescale values."""
        return values * self.slope + self.intercept

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """Return the range of what comes out."""
        ends = sorted((low * self.slope + self.intercept, high * self.slope + self.intercept))
        return ends[0], ends[1]


@dataclass(frozen=True)
class VoiWindow:
    """Window Center (0028,1050), Window Width (0028,1051) and VOI LUT Function (0028,1056), empty where not stated."""

    center: float
    width: float
    function: str

    def scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the window, mapped to 0 to 1, not yet clipped."""
        return _window(values, self.center, self.width, self.function)


def stated_transformation(
    dataset: Dataset, description: PixelDescription
) -> tuple[LookupTable | Rescale, LookupTable | VoiWindow | None]:
    """Read by which Modality LUT (C.11.1) and which VOI LUT (C.11.2) a film is displayed.

    Returns
    -------
    LookupTable or Rescale
        The first item of Modality LUT Sequence, else the rescale, the identity where none is stated.
    LookupTable, VoiWindow or None
        The first item of VOI LUT Sequence, else the first window that shows something, else nothing: the full range.

    Raises
    ------
    Refused
        A lookup table or the rescale cannot be used.
    """
    modality = _modality(dataset, description)
    return modality, _voi(dataset, description, *modality.reach(*description.range))


def _modality(dataset: Dataset, description: PixelDescription) -> LookupTable | Rescale:
    sequence = items(dataset, "ModalityLUTSequence")
    if sequence:
        return _read_table(sequence[0], description, *description.range)
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if not 1.0 / _MAX_RESCALE <= abs(slope) <= _MAX_RESCALE or abs(intercept) > _MAX_RESCALE:
        raise Refused(Reason.PIXEL_FORMAT, f"{label('RescaleSlope')} {slope:g}, Rescale Intercept {intercept:g}")
    return Rescale(slope, intercept)


def _voi(dataset: Dataset, description: PixelDescription, low: float, high: float) -> LookupTable | VoiWindow | None:
    sequence = items(dataset, "VOILUTSequence")
    if sequence:
        return _read_table(sequence[0], description, low, high)
    center, width = number(dataset, "WindowCenter"), number(dataset, "WindowWidth")
    if center is None or width is None or not _shows_something(center, width, low, high):
        return None
    return VoiWindow(center, width, text(dataset, "VOILUTFunction").upper())


def _shows_something(center: float, width: float, low: float, high: float) -> bool:
    """Tell whether a window is one (C.11.2.1.2: a positive width) and meets the values that there can be."""
    return width > 0 and center - width / 2 < high and center + width / 2 > low


def _window(values: NDArray[np.float64], center: float, width: float, function: str) -> NDArray[np.float64]:
    """Apply a window, mapped to 0 to 1, not yet clipped."""
    with np.errstate(over="ignore"):
        if function == "SIGMOID":  # C.11.2.1.3.1
            return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
        # LINEAR begins at a width of 1; below it the exact function says what was meant.
        if function == "LINEAR_EXACT" or width < 1:  # C.11.2.1.3.2
            return (values - center) / width + 0.5
        if width == 1:  # C.11.2.1.2.1: a step
            return (values > center - 0.5).astype(np.float64)
        return (values - (center - 0.5)) / (width - 1.0) + 0.5


def _padding(dataset: Dataset, description: PixelDescription, stored: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which stored values are no image (C.7.5.1.1.2)."""
    value = integer(dataset, "PixelPaddingValue")
    limit = integer(dataset, "PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    ends = sorted(_as_pixel(end, description) for end in (value, value if limit is None else limit))
    mask: NDArray[np.bool_] = (stored >= ends[0]) & (stored <= ends[1])
    # A range that leaves nothing is a mistake of the header, not an empty film.
    return np.zeros_like(mask) if mask.all() else mask


def _as_pixel(value: int, description: PixelDescription) -> int:
    """Read a value as pixels are read: its VR may say unsigned where they are signed, and the other way round."""
    pattern = value & 0xFFFF
    return pattern - 0x10000 if description.signed and pattern > 0x7FFF else pattern


def _read_table(item: Dataset, description: PixelDescription, low: float, high: float) -> LookupTable:
    """Read LUT Descriptor (0028,3002) and LUT Data (0028,3006) of a table for values from `low` to `high`."""
    descriptor = integers(item, "LUTDescriptor")
    if len(descriptor) != 3 or not 8 <= descriptor[2] <= 16:
        raise Refused(Reason.PIXEL_FORMAT, f"{label('LUTDescriptor')} is {descriptor}")
    # Read as signed where pixels are, and 65536 entries do not fit 16 bits: 0 stands for them.
    count = descriptor[0] & 0xFFFF or 1 << 16
    entries = _read_entries(item, count, descriptor[2], big_endian=description.transfer_syntax == ExplicitVRBigEndian)
    bits = _entry_bits(descriptor[2], int(entries.max()))
    return LookupTable(
        _first_mapped(descriptor[1], count, low, high), entries.astype(np.float64), float((1 << bits) - 1)
    )


def _entry_bits(stated: int, greatest: int) -> int:
    """Return how many bits an entry has: some tables use more than they state, and 16 often is but a word's size."""
    used = max(8, greatest.bit_length())
    return used if stated == 16 else max(stated, used)


def _read_entries(item: Dataset, count: int, bits: int, *, big_endian: bool) -> NDArray[np.uint16]:
    """Read LUT Data: 16 bit words, or 8 bit entries two to a word (C.11.1.1.1), the first in the low byte."""
    data = raw(item, "LUTData")
    if isinstance(data, bytes):
        words = np.frombuffer(data[: len(data) // 2 * 2], dtype=">u2" if big_endian else "<u2").astype("<u2")
    else:
        words = (np.array(integers(item, "LUTData"), dtype=np.int64) & 0xFFFF).astype("<u2")
    if len(words) < count and bits == 8:
        words = words.view(np.uint8).astype("<u2")
    if len(words) < count:
        raise Refused(Reason.PIXEL_FORMAT, f"{label('LUTData')} holds {len(words)} of {count} entries")
    return words[:count]


def _first_mapped(first: int, count: int, low: float, high: float) -> int:
    """Return the first value mapped, read as signed or unsigned: as given, unless only the other meets the values."""
    other = first - 0x10000 if first > 0x7FFF else first + 0x10000
    return next((start for start in (first, other) if start <= high and start + count - 1 >= low), first)
