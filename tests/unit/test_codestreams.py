"""Bombs: a few bytes that would cost a decoder hours or gigabytes are told by their headers."""

import struct
import tracemalloc

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLossless, RLELossless

from pneumo_monai.codestreams import MAX_PRECINCTS, MAX_SCANS, parse_j2k, parse_jpeg
from pneumo_monai.errors import Reason, Refused
from pneumo_monai.pixels import read_film
from pneumo_monai.rle import decode_rle
from tests.codestreams import JPEG_BASELINE_8BIT, JPEG_LOSSLESS, hill
from tests.films import make_film


def refusal(film: Dataset, codestream: bytes) -> Refused:
    film.PixelData = encapsulate([codestream])
    with pytest.raises(Refused) as refused:
        read_film(film)
    assert refused.value.reason is Reason.UNDECODABLE
    return refused.value


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLossless], ids=lambda syntax: syntax.name)
def test_scans_without_end_are_not_decoded(syntax: str) -> None:
    codestream = JPEG_BASELINE_8BIT if syntax == JPEGBaseline8Bit else JPEG_LOSSLESS
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    film = make_film(rows=40, columns=32, transfer_syntax=syntax)
    bomb = codestream[:-2] + scan * MAX_SCANS + codestream[-2:]
    assert f"has {MAX_SCANS + 1} scans" in str(refusal(film, bomb))
    few = codestream[:-2] + scan * (MAX_SCANS - 1) + codestream[-2:]
    assert parse_jpeg(few)[0].rows == 40


def j2k(precinct: int | None, side: int, *, marker: int = 0x52, in_tile: bool = False) -> bytes:
    """Return a codestream of 64 x 64 pixels that says it has others, in precincts of 2 ** `precinct`."""
    film = make_film(pixels=np.zeros((64, 64), np.uint16), bits_stored=12)
    film.compress(JPEG2000Lossless, generate_instance_uid=False)
    codestream = get_frame(film.PixelData, 0, number_of_frames=1)
    sized = codestream[:8] + struct.pack(">LL", side, side) + codestream[16:24] + struct.pack(">LL", side, side)
    codestream = sized + codestream[32:]
    if precinct is None:
        return codestream
    at = codestream.index(b"\xff\x52")
    end = at + 2 + int.from_bytes(codestream[at + 2 : at + 4], "big")
    # After the marker and its length: style, order, layers and transform of a COD, then what a COC has as well.
    style = codestream[at + 9 : end] + bytes([precinct << 4 | precinct]) * (codestream[at + 9] + 1)
    body = b"\x01" + codestream[at + 5 : at + 9] + style if marker == 0x52 else b"\0\x01" + style
    segment = bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body
    if not in_tile:
        kept = codestream[at:end] if marker == 0x53 else b""
        return codestream[:at] + kept + segment + codestream[end:]
    tile = codestream.index(b"\xff\x90")
    psot = struct.pack(">L", int.from_bytes(codestream[tile + 6 : tile + 10], "big") + len(segment))
    return codestream[: tile + 6] + psot + codestream[tile + 10 : tile + 12] + segment + codestream[tile + 12 :]


@pytest.mark.parametrize("marker", [0x52, 0x53], ids=["COD", "COC"])
@pytest.mark.parametrize("in_tile", [False, True], ids=["main header", "tile header"])
def test_precincts_without_number_are_not_allocated(marker: int, in_tile: bool) -> None:
    film = make_film(rows=1024, columns=1024, bits_stored=12, transfer_syntax=JPEG2000Lossless)
    said = str(refusal(film, j2k(1, 1024, marker=marker, in_tile=in_tile)))
    assert f"at most {MAX_PRECINCTS} are decoded" in said


@pytest.mark.parametrize(("precinct", "side"), [(None, 8192), (15, 8192), (7, 8192), (6, 8192), (5, 4096)])
def test_precincts_of_real_encoders_are_few(precinct: int | None, side: int) -> None:
    assert parse_j2k(j2k(precinct, side)).rows == side


def test_a_run_is_not_unpacked_beyond_the_film() -> None:
    film = make_film(rows=64, columns=64, transfer_syntax=RLELossless)
    bomb = struct.pack("<LL", 1, 64) + bytes(56) + b"\x81\0" * (1 << 20)  # 2 MiB that would be 128 MiB
    film.PixelData = encapsulate([bomb])
    tracemalloc.start()
    assert read_film(film).shape == (64, 64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize(
    ("header", "segments"),
    [
        (struct.pack("<LL", 1, 64), b"\x80" * 4000),  # nothing, over and over
        (struct.pack("<LL", 1, 64), b"\x7f"),
        (struct.pack("<LL", 1, 0xFFFFFFFF), b"\x81\0" * 4000),
        (struct.pack("<LL", 16, 64), b"\x81\0" * 4000),
        (struct.pack("<L", 0), b"\x81\0" * 4000),
    ],
)
def test_segments_that_hold_no_film_are_refused(header: bytes, segments: bytes) -> None:
    with pytest.raises(Refused):
        decode_rle(header.ljust(64, b"\0") + segments, 40, 32, 1)
    with pytest.raises(Refused, match="no RLE header"):
        decode_rle(header, 40, 32, 1)


def test_the_first_segment_holds_the_most_significant_bytes() -> None:
    pixels = hill()
    film = make_film(pixels=pixels, bits_stored=12)
    film.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(decode_rle(get_frame(film.PixelData, 0, number_of_frames=1), 40, 32, 2), pixels)
