"""What a codestream declares about itself, read without decoding it."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pneumo_monai.errors import Reason, Refused

__all__ = ["MAX_PRECINCTS", "MAX_SCANS", "Frame", "parse_j2k", "parse_jpeg"]

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
"""SOF0 to SOF15 but for DHT, JPG and DAC (ITU-T T.81 table B.1), and SOF55 of JPEG-LS (ITU-T T.87 C.2.2)."""

_START_OF_SCAN = 0xDA

_COMMENTS = frozenset({*range(0xE0, 0xF0), 0xFE})
"""APP0 to APP15 and COM (ITU-T T.81 table B.1)."""

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""TEM, RST0 to RST7 and SOI: markers without a length (ITU-T T.81 table B.1)."""

MAX_SCANS = 100
"""Most scans of a JPEG picture. A progressive film has about six; each is a pass over all pixels, and may be a few
bytes long."""

MAX_PRECINCTS = 1 << 16
"""Most precincts of a JPEG 2000 picture. 8192 x 8192 pixels in precincts of 64 x 64 have a third of this; a decoder
allocates a kilobyte for each, and none needs a byte in the codestream."""

_COD, _COC, _SOT, _SOD = 0x52, 0x53, 0x90, 0x93
"""Coding style, of a component too, and the begin of a tile-part and of its data (ITU-T T.800 table A.2)."""

_SOC_SIZ = b"\xff\x4f\xff\x51"
"""How every JPEG 2000 codestream begins (ITU-T T.800 A.4.1, A.5.1)."""

_JP2_HEADER = 4096
"""How far into the data the codestream may begin: some equipment sends it in the boxes of a JP2 file."""


class Frame(NamedTuple):
    """Size of an encoded picture; precision is bits a sample, `process` the marker of a JPEG's frame header (SOF)."""

    rows: int
    columns: int
    components: int
    precision: int
    process: int = 0


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
        There is no frame header, or several, or the segments before the first scan do not fit together, or there are
        more than `MAX_SCANS` scans.
    """
    frames: list[Frame] = []
    kept: list[bytes] = []
    position = 0
    while codestream[position : position + 1] == b"\xff" and position + 10 <= len(codestream):
        marker = codestream[position + 1]
        if marker == _START_OF_SCAN and len(frames) == 1:
            # Inside a scan a byte of ones is never followed by this one (B.1.1.5, T.87 A.1).
            if (scans := codestream.count(b"\xff\xda", position)) > MAX_SCANS:
                raise Refused(Reason.UNDECODABLE, f"the codestream has {scans} scans, at most {MAX_SCANS} are decoded")
            return frames[0], b"".join([*kept, codestream[position:]])
        if marker == 0xFF:  # fill byte (B.1.1.2)
            position += 1
        else:
            length = 2 if marker in _STANDALONE else 2 + struct.unpack_from(">H", codestream, position + 2)[0]
            if marker in _START_OF_FRAME:
                precision, rows, columns, components = struct.unpack_from(">BHHB", codestream, position + 4)
                frames.append(Frame(rows, columns, components, precision, marker))
            if marker not in _COMMENTS:
                kept.append(codestream[position : position + length])
            position += length
    raise Refused(Reason.UNDECODABLE, "the codestream has no sound JPEG header")


def parse_j2k(codestream: bytes) -> Frame:
    """Read the image and tile size of a JPEG 2000 codestream, and what its tiles are cut into (ITU-T T.800 A.5, A.6).

    Raises
    ------
    Refused
        There is none, or it has more than `MAX_PRECINCTS` precincts.
    """
    start = codestream.find(_SOC_SIZ, 0, _JP2_HEADER)
    if start < 0 or start + 43 > len(codestream):
        raise Refused(Reason.UNDECODABLE, "the codestream has no JPEG 2000 image size")
    right, bottom, left, top = struct.unpack_from(">4I", codestream, start + 8)
    components, depth = struct.unpack_from(">HB", codestream, start + 40)
    frame = Frame(bottom - top, right - left, components, (depth & 0x7F) + 1)
    for style in _coding_styles(codestream, start + 2, components):
        if (precincts := _precincts(frame, style)) > MAX_PRECINCTS:
            raise Refused(
                Reason.UNDECODABLE, f"the codestream has {precincts} precincts, at most {MAX_PRECINCTS} are decoded"
            )
    return frame


def _coding_styles(codestream: bytes, position: int, components: int) -> Iterator[bytes]:
    """Yield the SPcod parameters of each COD and COC that names precincts, in the main header and in those of tiles."""
    end_of_tile_part = len(codestream)
    while position + 12 <= len(codestream) and codestream[position] == 0xFF:
        marker, length = codestream[position + 1], struct.unpack_from(">H", codestream, position + 2)[0]
        if marker == _SOD:
            position = end_of_tile_part
            continue
        if marker == _SOT:
            size = struct.unpack_from(">I", codestream, position + 6)[0]
            end_of_tile_part = position + size if size >= 14 else len(codestream)
        segment = codestream[position + 4 : position + 2 + length]
        if marker == _COC:
            # Component, of one byte or two, and style; then as in a COD after style, order, layers and transform.
            segment = segment[1 if components < 257 else 2 :]
            parameters = segment[1:]
        else:
            parameters = segment[5:]
        if marker in (_COD, _COC) and segment[:1] and segment[0] & 1:
            yield parameters
        position += 2 + length


def _precincts(frame: Frame, style: bytes) -> int:
    """Count the precincts of a picture that is one tile: many tiles have more by no more than their edges."""
    if len(style) < 6:
        return 0
    levels, total = style[0], 0
    for resolution in range(min(levels, 32) + 1):
        exponents = style[5 + resolution] if 5 + resolution < len(style) else 0xFF
        shift = min(levels, 32) - resolution
        across = -(-frame.columns // (1 << (shift + (exponents & 0x0F))))
        down = -(-frame.rows // (1 << (shift + (exponents >> 4))))
        total += across * down
    return total
