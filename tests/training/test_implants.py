"""Lungs of one film laid over those of another."""

import numpy as np
import pytest

from training.implants import implant

SIDE = 64


def lungs(value: int, *, left: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw two fields of one value, black outside, and their mask."""
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[12:52, left : left + 14] = mask[12:52, right : right + 14] = 255
    return np.where(mask > 0, value, 0).astype(np.uint8), mask


@pytest.fixture
def film() -> tuple[np.ndarray, np.ndarray]:
    drawn, mask = lungs(60, left=10, right=36)
    return np.where(mask > 0, drawn, 160).astype(np.uint8), mask


@pytest.mark.parametrize("seed", range(6))
def test_what_is_around_the_lungs_stays_and_what_is_in_them_changes(film, seed: int):
    changed = implant(*film, lungs(200, left=4, right=44), np.random.default_rng(seed))
    inside = film[1] > 0
    assert np.array_equal(changed[~inside], film[0][~inside])
    assert changed[inside].max() > 150
    assert changed[inside].mean() > 70
    assert changed.dtype == np.uint8


def test_the_black_around_a_donor_is_never_laid_over_a_film(film):
    for seed in range(20):
        changed = implant(*film, lungs(200, left=4, right=44), np.random.default_rng(seed))
        assert changed.min() >= 60 - 1


def test_one_generator_gives_one_film(film):
    donor = lungs(200, left=4, right=44)
    twice = [implant(*film, donor, np.random.default_rng(3)) for _ in range(2)]
    assert np.array_equal(*twice)


def test_nothing_is_laid_where_nothing_is(film):
    empty = np.zeros((SIDE, SIDE), dtype=np.uint8)
    assert implant(film[0], film[1], (empty, empty), np.random.default_rng(0)) is film[0]
    assert implant(film[0], empty, lungs(200, left=4, right=44), np.random.default_rng(0)) is film[0]
