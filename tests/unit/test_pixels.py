"""Stored values to displayed values, rule by rule (PS3.3 C.11, C.7.5.1.1.2)."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian

from pneumo_monai.attributes import label
from pneumo_monai.errors import OutOfResources, Reason, Refused
from pneumo_monai.pixels import MAX_PIXELS, MIN_SIDE, check_pixel_description, read_film
from tests.films import gradient, make_film


def values(*stored: int, signed: bool = False) -> NDArray[Any]:
    """Return a small film that holds these stored values again and again."""
    return np.resize(np.array(stored, dtype=np.int16 if signed else np.uint16), (MIN_SIDE, MIN_SIDE))


def shown(film: Dataset, count: int) -> list[float]:
    """Return the displayed values of a film of `values`."""
    return [round(float(value), 4) for value in read_film(film).reshape(-1)[:count]]


def table(first: int, entries: list[int], bits: int, *, data: Any = None) -> Dataset:
    """Return an item of a Modality or VOI LUT Sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) & 0xFFFF, first, bits])
    item.add_new("LUTData", "US" if data is None else "OW", entries if data is None else data)
    return item


def test_8_bit_is_x_by_255() -> None:
    film = make_film(rows=32, columns=32)
    expected = gradient(32, 32, 8).astype(np.float64) / 255
    result = read_film(film)
    assert result.dtype == np.float32
    assert result.shape == (32, 32)
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, expected.astype(np.float32))


@pytest.mark.parametrize("bits", range(8, 17))
def test_without_a_window_the_full_range_of_bits_stored_is_shown(bits: int) -> None:
    top = (1 << bits) - 1
    film = make_film(pixels=values(0, top // 2, top), bits_stored=bits)
    assert shown(film, 3) == [0.0, round(top // 2 / top, 4), 1.0]


def test_signed_pixels_are_shown_over_their_range() -> None:
    film = make_film(pixels=values(-2048, 0, 2047, signed=True), bits_stored=12)
    assert shown(film, 3) == [0.0, round(2048 / 4095, 4), 1.0]


@pytest.mark.parametrize("attributes", [{}, {"WindowCenter": 1500, "WindowWidth": 900}, {"RescaleSlope": "-2"}])
def test_monochrome1_is_the_exact_negative(attributes: dict[str, Any]) -> None:
    pixels = gradient(32, 32, 12)
    positive = read_film(make_film(pixels=pixels, bits_stored=12, **attributes))
    negative = read_film(
        make_film(pixels=pixels, bits_stored=12, PhotometricInterpretation="MONOCHROME1", **attributes)
    )
    np.testing.assert_array_equal(negative, np.float32(1) - positive)


@pytest.mark.parametrize(
    ("function", "center", "width", "expected"),
    [
        # C.11.2.1.2.1, note 3: center 2048, width 4096 is the identity of 12 bit; 2048, 1 a step at 2048.
        (None, 2048, 4096, [0.0, 0.2442, 0.5001, 1.0]),
        ("LINEAR", 2048, 1, [0.0, 0.0, 1.0, 1.0]),
        ("LINEAR", 2048, 2, [0.0, 0.0, 1.0, 1.0]),
        ("LINEAR", 2048, 2048, [0.0, 0.0, 0.5002, 1.0]),
        ("LINEAR_EXACT", 2048, 2048, [0.0, 0.0, 0.5, 1.0]),
        ("SIGMOID", 2048, 2048, [0.018, 0.1192, 0.5, 0.9819]),
        ("linear", 2048, 4096, [0.0, 0.2442, 0.5001, 1.0]),
        ("LOGARITHM", 2048, 4096, [0.0, 0.2442, 0.5001, 1.0]),
        # Less than LINEAR allows: the exact function says what was meant.
        ("LINEAR", 2048, 0.5, [0.0, 0.0, 0.5, 1.0]),
    ],
)
def test_windows(function: str | None, center: float, width: float, expected: list[float]) -> None:
    film = make_film(
        pixels=values(0, 1000, 2048, 4095),
        bits_stored=12,
        WindowCenter=center,
        WindowWidth=width,
        VOILUTFunction=function,
    )
    result = shown(film, 4)
    if function == "SIGMOID":
        assert result[2] == 0.5
        np.testing.assert_allclose(
            result, [1 / (1 + np.exp(-4 * (x - 2048) / 2048)) for x in (0, 1000, 2048, 4095)], atol=1e-4
        )
    else:
        assert result == expected


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 2048, "WindowWidth": 0},
        {"WindowCenter": 2048, "WindowWidth": -5},
        {"WindowCenter": 2048},
        {"WindowWidth": 100},
        {"WindowCenter": None, "WindowWidth": ""},
        # Windows that show nothing of what 12 bit can hold.
        {"WindowCenter": 1e9, "WindowWidth": 10},
        {"WindowCenter": -500, "WindowWidth": 100},
    ],
)
def test_a_window_that_is_none_leaves_the_full_range(window: dict[str, Any]) -> None:
    film = make_film(pixels=values(0, 1000, 4095), bits_stored=12, **window)
    assert shown(film, 3) == [0.0, 0.2442, 1.0]


def test_of_several_windows_the_first_is_shown() -> None:
    film = make_film(pixels=values(0, 100, 255), WindowCenter=[100, 2000], WindowWidth=[2, 4000])
    assert shown(film, 3) == [0.0, 1.0, 1.0]


def test_rescale_comes_before_the_window() -> None:
    film = make_film(
        pixels=values(0, 100, 200),
        RescaleSlope="2",
        RescaleIntercept="-100",
        WindowCenter="100",
        WindowWidth="400",
        VOILUTFunction="LINEAR_EXACT",
    )
    assert shown(film, 3) == [0.0, 0.5, 1.0]


def test_rescale_alone_changes_nothing_but_its_sign() -> None:
    pixels = values(0, 100, 255)
    assert shown(make_film(pixels=pixels, RescaleSlope="0.25", RescaleIntercept="-7"), 3) == [0.0, 0.3922, 1.0]
    assert shown(make_film(pixels=pixels, RescaleSlope="-0.25"), 3) == [1.0, 0.6078, 0.0]


@pytest.mark.parametrize(("slope", "intercept"), [("0", "0"), ("1e300", "0"), ("1e-300", "0"), ("1", "1e300")])
def test_a_rescale_that_maps_no_detector_is_refused(slope: str, intercept: str) -> None:
    with pytest.raises(Refused) as refusal:
        read_film(make_film(RescaleSlope=slope, RescaleIntercept=intercept))
    assert refusal.value.reason is Reason.PIXEL_FORMAT


def test_modality_lut_comes_before_the_window() -> None:
    film = make_film(
        pixels=values(0, 1, 2, 3, 200),
        ModalityLUTSequence=[table(1, [1000, 2000, 3000], 12)],
        WindowCenter=2000,
        WindowWidth=2000,
        VOILUTFunction="LINEAR_EXACT",
    )
    # Below the first mapped value the first entry holds, above the last the last (C.11.1.1.1).
    assert shown(film, 5) == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_modality_lut_alone_is_shown_over_its_own_range() -> None:
    film = make_film(pixels=values(0, 1), ModalityLUTSequence=[table(0, [1023, 0], 10)])
    assert shown(film, 2) == [1.0, 0.0]


def test_voi_lut_goes_before_the_window() -> None:
    film = make_film(
        pixels=values(0, 10, 11, 12, 255),
        VOILUTSequence=[table(10, [0, 2048, 4095], 12), table(0, [4095, 0], 12)],
        WindowCenter=100,
        WindowWidth=10,
    )
    assert shown(film, 5) == [0.0, 0.0, round(2048 / 4095, 4), 1.0, 1.0]


def test_voi_lut_is_applied_to_rescaled_values() -> None:
    film = make_film(
        pixels=values(0, 1, 2, 4),
        RescaleSlope="0.5",
        RescaleIntercept="-1",
        VOILUTSequence=[table(-1, [0, 100, 200], 8)],
    )
    assert shown(film, 4) == [0.0, round(50 / 255, 4), round(100 / 255, 4), round(200 / 255, 4)]


@pytest.mark.parametrize("signed_vr", [True, False])
def test_the_first_mapped_value_is_read_as_the_values_are(signed_vr: bool) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed_vr else "US", [3, -1024 if signed_vr else 0x10000 - 1024, 8])
    item.add_new("LUTData", "US", [0, 100, 255])
    film = make_film(pixels=values(-1024, -1023, -1022, signed=True), bits_stored=12, VOILUTSequence=[item])
    assert shown(film, 3) == [0.0, round(100 / 255, 4), 1.0]


def test_0_entries_are_65536() -> None:
    entries = list(range(65536))
    film = make_film(pixels=values(0, 32768, 65535), bits_stored=16, VOILUTSequence=[table(0, entries[::-1], 16)])
    assert film.VOILUTSequence[0].LUTDescriptor[0] == 0
    assert shown(film, 3) == [1.0, round(32767 / 65535, 4), 0.0]


@pytest.mark.parametrize("form", ["words", "bytes in words", "big endian words"])
def test_forms_of_lut_data(form: str) -> None:
    entries = [0, 51, 102, 255]
    data = {
        "words": np.array(entries, dtype="<u2").tobytes(),
        "bytes in words": bytes(entries),
        "big endian words": np.array(entries, dtype=">u2").tobytes(),
    }[form]
    film = make_film(pixels=values(0, 1, 2, 3), VOILUTSequence=[table(0, entries, 8, data=data)])
    if form == "big endian words":
        film.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    assert shown(film, 4) == [0.0, 0.2, 0.4, 1.0]


@pytest.mark.parametrize(
    ("stated", "white"),
    [
        (10, 4095),  # more bits than it states: stay in range
        (12, 4095),
        (14, 16383),  # darker than it could be: as the standard has it
        (16, 4095),  # the size of a word: what radiographs of 10 to 14 bit often state
    ],
)
def test_the_bits_of_lut_entries(stated: int, white: int) -> None:
    film = make_film(pixels=values(0, 1, 2), VOILUTSequence=[table(0, [0, 2000, 4000], stated)])
    assert shown(film, 3) == [0.0, round(2000 / white, 4), round(4000 / white, 4)]


@pytest.mark.parametrize(
    "item",
    [
        Dataset(),
        table(0, [1, 2, 3], 7),
        table(0, [1, 2, 3], 32),
        table(0, [1] * 100, 12, data=b"\x01\x00" * 99),
    ],
)
@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
def test_a_lut_that_cannot_be_used_is_refused(sequence: str, item: Dataset) -> None:
    with pytest.raises(Refused) as refusal:
        read_film(make_film(**{sequence: [item]}))
    assert refusal.value.reason is Reason.PIXEL_FORMAT


def test_an_empty_lut_sequence_is_none() -> None:
    assert shown(make_film(pixels=values(0, 51), VOILUTSequence=[], ModalityLUTSequence=[]), 2) == [0.0, 0.2]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black(photometric: str) -> None:
    film = make_film(pixels=values(7, 100, 8), PixelPaddingValue=7, PhotometricInterpretation=photometric)
    result = shown(film, 3)
    assert result[0] == 0.0
    assert 0.0 < result[1] < 1.0
    assert result[2] != 0.0


@pytest.mark.parametrize(("value", "limit"), [(10, 20), (20, 10)])
def test_a_padding_range_is_black(value: int, limit: int) -> None:
    film = make_film(pixels=values(9, 10, 15, 20, 21), PixelPaddingValue=value, PixelPaddingRangeLimit=limit)
    assert [number > 0 for number in shown(film, 5)] == [True, False, False, False, True]


def test_padding_may_be_given_with_the_other_sign() -> None:
    unsigned = make_film(pixels=values(65535, 65534), bits_stored=16, PixelPaddingValue=-1)
    assert shown(unsigned, 2) == [0.0, 1.0]
    signed = make_film(pixels=values(-2000, -1999, signed=True), bits_stored=12, PixelPaddingValue=0x10000 - 2000)
    assert shown(signed, 2) == [0.0, round(49 / 4095, 4)]


def test_padding_that_leaves_nothing_is_a_mistake() -> None:
    film = make_film(pixels=values(0, 255), PixelPaddingValue=0, PixelPaddingRangeLimit=65535)
    assert shown(film, 2) == [0.0, 1.0]


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 128, "WindowWidth": 1}, {"PixelPaddingValue": 128}])
def test_a_blank_film_is_no_nan(level: int, window: dict[str, Any]) -> None:
    result = read_film(make_film(pixels=values(level), **window))
    assert np.isfinite(result).all()
    assert result.min() == result.max()


def test_reading_leaves_the_dataset_as_it_was() -> None:
    film = make_film(bits_stored=12, WindowCenter=1000, WindowWidth=2000)
    before = film.to_json()
    read_film(film)
    assert film.to_json() == before


def test_want_of_memory_is_no_fault_of_the_film(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoder(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pneumo_monai.decoding.get_decoder", decoder)
    with pytest.raises(OutOfResources):
        read_film(make_film())


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"PixelData": None}, Reason.NO_PIXEL_DATA),
        ({"PixelData": b""}, Reason.NO_PIXEL_DATA),
        ({"NumberOfFrames": 2}, Reason.MULTIFRAME),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, Reason.COLOUR),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, Reason.COLOUR),
        ({"PhotometricInterpretation": None}, Reason.COLOUR),
        ({"SamplesPerPixel": 3}, Reason.COLOUR),
        ({"Rows": 65535, "Columns": 65535}, Reason.TOO_LARGE),
        ({"Rows": None}, Reason.PIXEL_FORMAT),
        ({"Columns": 15}, Reason.PIXEL_FORMAT),
        ({"Rows": 0}, Reason.PIXEL_FORMAT),
        ({"BitsAllocated": 1, "BitsStored": 1}, Reason.PIXEL_FORMAT),
        ({"BitsAllocated": 32, "BitsStored": 32}, Reason.PIXEL_FORMAT),
        ({"BitsAllocated": None}, Reason.PIXEL_FORMAT),
        ({"BitsStored": 12}, Reason.PIXEL_FORMAT),
        ({"BitsStored": None}, Reason.PIXEL_FORMAT),
        ({"HighBit": 8}, Reason.PIXEL_FORMAT),
        ({"HighBit": 3}, Reason.PIXEL_FORMAT),
        ({"PixelRepresentation": None}, Reason.PIXEL_FORMAT),
        ({"PixelRepresentation": 2}, Reason.PIXEL_FORMAT),
        ({"Rows": 65}, Reason.UNDECODABLE),
        ({"Rows": [64, 64]}, Reason.UNPARSEABLE),
        ({"WindowCenter": "nan", "WindowWidth": "1"}, Reason.UNPARSEABLE),
    ],
)
def test_what_is_no_film_is_refused(attributes: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(Refused) as refusal:
        read_film(make_film(**attributes))
    assert refusal.value.reason is reason


@pytest.mark.parametrize("keyword", ["NumberOfFrames", "Rows", "WindowCenter", "RescaleSlope", "PixelPaddingValue"])
def test_a_number_that_is_none_is_refused_by_name_not_by_value(keyword: str) -> None:
    film = make_film(WindowWidth=1)
    tag = tag_for_keyword(keyword)
    assert tag is not None
    film[tag] = RawDataElement(BaseTag(tag), "IS" if keyword == "NumberOfFrames" else "DS", 4, b"DOE ", 0, False, True)
    with pytest.raises(Refused) as refusal:
        read_film(film)
    assert refusal.value.reason is Reason.UNPARSEABLE
    assert label(keyword) in refusal.value.detail
    assert "DOE" not in str(refusal.value)


@pytest.mark.parametrize(
    "attributes",
    [{"NumberOfFrames": 1}, {"NumberOfFrames": ""}, {"SamplesPerPixel": None}, {"HighBit": None}, {"HighBit": ""}],
)
def test_what_can_be_told_without_is_read(attributes: dict[str, Any]) -> None:
    np.testing.assert_array_equal(read_film(make_film(**attributes)), read_film(make_film()))


def test_a_film_without_a_transfer_syntax_is_refused() -> None:
    film = make_film()
    del film.file_meta.TransferSyntaxUID
    with pytest.raises(Refused, match="Transfer Syntax UID"):
        check_pixel_description(film)
    del film.file_meta
    with pytest.raises(Refused, match="Transfer Syntax UID"):
        check_pixel_description(film)


def test_the_limits_let_the_largest_detectors_through() -> None:
    assert MAX_PIXELS > 2 * 4320 * 4320
    assert MIN_SIDE == 16
