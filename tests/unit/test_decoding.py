"""Every transfer syntax gives the same stored bits; what cannot be decoded is refused."""

import copy
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    MPEG2MPML,
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

from pneumo_monai.decoding import DECODERS, decode
from pneumo_monai.errors import Reason, Refused
from pneumo_monai.listener import TRANSFER_SYNTAXES
from pneumo_monai.pixels import check_pixel_description, read_film
from tests import codestreams
from tests.codestreams import hill
from tests.films import film_bytes, make_film

ENCODED = {
    # Transfer syntax: a codestream of the hill, and the largest difference to it that the encoder may have made.
    JPEGExtended12Bit: (codestreams.JPEG_EXTENDED_12BIT, 4),
    JPEGLossless: (codestreams.JPEG_LOSSLESS, 0),
    JPEGLosslessSV1: (codestreams.JPEG_LOSSLESS_SV1, 0),
    HTJ2KLossless: (codestreams.HTJ2K_LOSSLESS_RPCL, 0),
    HTJ2KLosslessRPCL: (codestreams.HTJ2K_LOSSLESS_RPCL, 0),
    HTJ2K: (codestreams.HTJ2K_LOSSY, 74),
}
COMPRESSED: dict[UID, tuple[dict[str, Any], int]] = {
    # Transfer syntax: options of pydicom's encoder, and the largest difference that it may make.
    RLELossless: ({}, 0),
    JPEGLSLossless: ({}, 0),
    JPEGLSNearLossless: ({"jls_error": 3}, 3),
    JPEG2000Lossless: ({}, 0),
    JPEG2000: ({"j2k_cr": [5]}, 16),
}
NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]


def stored(film: Dataset) -> NDArray[np.unsignedinteger[Any]]:
    return decode(film, check_pixel_description(film))


def encapsulated(codestream: bytes, syntax: str, *, bits_stored: int = 12, **attributes: Any) -> Dataset:
    film = make_film(rows=40, columns=32, bits_stored=bits_stored, transfer_syntax=syntax, **attributes)
    film.PixelData = encapsulate([codestream])
    return film


def compressed(pixels: NDArray[Any], syntax: UID, *, bits_stored: int, **options: Any) -> Dataset:
    film = make_film(pixels=pixels, bits_stored=bits_stored)
    film.compress(syntax, generate_instance_uid=False, **options)
    return film


def reread(film: Dataset, syntax: UID) -> Dataset:
    """Write an uncompressed film in another transfer syntax and read it back."""
    film = copy.deepcopy(film)
    if syntax == ExplicitVRBigEndian:
        film.PixelData = np.frombuffer(film.PixelData, dtype="<u2").astype(">u2").tobytes()
    film.file_meta.TransferSyntaxUID = syntax
    return dcmread(BytesIO(film_bytes(film)))


def test_every_syntax_the_listener_accepts_has_a_decoder_and_a_test() -> None:
    tested = {*ENCODED, *COMPRESSED, *NATIVE, JPEGBaseline8Bit}
    assert set(TRANSFER_SYNTAXES) <= set(DECODERS)
    assert set(DECODERS) == tested


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_uncompressed_syntaxes_give_the_same_film(syntax: UID, signed: bool) -> None:
    pixels = hill().astype(np.int16) - 2048 if signed else hill()
    film = make_film(pixels=pixels, bits_stored=12)
    again = reread(film, syntax)
    assert again.file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read_film(again), read_film(film))


@pytest.mark.parametrize("syntax", ENCODED, ids=lambda syntax: syntax.name)
def test_codestreams_of_other_encoders(syntax: UID) -> None:
    codestream, tolerance = ENCODED[syntax]
    np.testing.assert_allclose(stored(encapsulated(codestream, syntax)).astype(int), hill(), atol=tolerance)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("allocated", [8, 16])
def test_8_bit_jpeg(syntax: UID, allocated: int) -> None:
    film = encapsulated(codestreams.JPEG_BASELINE_8BIT, syntax, bits_stored=8, BitsAllocated=allocated)
    np.testing.assert_allclose(stored(film).astype(int), hill() >> 4, atol=1)


@pytest.mark.parametrize("codestream", [codestreams.JPEG_LOSSLESS, codestreams.JPEG_LOSSLESS_SV1], ids=["any", "sv1"])
@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit], ids=lambda syntax: syntax.name)
def test_a_lossless_codestream_under_the_name_of_a_lossy_one_is_refused(codestream: bytes, syntax: UID) -> None:
    # It would end the process.
    with pytest.raises(Refused, match="not what the transfer syntax names") as refused:
        stored(encapsulated(codestream, syntax))
    assert refused.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_compressed_syntaxes_at_every_depth(syntax: UID, bits: int, signed: bool) -> None:
    options, tolerance = COMPRESSED[syntax]
    pixels = (hill().astype(np.int64) << 4) >> (16 - bits)
    pixels = np.clip(pixels, 8, (1 << bits) - 9)  # near lossless must not wrap
    pixels = (pixels - (1 << (bits - 1))).astype(np.int16) if signed else pixels.astype(np.uint16)
    film = compressed(pixels, syntax, bits_stored=bits, **options)
    table = check_pixel_description(film).values()
    atol = tolerance << max(0, bits - 12)
    np.testing.assert_allclose(table[stored(film)], pixels, atol=atol)


def test_a_codestream_that_overshoots_bits_stored_is_clipped_not_wrapped() -> None:
    film = encapsulated(codestreams.JPEG_EXTENDED_12BIT, JPEGExtended12Bit, bits_stored=11)
    np.testing.assert_allclose(stored(film).astype(int), np.minimum(hill(), 2047), atol=4)


@pytest.mark.parametrize("high_bit", [11, 13, 15])
def test_bits_outside_high_bit_are_gone(high_bit: int) -> None:
    unused = high_bit - 11
    above = 0xF000 if high_bit == 11 else 0
    below = (1 << unused) - 1
    film = make_film(
        rows=40,
        columns=32,
        bits_stored=12,
        HighBit=high_bit,
        PixelData=((hill() << unused) | above | below).astype("<u2").tobytes(),
    )
    np.testing.assert_array_equal(stored(film), hill())


def test_a_pad_byte_is_no_pixel() -> None:
    pixels = np.arange(17 * 17, dtype=np.uint16).reshape(17, 17) % 251
    film = make_film(pixels=pixels)
    assert len(film.PixelData) == 17 * 17 + 1
    np.testing.assert_array_equal(stored(film), pixels)


def test_a_codestream_in_several_fragments_is_one_film() -> None:
    film = encapsulated(codestreams.JPEG_LOSSLESS, JPEGLossless)
    film.PixelData = encapsulate([codestreams.JPEG_LOSSLESS], fragments_per_frame=3)
    np.testing.assert_array_equal(stored(film), hill())


def test_j2k_in_the_boxes_of_a_jp2_file_is_read() -> None:
    film = compressed(hill(), JPEG2000Lossless, bits_stored=12)
    codestream = get_frame(film.PixelData, 0, number_of_frames=1)
    film.PixelData = encapsulate([_jp2(codestream)])
    np.testing.assert_array_equal(stored(film), hill())


def _jp2(codestream: bytes) -> bytes:
    def box(kind: bytes, content: bytes) -> bytes:
        return (8 + len(content)).to_bytes(4, "big") + kind + content

    size = (40).to_bytes(4, "big") + (32).to_bytes(4, "big") + b"\x00\x01\x0b\x07\x00\x00"
    header = box(b"ihdr", size) + box(b"colr", b"\x01\x00\x00" + (17).to_bytes(4, "big"))
    return (
        box(b"jP  ", b"\r\n\x87\n")
        + box(b"ftyp", b"jp2 \x00\x00\x00\x00jp2 ")
        + box(b"jp2h", header)
        + box(b"jp2c", codestream)
    )


@pytest.mark.parametrize("syntax", [*ENCODED, *COMPRESSED], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("part", [0.01, 0.5, 0.9])
def test_a_codestream_that_was_cut_is_refused(syntax: UID, part: float) -> None:
    if syntax in ENCODED:
        codestream = ENCODED[syntax][0]
    else:
        film = compressed(hill(), syntax, bits_stored=12, **COMPRESSED[syntax][0])
        codestream = get_frame(film.PixelData, 0, number_of_frames=1)
    with pytest.raises(Refused) as refusal:
        stored(encapsulated(codestream[: int(part * len(codestream))], syntax))
    assert refusal.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEG2000Lossless, HTJ2KLossless, JPEGLSLossless])
def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(
    syntax: UID, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: Any, **__: Any) -> None:
        raise AssertionError("a decoder was called")

    if syntax in COMPRESSED:
        film = compressed(hill(), syntax, bits_stored=12)
    else:
        film = encapsulated(ENCODED[syntax][0], syntax)
    film.Rows, film.Columns = 32, 40
    monkeypatch.setattr("pneumo_monai.decoding.get_decoder", decoded)
    monkeypatch.setattr("pneumo_monai.decoding.gdcm.Image", decoded)
    with pytest.raises(Refused, match="the codestream holds 40 x 32 x 1") as refusal:
        stored(film)
    assert refusal.value.reason is Reason.UNDECODABLE


def test_what_libjpeg_would_warn_of_never_reaches_gdcm() -> None:
    """GDCM ends the process at a warning before the first scan; application segments are the commonest cause."""
    sound = codestreams.JPEG_LOSSLESS
    odd_version = sound[:2] + b"\xff\xe0\x00\x10JFIF\x00\x15\x01\x00\x00\x01\x00\x01\x00\x00" + sound[2:]
    np.testing.assert_array_equal(stored(encapsulated(odd_version, JPEGLossless)), hill())
    gap = sound[:2] + b"\x01\x02\x03" + sound[2:]
    with pytest.raises(Refused, match="no sound JPEG header"):
        stored(encapsulated(gap, JPEGLossless))


@pytest.mark.parametrize("precision", [0, 2, 7, 17, 255])
def test_a_precision_that_gdcm_cannot_take_is_refused(precision: int) -> None:
    codestream = bytearray(codestreams.JPEG_LOSSLESS)
    codestream[codestream.index(b"\xff\xc3") + 4] = precision
    with pytest.raises(Refused) as refusal:
        stored(encapsulated(bytes(codestream), JPEGLossless))
    assert refusal.value.reason is Reason.PIXEL_FORMAT


@pytest.mark.parametrize("syntax", [MPEG2MPML, UID("1.2.3.4"), UID("1.2.840.10008.1.1")])
def test_a_transfer_syntax_without_a_decoder_is_refused(syntax: UID) -> None:
    film = encapsulated(codestreams.JPEG_LOSSLESS, syntax)
    with pytest.raises(Refused, match="no decoder") as refusal:
        stored(film)
    assert refusal.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, *ENCODED, *COMPRESSED], ids=lambda syntax: syntax.name)
def test_bytes_of_another_kind_are_refused(syntax: UID) -> None:
    film = make_film(transfer_syntax=syntax, PixelData=b"<!DOCTYPE html>")
    with pytest.raises(Refused) as refusal:
        stored(film)
    assert refusal.value.reason is Reason.UNDECODABLE


def test_a_failing_decoder_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for syntax, (codestream, _) in ENCODED.items():
        with pytest.raises(Refused):
            stored(encapsulated(codestream[: len(codestream) // 2], syntax))
    assert capfd.readouterr().out == ""
