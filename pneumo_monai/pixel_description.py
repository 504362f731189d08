"""What an instance declares about its pixels (Image Pixel module, PS3.3 C.7.6.3), checked before one is decoded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.config import IGNORE
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pneumo_monai.attributes import integer, is_uid, label, quoted, raw, text
from pneumo_monai.errors import Reason, Refused

__all__ = ["MAX_PIXELS", "MIN_SIDE", "PixelDescription", "check_pixel_description", "describe_pixels"]

MAX_PIXELS = 1 << 26
"""Largest Rows x Columns that is decoded. The largest flat-panel detectors (43 x 43 cm at 0.1 mm) have 1.9e7."""

MIN_SIDE = 16
"""Fewest rows or columns that are decoded: less is no picture, and MONAI's filters need some neighbourhood."""


@dataclass(frozen=True, kw_only=True)
class PixelDescription:
    """One grayscale film as it is stored.

    Attributes
    ----------
    transfer_syntax : UID
        Transfer Syntax UID (0002,0010).
    rows, columns : int
        Rows (0028,0010) and Columns (0028,0011).
    bits_allocated, bits_stored, high_bit : int
        Bits Allocated (0028,0100), 8 or 16; Bits Stored (0028,0101); High Bit (0028,0102).
    signed : bool
        Whether Pixel Representation (0028,0103) is two's complement.
    inverted : bool
        Whether Photometric Interpretation (0028,0004) is MONOCHROME1: the lowest value is white.
    """

    transfer_syntax: UID
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    inverted: bool

    @property
    def range(self) -> tuple[int, int]:
        """The least and the greatest value that Bits Stored can hold."""
        half = 1 << (self.bits_stored - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

    def values(self) -> NDArray[np.float64]:
        """Return the value of every pattern of Bits Stored bits, from all zeros to all ones: (2 ** bits_stored,)."""
        patterns = np.arange(1 << self.bits_stored, dtype=np.float64)
        return np.where(patterns > self.range[1], patterns - (1 << self.bits_stored), patterns)


def check_pixel_description(dataset: Dataset) -> PixelDescription:
    """Refuse what cannot be decoded into one grayscale film, before a byte of it is decoded.

    Parameters
    ----------
    dataset : Dataset
        The whole instance, file meta information included.

    Returns
    -------
    PixelDescription
        How the film is stored.

    Raises
    ------
    Refused
        No pixel data, colour, several frames, sizes that are missing or beyond `MAX_PIXELS`, an odd pixel format, or
        fewer bytes than the header declares.
    """
    encoded = raw(dataset, "PixelData")
    if not encoded or not isinstance(encoded, bytes | bytearray):
        raise Refused(Reason.NO_PIXEL_DATA, f"the object carries no {label('PixelData')}")
    described = describe_pixels(dataset)
    declared = described.rows * described.columns * described.bits_allocated // 8
    syntax = described.transfer_syntax
    if syntax.is_transfer_syntax and not syntax.is_encapsulated and len(encoded) < declared:
        size = f"{described.rows} x {described.columns}"
        raise Refused(Reason.UNDECODABLE, f"Pixel Data has {len(encoded)} bytes for {size} pixels")
    return described


def describe_pixels(dataset: Dataset) -> PixelDescription:
    """Read from the header alone how the pixels of one grayscale film are stored.

    Raises
    ------
    Refused
        As `check_pixel_description`, but for what only Pixel Data tells.
    """
    if (frames := integer(dataset, "NumberOfFrames") or 1) != 1:
        raise Refused(Reason.MULTIFRAME, f"{label('NumberOfFrames')} is {frames}, one is read")
    inverted = _is_inverted(dataset)
    rows, columns = _size(dataset)
    allocated, stored, high_bit = _bits(dataset)
    representation = integer(dataset, "PixelRepresentation")
    if representation not in {0, 1}:
        raise Refused(Reason.PIXEL_FORMAT, f"{label('PixelRepresentation')} is {representation or 'missing'}")
    stated = text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID")
    if not is_uid(stated):
        raise Refused(Reason.UNPARSEABLE, f"{label('TransferSyntaxUID')} is missing or no UID")
    return PixelDescription(
        transfer_syntax=UID(stated, IGNORE),
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        signed=representation == 1,
        inverted=inverted,
    )


def _is_inverted(dataset: Dataset) -> bool:
    photometric = text(dataset, "PhotometricInterpretation")
    samples = integer(dataset, "SamplesPerPixel") or 1
    if photometric not in {"MONOCHROME1", "MONOCHROME2"} or samples != 1:
        stated = quoted(photometric) if photometric else "missing"
        raise Refused(Reason.COLOUR, f"{label('PhotometricInterpretation')} is {stated}, {samples} samples a pixel")
    return photometric == "MONOCHROME1"


def _size(dataset: Dataset) -> tuple[int, int]:
    rows, columns = integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0
    if rows * columns > MAX_PIXELS:
        raise Refused(Reason.TOO_LARGE, f"declares {rows} x {columns} pixels, at most {MAX_PIXELS} are decoded")
    if min(rows, columns) < MIN_SIDE:
        raise Refused(Reason.PIXEL_FORMAT, f"declares {rows} x {columns} pixels, too few for a film")
    return rows, columns


def _bits(dataset: Dataset) -> tuple[int, int, int]:
    allocated, stored = integer(dataset, "BitsAllocated") or 0, integer(dataset, "BitsStored") or 0
    if allocated not in {8, 16} or not 0 < stored <= allocated:
        raise Refused(Reason.PIXEL_FORMAT, f"Bits Allocated {allocated}, Bits Stored {stored}: 8 or 16 bit are read")
    high_bit = integer(dataset, "HighBit")
    high_bit = stored - 1 if high_bit is None else high_bit
    if not stored - 1 <= high_bit < allocated:
        raise Refused(Reason.PIXEL_FORMAT, f"Bits Stored {stored} with High Bit {high_bit} of {allocated}")
    return allocated, stored, high_bit
