"""The pointing game on maps made for it."""

import numpy as np
import pytest

from pneumo_monai.evaluation.localisation import Localisation, localise, summarise
from pneumo_monai.geometry import Window
from tests.readings import make_finding


def peak(row: int, column: int) -> np.ndarray:
    activation = np.full((7, 7), -0.5)
    activation[row, column] = 2.0
    return activation


def test_a_map_that_points_into_the_box_hits() -> None:
    # Ten film pixels a cell: the peak lies at column 35, row 15.
    found = localise(make_finding(peak(1, 3)), [(30.0, 10.0, 10.0, 10.0)])
    assert found.hit
    assert found.inside > 0.5
    assert found.chance == pytest.approx(100 / 4900, rel=0.05)


def test_columns_and_rows_are_not_mixed_up() -> None:
    assert not localise(make_finding(peak(1, 3)), [(10.0, 30.0, 10.0, 10.0)]).hit


def test_a_map_that_points_elsewhere_misses() -> None:
    found = localise(make_finding(peak(5, 5)), [(0.0, 0.0, 20.0, 20.0)])
    assert (found.hit, found.inside) == (False, 0.0)


def test_several_boxes_count_as_their_union() -> None:
    found = localise(make_finding(peak(1, 3)), [(0.0, 0.0, 35.0, 70.0), (20.0, 0.0, 50.0, 70.0)])
    assert found == Localisation(hit=True, inside=1.0, chance=1.0)


def test_a_flat_map_has_its_share_of_chance() -> None:
    found = localise(make_finding(np.ones((7, 7))), [(0.0, 0.0, 35.0, 70.0)])
    assert found.inside == pytest.approx(found.chance)
    assert found.chance == pytest.approx(0.5, abs=0.01)


def test_a_map_that_speaks_against_everywhere_points_nowhere() -> None:
    found = localise(make_finding(np.full((7, 7), -1.0)), [(0.0, 0.0, 70.0, 70.0)])
    assert (found.hit, found.inside) == (False, 0.0)


def test_padding_counts_neither_for_the_map_nor_for_chance() -> None:
    # A narrow film: 35 columns in the middle of the square, padded on both sides; the peak lies on padding.
    activation = peak(3, 0)
    activation[3, 3] = 1.0
    found = localise(make_finding(activation, columns=35), [(0.0, 30.0, 35.0, 10.0)])
    assert found.hit
    assert found.chance == pytest.approx(10 / 70, abs=0.02)


def test_the_film_that_was_cut_to_its_lungs_is_found_again() -> None:
    # The network saw the right half of a film of 140 pixels a side; within it, only the upper half is lung.
    lungs = np.zeros((70, 70), dtype=bool)
    lungs[:35] = True
    finding = make_finding(peak(1, 3), rows=140, columns=140, window=Window(left=70, top=0, side=70), lungs=lungs)
    assert localise(finding, [(100.0, 10.0, 10.0, 10.0)]).hit
    assert not localise(finding, [(30.0, 10.0, 10.0, 10.0)]).hit
    assert localise(finding, [(70.0, 0.0, 35.0, 140.0)]).chance == pytest.approx(0.5, abs=0.02)


def test_figures_have_intervals_by_person() -> None:
    found = [Localisation(hit=n % 2 == 0, inside=0.4, chance=0.1) for n in range(40)]
    summary = summarise(found, [str(n // 2) for n in range(40)], resamples=200)
    assert summary["films"] == 40
    # One hit and one miss a person: whoever is drawn, half are hits.
    assert summary["pointing_game"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    alone = summarise(found, [str(n) for n in range(40)], resamples=200)["pointing_game"]
    assert alone["low"] < 0.4 < 0.6 < alone["high"]
    assert summary["share_inside"]["value"] == 0.4
    assert summary["chance"]["value"] == 0.1
