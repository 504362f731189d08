"""Whatever a header says, a film is float32 in [0, 1], and brighter stays brighter."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pneumo_monai.pixels import MIN_SIDE, read_film
from tests.films import make_film

bits = st.integers(min_value=8, max_value=16)
seeds = st.integers(min_value=0, max_value=2**32 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)
levels = st.floats(min_value=-70000, max_value=70000)
slopes = st.sampled_from([1.0, 0.5, 2.0, 0.001, 17.25, -1.0, -0.25])
functions = st.sampled_from([None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])


def ladder(depth: int, *, signed: bool) -> NDArray[Any]:
    """Return a film whose pixels rise over all that `depth` bits can hold, its ends included."""
    low, high = (-(1 << (depth - 1)), (1 << (depth - 1)) - 1) if signed else (0, (1 << depth) - 1)
    steps = np.round(np.linspace(low, high, MIN_SIDE * MIN_SIDE)).reshape(MIN_SIDE, MIN_SIDE)
    return steps.astype(np.int16 if signed else np.uint16)


def assert_displayed(film: NDArray[np.float32]) -> None:
    assert film.dtype == np.float32
    assert np.isfinite(film).all()
    assert film.min() >= 0.0
    assert film.max() <= 1.0


@settings(deadline=None)
@given(
    depth=bits,
    signed=st.booleans(),
    inverted=st.booleans(),
    slope=slopes,
    intercept=levels,
    center=numbers,
    width=numbers,
    function=functions,
)
def test_any_window_keeps_the_order_of_greys(
    depth: int,
    signed: bool,
    inverted: bool,
    slope: float,
    intercept: float,
    center: float,
    width: float,
    function: str | None,
) -> None:
    shown = read_film(
        make_film(
            pixels=ladder(depth, signed=signed),
            bits_stored=depth,
            PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2",
            RescaleSlope=slope,
            RescaleIntercept=intercept,
            WindowCenter=center,
            WindowWidth=width,
            VOILUTFunction=function,
        )
    )
    assert_displayed(shown)
    steps = np.diff(shown.reshape(-1))
    assert (steps <= 0).all() if inverted != (slope < 0) else (steps >= 0).all()


@settings(deadline=None)
@given(depth=bits, signed=st.booleans(), center=levels, width=levels, function=functions)
def test_monochrome1_is_the_exact_negative(
    depth: int, signed: bool, center: float, width: float, function: str | None
) -> None:
    def shown(photometric: str) -> NDArray[np.float32]:
        return read_film(
            make_film(
                pixels=ladder(depth, signed=signed),
                bits_stored=depth,
                PhotometricInterpretation=photometric,
                WindowCenter=center,
                WindowWidth=width,
                VOILUTFunction=function,
            )
        )

    np.testing.assert_array_equal(shown("MONOCHROME1"), np.float32(1) - shown("MONOCHROME2"))


@settings(deadline=None)
@given(
    depth=bits,
    center=st.floats(min_value=0, max_value=255),
    width=st.floats(min_value=1, max_value=5000),
)
def test_a_linear_window_is_the_standards_pseudo_code(depth: int, center: float, width: float) -> None:
    pixels = ladder(depth, signed=False)
    film = make_film(pixels=pixels, bits_stored=depth, WindowCenter=center, WindowWidth=width)
    center, width = float(film.WindowCenter), float(film.WindowWidth)

    def displayed(x: int) -> float:  # PS3.3 C.11.2.1.2.1, with an output range of 0 to 1
        if x <= center - 0.5 - (width - 1) / 2:
            return 0.0
        if x > center - 0.5 + (width - 1) / 2:
            return 1.0
        return (x - (center - 0.5)) / (width - 1) + 0.5

    expected = [displayed(int(x)) for x in pixels.reshape(-1)]
    np.testing.assert_allclose(read_film(film).reshape(-1), expected, atol=1e-6)


@settings(deadline=None)
@given(
    entries=st.lists(st.integers(min_value=0, max_value=4095), min_size=2, max_size=300),
    first=st.integers(min_value=-300, max_value=300),
    signed=st.booleans(),
)
def test_a_lut_is_looked_up_and_held_at_its_ends(entries: list[int], first: int, signed: bool) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [len(entries), first, 12])
    item.add_new("LUTData", "US", entries)
    pixels = ladder(9, signed=signed)
    film = make_film(pixels=pixels, bits_stored=9, VOILUTSequence=[item])
    expected = [entries[min(max(int(x) - first, 0), len(entries) - 1)] / 4095 for x in pixels.reshape(-1)]
    np.testing.assert_allclose(read_film(film).reshape(-1), expected, atol=1e-6)


@settings(deadline=None)
@given(depth=st.integers(min_value=9, max_value=15), spare=st.integers(min_value=0, max_value=7), seed=seeds)
def test_bits_that_are_not_stored_show_nowhere(depth: int, spare: int, seed: int) -> None:
    """Overlay planes lie above High Bit, in real films too (PS3.5 8.1.2)."""
    high_bit = min(depth - 1 + spare, 15)
    unused = high_bit + 1 - depth
    pixels = ladder(depth, signed=False).astype(np.uint32)
    noise = np.random.default_rng(seed).integers(0, 1 << 16, size=pixels.shape, dtype=np.uint32)
    mask = ((1 << depth) - 1) << unused
    words = ((pixels << unused) | (noise & ~np.uint32(mask))) & 0xFFFF
    film = make_film(pixels=pixels.astype(np.uint16), bits_stored=depth)
    noisy = make_film(
        pixels=pixels.astype(np.uint16),
        bits_stored=depth,
        HighBit=high_bit,
        PixelData=words.astype("<u2").tobytes(),
    )
    np.testing.assert_array_equal(read_film(noisy), read_film(film))


@settings(max_examples=50, deadline=None)
@given(
    depth=bits,
    signed=st.booleans(),
    padding=st.integers(min_value=-32768, max_value=65535),
    limit=st.none() | st.integers(min_value=-32768, max_value=65535),
)
def test_padding_is_black_and_nothing_else_changes(depth: int, signed: bool, padding: int, limit: int | None) -> None:
    pixels = ladder(depth, signed=signed)
    plain = read_film(make_film(pixels=pixels, bits_stored=depth))
    padded = read_film(
        make_film(pixels=pixels, bits_stored=depth, PixelPaddingValue=padding, PixelPaddingRangeLimit=limit)
    )
    assert_displayed(padded)
    assert ((padded == plain) | (padded == 0.0)).all()
