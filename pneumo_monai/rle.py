"""RLE Lossless (PS3.5 annex G), unpacked no further than the film is large.

pydicom unpacks whatever there is, and then looks how much it was: two bytes may become 128. pylibjpeg-rle ends the
process on hostile bytes: a Rust panic is no Exception.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from pneumo_monai.errors import Reason, Refused

__all__ = ["decode_rle"]

_HEADER_BYTES = 64
_NO_OPERATION = 128


def decode_rle(frame: bytes, rows: int, columns: int, bytes_allocated: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode one grayscale frame.

    Parameters
    ----------
    frame : bytes
        Header and segments, the most significant bytes first (G.2).
    rows, columns : int
        Its size.
    bytes_allocated : int
        1 or 2, as many as there are segments.

    Returns
    -------
    numpy.ndarray
        Stored words, shape (rows, columns), uint8 or uint16.

    Raises
    ------
    Refused
        The header names other segments, or one of them holds too little.
    """
    if len(frame) < _HEADER_BYTES:
        raise Refused(Reason.UNDECODABLE, "the frame has no RLE header")
    count, *offsets = struct.unpack_from("<16L", frame)
    if count != bytes_allocated:
        raise Refused(Reason.UNDECODABLE, f"the frame has {count} RLE segments, {bytes_allocated} are one film")
    words = np.zeros((rows, columns), dtype=f"<u{bytes_allocated}")
    planes = words.view(np.uint8).reshape(rows, columns, bytes_allocated)
    for number in range(count):
        end = offsets[number + 1] if number + 1 < count else len(frame)
        unpacked = _unpack(frame[offsets[number] : end], rows * columns)
        planes[:, :, count - 1 - number] = np.frombuffer(unpacked, np.uint8).reshape(rows, columns)
    return words


def _unpack(packed: bytes, size: int) -> bytearray:
    """Unpack bytes until there are as many as wanted (G.3.2)."""
    # No encoder needs more than two bytes for one: a longer segment says nothing over and over.
    packed = packed[: 2 * size + 2]
    unpacked = bytearray()
    position = 0
    while len(unpacked) < size and position < len(packed):
        head = packed[position]
        position += 1
        if head > _NO_OPERATION:
            unpacked += packed[position : position + 1] * (257 - head)
            position += 1
        elif head < _NO_OPERATION:
            unpacked += packed[position : position + head + 1]
            position += head + 1
    if len(unpacked) < size:
        raise Refused(Reason.UNDECODABLE, f"an RLE segment holds {len(unpacked)} bytes of {size}")
    return unpacked[:size]
