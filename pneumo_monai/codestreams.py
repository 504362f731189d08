"""What a codestream declares about itself, read without decoding it."""

import struct
from typing import NamedTuple

from pneumo_monai.errors import Reason, Refused

__all__ = ["Frame", "parse_j2k", "parse_jpeg"]

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
"""SOF0 to SOF15 but for DHT, JPG and DAC (ITU-T T.81 table B.1), and SOF55 of JPEG-LS (ITU-T T.87 C.2.2)."""

_START_OF_SCAN = 0xDA

_COMMENTS = frozenset({*range(0xE0, 0xF0), 0xFE})
"""APP0 to APP15 and COM (ITU-T T.81 table B.1)."""

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""TEM, RST0 to RST7 and SOI: markers without a length (ITU-T T.81 table B.1)."""

_SOC_SIZ = b"\xff\x4f\xff\x51"
"""How every JPEG 2000 codestream begins (ITU-T T.800 A.4.1, A.5.1)."""

_JP2_HEADER = 4096
"""How far into the data the codestream may begin: some equipment sends it in the boxes of a JP2 file."""


class Frame(NamedTuple):
    """Size of an encoded picture; precision is bits a sample."""

    rows: int
    columns: int
    components: int
    precision: int


def parse_jpeg(codestream: bytes) -> tuple[Frame, bytes]:
    """Read the frame header of a JPEG or JPEG-LS codestream (ITU-T T.81 B.2.2, T.87 C.2.2).

    Returns
    -------
    tuple of Frame and bytes
        What the frame header declares, and the codestream without its comments and application segments, which say
        nothing about a grayscale picture. GDCM ends the process at whatever libjpeg warns of before the first scan:
        an unknown JFIF version, bytes between two segments.

    Raises
    ------
    Refused
        There is no frame header, or several, or the segments before the first scan do not fit together.
    """
    frames: list[Frame] = []
    kept: list[bytes] = []
    position = 0
    while codestream[position : position + 1] == b"\xff" and position + 10 <= len(codestream):
        marker = codestream[position + 1]
        if marker == _START_OF_SCAN and len(frames) == 1:
            return frames[0], b"".join([*kept, codestream[position:]])
        if marker == 0xFF:  # fill byte (B.1.1.2)
            position += 1
        else:
            length = 2 if marker in _STANDALONE else 2 + struct.unpack_from(">H", codestream, position + 2)[0]
            if marker in _START_OF_FRAME:
                precision, rows, columns, components = struct.unpack_from(">BHHB", codestream, position + 4)
                frames.append(Frame(rows, columns, components, precision))
            if marker not in _COMMENTS:
                kept.append(codestream[position : position + length])
            position += length
    raise Refused(Reason.UNDECODABLE, "the codestream has no sound JPEG header")


def parse_j2k(codestream: bytes) -> Frame:
    """Read the image and tile size of a JPEG 2000 codestream (ITU-T T.800 A.5.1).

    Raises
    ------
    Refused
        There is none.
    """
    start = codestream.find(_SOC_SIZ, 0, _JP2_HEADER)
    if start < 0 or start + 43 > len(codestream):
        raise Refused(Reason.UNDECODABLE, "the codestream has no JPEG 2000 image size")
    right, bottom, left, top = struct.unpack_from(">4I", codestream, start + 8)
    components, depth = struct.unpack_from(">HB", codestream, start + 40)
    return Frame(bottom - top, right - left, components, (depth & 0x7F) + 1)
