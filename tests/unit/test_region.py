"""The outline of a finding: where the map says, on the film, and always something that a viewer can draw."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pneumo_monai.findings import FilmFinding, View
from pneumo_monai.geometry import SquareGeometry, Window
from pneumo_monai.region import SHARE_OF_MAXIMUM, film_frame, finding_region


def finding(
    activation: NDArray[np.floating],
    *,
    rows: int,
    columns: int,
    present: bool = True,
    window: Window | None = None,
    lungs: NDArray[np.bool_] | None = None,
) -> FilmFinding:
    return FilmFinding(
        sop_instance_uid="2.25.1",
        view=View.PA,
        probability=0.9 if present else 0.1,
        present=present,
        activation=np.asarray(activation, np.float32),
        geometry=SquareGeometry(rows=rows, columns=columns, size=224, window=window or Window.whole(rows, columns)),
        logit=0.0,
        lungs=lungs,
    )


def peak(*cells: tuple[int, int], side: int = 7) -> NDArray[np.float32]:
    activation = np.full((side, side), -1.0, np.float32)
    for height, cell in enumerate(cells):
        activation[cell] = 4.0 - height * 0.5
    return activation


def area(outline: NDArray[np.float64]) -> float:
    """Return the signed area: positive when the outline runs clockwise on the screen."""
    (x, y), (ahead_x, ahead_y) = outline[:-1].T, outline[1:].T
    return 0.5 * float(np.sum(x * ahead_y - ahead_x * y))


def crosses_itself(outline: NDArray[np.float64]) -> bool:
    """Tell whether two sides of the outline cross, each having its ends on different sides of the other."""
    start, end = outline[:-1], outline[1:]

    def side_of(points: NDArray[np.float64]) -> NDArray[np.float64]:
        along, to = (end - start)[:, None], points[None] - start[:, None]
        return np.sign(np.round(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0], 6))

    apart = side_of(start) * side_of(end) < 0
    return bool(np.any(apart & apart.T))


def frame(rows: int, columns: int) -> list[float]:
    return [0.5, 0.5, columns - 0.5, rows - 0.5]


def box(outline: NDArray[np.float64]) -> list[float]:
    return [*outline.min(axis=0), *outline.max(axis=0)]


@pytest.mark.parametrize(("rows", "columns"), [(1024, 1024), (2500, 2048), (600, 900)])
def test_an_absent_finding_has_the_whole_film(rows, columns):
    outline = finding_region(finding(peak((3, 3)), present=False, rows=rows, columns=columns))
    assert box(outline) == frame(rows, columns)
    assert area(outline) == (rows - 1) * (columns - 1)
    # Four corners would be taken for what a person drew with a rectangle tool.
    assert len(outline) > 5


def test_where_nothing_speaks_for_the_finding_the_whole_film_is_left():
    for activation in (np.zeros((7, 7)), np.full((7, 7), -1.0), np.full((7, 7), np.nan)):
        assert box(finding_region(finding(activation, rows=64, columns=48))) == frame(64, 48)
    only_on_padding = peak((3, 0))
    assert box(finding_region(finding(only_on_padding, rows=700, columns=100))) == frame(700, 100)


def test_a_peak_is_outlined_at_half_its_height():
    outline = finding_region(finding(np.maximum(peak((4, 2)), 0.0), rows=700, columns=700))
    # Cells of 100 pixels; from the middle of one to the middle of the next the map falls to nothing.
    centre = np.array([250.0, 450.0])
    assert np.mean([outline.min(axis=0), outline.max(axis=0)], axis=0) == pytest.approx(centre)
    assert np.ptp(outline, axis=0) == pytest.approx([100.0, 100.0], abs=8.0)
    assert SHARE_OF_MAXIMUM == 0.5


@pytest.mark.parametrize(("rows", "columns", "cell"), [(700, 500, (1, 3)), (500, 700, (3, 1))])
def test_the_way_back_to_the_film_leaves_out_the_padding(rows, columns, cell):
    outline = finding_region(finding(peak(cell), rows=rows, columns=columns))
    geometry = SquareGeometry(rows=rows, columns=columns, size=7, window=Window.whole(rows, columns))
    (middle,) = geometry.to_film(np.array([[cell[1] + 0.5, cell[0] + 0.5]]))
    assert np.mean([outline.min(axis=0), outline.max(axis=0)], axis=0) == pytest.approx(middle)


def test_only_what_is_connected_with_the_maximum_belongs_to_it():
    apart = finding_region(finding(peak((1, 1), (5, 5)), rows=700, columns=700))
    assert box(apart) == box(finding_region(finding(peak((1, 1)), rows=700, columns=700)))
    together = finding_region(finding(peak((3, 2), (3, 3), (3, 4)), rows=700, columns=700))
    assert np.ptp(together[:, 0]) > 250


def test_a_hole_is_part_of_the_region():
    ring = np.ones((7, 7))
    ring[3, 3] = -9.0
    assert area(finding_region(finding(ring, rows=700, columns=700))) > 0.99 * 699 * 699


def test_a_region_at_the_edge_ends_at_the_edge():
    outline = finding_region(finding(peak((6, 6)), rows=700, columns=500))
    assert box(finding_region(finding(peak((6, 6)), rows=700, columns=700)))[2:] == [699.5, 699.5]
    assert outline.max() <= 699.5


def test_the_outline_encloses_what_reaches_the_threshold():
    side = 1400
    activation = np.random.default_rng(7).normal(0.0, 1.0, (7, 7))
    support = Image.fromarray(np.clip(activation, 0.0, None).astype(np.float32))
    spread = np.asarray(support.resize((side, side), Image.Resampling.BILINEAR))
    inside = drawn_on(finding_region(finding(activation, rows=side, columns=side)), side)
    assert inside[np.unravel_index(int(spread.argmax()), spread.shape)]
    assert np.mean(spread[inside] >= SHARE_OF_MAXIMUM * spread.max()) > 0.95


def test_what_the_network_saw_of_the_film_is_where_the_outline_lies():
    window = Window(left=300, top=-50, side=350)
    outline = finding_region(finding(np.maximum(peak((4, 2)), 0.0), rows=700, columns=700, window=window))
    # Cells of 50 pixels, counted from the window's corner.
    assert np.mean([outline.min(axis=0), outline.max(axis=0)], axis=0) == pytest.approx([425.0, 175.0])


def test_the_outline_stays_in_the_lungs():
    lungs = np.zeros((224, 224), dtype=np.bool_)
    lungs[:, :112] = True
    outline = finding_region(finding(np.ones((7, 7)), rows=700, columns=700, lungs=lungs))
    assert outline[:, 0].max() == pytest.approx(350.0, abs=700 / 63)
    assert np.ptp(outline[:, 1]) > 690


def lung_fields(side: int = 224) -> NDArray[np.bool_]:
    """Two ellipses side by side, the right one lower."""
    row, column = np.mgrid[:side, :side] / side
    return sum(
        ((column - middle) / 0.15) ** 2 + ((row - height) / 0.3) ** 2 < 1
        for middle, height in ((0.3, 0.5), (0.7, 0.55))
    ).astype(np.bool_)


def drawn_on(outline: NDArray[np.float64], side: int) -> NDArray[np.bool_]:
    """Fill an outline; Pillow counts from the middle of the first pixel, the outline from its corner."""
    drawn = Image.new("L", (side, side))
    ImageDraw.Draw(drawn).polygon([(x - 0.5, y - 0.5) for x, y in outline], 1)
    return np.asarray(drawn, dtype=bool)


def test_an_absent_finding_on_a_film_cut_to_its_lungs_has_both_lung_fields():
    lungs = lung_fields()
    outline = finding_region(finding(peak((3, 3)), present=False, rows=224, columns=224, lungs=lungs))
    inside = drawn_on(outline, 224)
    assert np.mean(inside[lungs]) > 0.99
    # One outline round two fields: what lies between them is in it, what lies beside them is not.
    assert not inside[:, : int(0.14 * 224)].any()
    assert not inside[: int(0.19 * 224)].any()
    assert len(outline) > 10


def test_lung_fields_are_outlined_where_the_window_lies_on_the_film():
    whole = finding(peak((3, 3)), present=False, rows=700, columns=700, lungs=lung_fields())
    window = Window(left=300, top=-50, side=350)
    part = finding(peak((3, 3)), present=False, rows=700, columns=700, lungs=lung_fields(), window=window)
    # Half as large, and moved by the window's corner.
    expected = finding_region(whole) / 2 + [300, -50]
    assert finding_region(part) == pytest.approx(expected, abs=0.01)


def test_where_nothing_in_the_lungs_speaks_for_the_finding_the_lungs_are_left():
    outline = finding_region(finding(np.zeros((7, 7)), rows=700, columns=700, lungs=lung_fields()))
    assert np.ptp(outline[:, 0]) < 600


@pytest.mark.parametrize("beside", [False, True], ids=["no lungs", "lungs beside the film"])
def test_without_lungs_on_the_film_the_whole_film_is_left(beside):
    lungs = np.zeros((224, 224), np.bool_)
    lungs[:, :10] = beside
    outline = finding_region(finding(peak((3, 3)), present=False, rows=700, columns=100, lungs=lungs))
    assert box(outline) == frame(700, 100)


def test_no_outline_is_taken_for_a_drawn_rectangle():
    lungs = np.zeros((224, 224), np.bool_)
    lungs[50:150, 60:160] = True
    outline = finding_region(finding(peak((3, 3)), present=False, rows=224, columns=224, lungs=lungs))
    assert box(outline) == [60, 50, 160, 150]
    assert len(outline) == len(film_frame(100, 200)) == 9


def test_the_frame_of_a_film_runs_through_its_outermost_pixels():
    outline = film_frame(100, 200)
    assert box(outline) == frame(100, 200)
    assert area(outline) == 99 * 199


ACTIVATIONS = st.one_of(
    st_numpy.arrays(np.float32, (7, 7), elements=st.floats(-100.0, 100.0, width=32)),
    st_numpy.arrays(np.float32, (7, 7), elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])),
)
SIDES = st.integers(16, 4000)


LUNGS = st.none() | st_numpy.arrays(np.bool_, (6, 6))


@settings(deadline=None)
@given(activation=ACTIVATIONS, rows=SIDES, columns=SIDES, present=st.booleans(), lungs=LUNGS)
def test_whatever_the_map_the_outline_can_be_drawn(activation, rows, columns, present, lungs):
    outline = finding_region(finding(activation, present=present, rows=rows, columns=columns, lungs=lungs))
    assert outline.dtype == np.float64
    assert np.array_equal(outline[0], outline[-1])
    as_written = outline.astype(np.float32)
    assert len(np.unique(as_written, axis=0)) >= 3
    assert (outline >= 0.5).all()
    assert (outline <= [columns - 0.5, rows - 0.5]).all()
    assert area(outline) > 0.0
    assert area(as_written.astype(np.float64)) > 0.0
    assert not crosses_itself(outline)
    assert not np.any(np.all(outline[1:] == outline[:-1], axis=1))
