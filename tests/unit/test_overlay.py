"""The picture beside a report."""

from dataclasses import replace

import numpy as np
import pytest

from pneumo_monai.demo.phantoms import PHANTOMS, draw_phantom
from pneumo_monai.findings import FilmFinding, OperatingPoint, View
from pneumo_monai.geometry import SquareGeometry, Window
from pneumo_monai.overlay import draw_finding, spread

POINT = OperatingPoint(name="sensitivity 0.90", threshold=0.3, sensitivity=0.9, specificity=0.6)


def finding(activation: np.ndarray, rows: int = 128, columns: int = 128, window: Window | None = None) -> FilmFinding:
    return FilmFinding(
        sop_instance_uid="1.2",
        view=View.PA,
        probability=0.7,
        present=True,
        activation=activation.astype(np.float32),
        geometry=SquareGeometry(rows=rows, columns=columns, size=224, window=window or Window.whole(rows, columns)),
        logit=0.0,
    )


@pytest.mark.parametrize(("rows", "columns"), [(300, 200), (200, 300), (256, 256)])
def test_the_map_s_highest_place_lies_where_the_network_saw_it(rows: int, columns: int) -> None:
    activation = np.zeros((7, 7), dtype=np.float32)
    activation[3, 3] = 1.0
    over_film = spread(finding(activation, rows, columns))
    assert over_film.shape == (rows, columns)
    peak = np.unravel_index(over_film.argmax(), over_film.shape)
    assert np.allclose(peak, (rows / 2, columns / 2), atol=2)


def test_of_a_window_only_what_it_shows_is_coloured() -> None:
    window = Window(left=100, top=-20, side=70)
    over_film = spread(finding(np.ones((7, 7)), 200, 300, window))
    assert over_film[:50, 100:170].min() == 1.0
    assert over_film.sum() == 50 * 70


def test_only_what_speaks_for_the_finding_is_coloured() -> None:
    film = np.full((128, 128), 0.5, dtype=np.float32)
    grey = np.asarray(draw_finding(film, finding(np.full((4, 4), -1.0)), POINT))[100:]
    assert (grey.max(axis=2) == grey.min(axis=2)).all()
    coloured = np.asarray(draw_finding(film, finding(np.ones((4, 4))), POINT))[100:]
    half = coloured.shape[1] // 2
    assert (coloured[:, : half - 40].max(axis=2) == coloured[:, : half - 40].min(axis=2)).all()
    assert (coloured[:, half + 40 :, 0] > coloured[:, half + 40 :, 2]).all()


@pytest.mark.parametrize("spec", PHANTOMS, ids=lambda spec: str(spec["name"]))
def test_a_phantom_is_a_film_in_the_unit_range(spec: dict[str, object]) -> None:
    rows, columns = int(str(spec["rows"])), int(str(spec["columns"]))
    film = draw_phantom(rows, columns, opacity=True, seed=1)
    assert film.shape == (rows, columns)
    assert film.dtype == np.float32
    assert 0.0 <= film.min() < film.max() <= 1.0


def test_of_the_lungs_only_is_coloured_and_at_any_size() -> None:
    lungs = np.zeros((224, 224), dtype=np.bool_)
    lungs[:, :112] = True
    seen = replace(finding(np.ones((7, 7)), 200, 200), lungs=lungs)
    for size in ((200, 200), (50, 50), (400, 300)):
        over_film = spread(seen, size)
        assert over_film.shape == size
        half = size[1] // 2
        assert over_film[:, : half - 2].min() == 1.0
        assert over_film[:, half + 2 :].max() == 0.0
