"""The one preprocessing and its inverse map."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pneumo_monai.geometry import SquareGeometry, Window
from pneumo_monai.transforms import SquareResize, preprocessing

SHAPES = [(224, 224), (300, 200), (200, 300), (301, 200), (1000, 37), (100, 80), (16, 223)]
sides = st.integers(min_value=16, max_value=5000)


def film(rows: int, columns: int) -> NDArray[np.float32]:
    """Return a film that is smooth, with an edge and some noise, and nowhere quite black or white."""
    row, column = np.mgrid[:rows, :columns]
    picture = 0.5 + 0.3 * np.sin(row / rows * 9) * np.cos(column / columns * 7)
    picture[rows // 3 : rows // 2, columns // 4 : columns // 2] += 0.1
    picture += np.random.default_rng(0).normal(0, 0.02, size=picture.shape)
    return np.clip(picture, 0.05, 0.95).astype(np.float32)


def margins(rows: int, columns: int) -> tuple[int, int, int, int]:
    """Return what is padded at the left, right, top and bottom of a whole film."""
    window = Window.whole(rows, columns)
    return -window.left, window.left + window.side - columns, -window.top, window.top + window.side - rows


def whole(rows: int, columns: int, size: int) -> SquareGeometry:
    return SquareGeometry(rows=rows, columns=columns, size=size, window=Window.whole(rows, columns))


def squared(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    left, right, top, bottom = margins(*picture.shape)
    return np.pad(picture, ((top, bottom), (left, right)), constant_values=picture.min())


@pytest.mark.parametrize("shape", SHAPES)
def test_resizing_agrees_with_pillow(shape: tuple[int, int]) -> None:
    picture = film(*shape)
    expected = np.asarray(Image.fromarray(squared(picture)).resize((224, 224), Image.Resampling.BILINEAR))
    result = SquareResize(224)(picture)
    assert result.shape == (1, 224, 224)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result[0].numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_grey_is_invented(shape: tuple[int, int]) -> None:
    picture = film(*shape)
    result = SquareResize(224)(picture)
    assert float(result.min()) >= picture.min() - 1e-6
    assert float(result.max()) <= picture.max() + 1e-6


def test_fine_stripes_turn_grey_not_into_a_pattern() -> None:
    stripes = np.zeros((2240, 2240), dtype=np.float32)
    stripes[:, ::2] = 1.0
    inner = SquareResize(224)(stripes)[0, 1:-1, 1:-1]
    np.testing.assert_allclose(inner.numpy(), 0.5, atol=0.01)


@pytest.mark.parametrize(("shape", "margin"), [((400, 200), np.s_[:, :50]), ((200, 400), np.s_[:50, :])])
def test_the_margin_is_the_films_background(shape: tuple[int, int], margin: tuple[slice, slice]) -> None:
    picture = film(*shape)
    result = SquareResize(224)(picture)[0]
    np.testing.assert_allclose(result[margin].numpy(), picture.min(), atol=1e-6)
    np.testing.assert_array_equal(result.numpy(), SquareResize(224)(squared(picture))[0].numpy())


def test_a_square_film_of_the_right_size_is_left_alone() -> None:
    picture = film(224, 224)
    np.testing.assert_array_equal(SquareResize(224)(picture)[0].numpy(), picture)


def test_preprocessing_normalises_and_leaves_a_plain_tensor() -> None:
    picture = film(224, 224)
    result = preprocessing(size=224, mean=0.4, std=0.2)(picture)
    assert type(result) is torch.Tensor
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result[0].numpy(), (picture - 0.4) / 0.2, atol=1e-6)


def test_preprocessing_takes_a_tensor_as_it_takes_an_array() -> None:
    picture = film(300, 200)
    transform = preprocessing(size=64, mean=0.4, std=0.2)
    assert torch.equal(transform(torch.from_numpy(picture)), transform(picture))


def test_preprocessing_leaves_the_film_as_it_was() -> None:
    picture = film(224, 224)
    before = picture.copy()
    preprocessing(size=224, mean=0.4, std=0.2)(picture)
    np.testing.assert_array_equal(picture, before)


@settings(deadline=None)
@given(rows=sides, columns=sides, size=st.sampled_from([32, 224, 512]), data=st.data())
def test_to_film_inverts_the_way_in(rows: int, columns: int, size: int, data: st.DataObject) -> None:
    geometry = whole(rows, columns, size)
    left, right, top, bottom = margins(rows, columns)
    side = geometry.window.side
    assert (left + columns + right, top + rows + bottom) == (side, side) == (max(rows, columns),) * 2
    assert 0 <= right - left <= 1
    assert 0 <= bottom - top <= 1
    x = data.draw(st.floats(min_value=0, max_value=columns))
    y = data.draw(st.floats(min_value=0, max_value=rows))
    points = np.array([[x, y], [0, 0], [columns, 0], [0, rows], [columns, rows]], dtype=np.float64)
    on_tensor = (points + np.array([left, top])) * (size / side)
    np.testing.assert_allclose(geometry.to_film(on_tensor), points, atol=1e-6)
    np.testing.assert_allclose(geometry.to_tensor(points), on_tensor, atol=1e-6)


@pytest.mark.parametrize("window", [Window(left=-20, top=30, side=120), Window(left=40, top=10, side=60)])
def test_a_window_is_what_it_shows_of_the_padded_film(window: Window) -> None:
    picture = film(100, 80)
    padded = np.pad(picture, 200, constant_values=picture.min())
    top, left = window.top + 200, window.left + 200
    shown = padded[top : top + window.side, left : left + window.side]
    np.testing.assert_allclose(SquareResize(64)(picture, window).numpy(), SquareResize(64)(shown).numpy(), atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_corners_of_the_tensor_are_clipped_to_the_film(shape: tuple[int, int]) -> None:
    rows, columns = shape
    corners = whole(rows, columns, 224).to_film(np.array([[0, 0], [224, 224]], dtype=np.float64))
    np.testing.assert_allclose(corners, [[0, 0], [columns, rows]])


@pytest.mark.parametrize(("rows", "columns"), [(900, 600), (600, 900), (60, 100)])
def test_a_landmark_is_found_where_it_was_put(rows: int, columns: int) -> None:
    """The map agrees with what the resampling does, not only with its own inverse."""
    picture = np.zeros((rows, columns), dtype=np.float32)
    y, x, half = rows // 3, columns // 4, max(rows, columns) // 20
    picture[y - half : y + half, x - half : x + half] = 1.0
    image = SquareResize(224)(picture)[0].numpy()
    row, column = np.mgrid[:224, :224] + 0.5  # centres of pixels
    centre = np.array([[(image * column).sum(), (image * row).sum()]]) / image.sum()
    found = whole(rows, columns, 224).to_film(centre)
    np.testing.assert_allclose(found, [[x, y]], atol=0.05 * half)
