"""Where the lungs are, and films cut to them."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pneumo_monai.bundle import Preprocessing
from pneumo_monai.geometry import Window
from pneumo_monai.lungs import LUNG_SIZE, LungFields, find_lungs
from pneumo_monai.network import LungNet
from pneumo_monai.preprocessing import Preprocess, square


class Bright(nn.Module):
    """Takes whatever is brighter than 0.5 for lung: a segmentation whose answer is known."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(50.0))

    def forward(self, image: Tensor) -> Tensor:
        return image * self.sharpness


def film(rows: int, columns: int, *fields: tuple[slice, slice]) -> np.ndarray:
    picture = np.full((rows, columns), 0.1, dtype=np.float32)
    for field in fields:
        picture[field] = 0.9
    return picture


def test_of_more_than_two_pieces_the_two_largest_are_lungs() -> None:
    picture = film(
        512, 512, np.s_[100:400, 60:200], np.s_[100:380, 300:450], np.s_[420:460, 300:340], np.s_[5:20, 5:20]
    )
    mask = find_lungs(Bright(), picture).mask
    assert mask.shape == (LUNG_SIZE, LUNG_SIZE)
    assert mask[50, 30]
    assert mask[50, 90]
    assert not mask[110, 80]
    assert not mask[2:5, 2:5].any()


def test_a_second_piece_far_smaller_than_the_first_is_no_lung() -> None:
    mask = find_lungs(Bright(), film(512, 512, np.s_[100:400, 60:200], np.s_[420:470, 300:350])).mask
    assert mask[50, 30]
    assert not mask[:, 70:].any()


@pytest.mark.parametrize(("rows", "columns"), [(1024, 1024), (900, 600), (600, 900)])
def test_the_window_holds_the_lungs_and_little_else(rows: int, columns: int) -> None:
    fields = find_lungs(Bright(), film(rows, columns, np.s_[200:500, 100:250], np.s_[200:480, 330:500]))
    window = fields.window(rows, columns)
    assert window.left <= 100
    assert window.top <= 200
    assert window.left + window.side >= 500
    assert window.top + window.side >= 500
    assert 400 <= window.side <= 400 * 1.08 + 2 * max(rows, columns) / LUNG_SIZE + 1


def test_without_lungs_the_window_is_the_whole_film() -> None:
    fields = find_lungs(Bright(), film(300, 200))
    assert not fields.mask.any()
    assert fields.window(300, 200) == Window.whole(300, 200)


def test_outside_the_lungs_nothing_is_left_and_inside_all() -> None:
    picture = film(1024, 1024, np.s_[200:800, 100:450], np.s_[200:800, 600:950])
    picture[210:250, 500:560] = 0.45
    made = square(picture, 224, find_lungs(Bright(), picture))
    assert made.inside is not None
    assert made.picture.shape == (1, 224, 224)
    shown = made.picture[0].numpy()
    assert (shown[~made.inside] == 0.0).all()
    assert np.median(shown[made.inside]) == pytest.approx(0.9, abs=1e-4)
    # What the tensor shows as lung is lung on the film.
    places = np.argwhere(made.inside)[:, ::-1] + 0.5
    columns, rows = made.geometry.to_film(places.astype(np.float64)).astype(int).T
    assert np.mean(picture[rows, columns] == np.float32(0.9)) > 0.97


def test_a_film_already_cut_is_cut_the_same_again() -> None:
    picture = film(512, 512, np.s_[100:400, 60:200], np.s_[100:380, 300:450])
    first = square(picture, 128, find_lungs(Bright(), picture))
    blank = np.where(picture > 0.5, picture, 0.0).astype(np.float32)
    second = square(blank, 128, find_lungs(Bright(), blank))
    # Against black the edge of the fields lies up to one pixel of the segmentation further in.
    for edge in ("left", "top", "side"):
        change = getattr(second.geometry.window, edge) - getattr(first.geometry.window, edge)
        assert abs(change) <= 2 * 512 / LUNG_SIZE


def test_preprocessing_with_lungs_normalises_what_the_cut_leaves() -> None:
    picture = film(300, 400, np.s_[50:250, 60:180], np.s_[50:250, 220:340])
    constants = Preprocessing(size=64, mean=0.2, std=0.5)
    prepared = Preprocess(constants, lambda shown: find_lungs(Bright(), shown))(picture)
    assert prepared.tensor.dtype == torch.float32
    assert prepared.inside is not None
    made = square(picture, 64, prepared.lungs)
    torch.testing.assert_close(prepared.tensor, (made.picture - 0.2) / 0.5)
    assert prepared.geometry == made.geometry


def test_the_network_maps_a_square_to_a_square_and_nothing_found_is_no_error() -> None:
    network = LungNet().eval()
    fields = find_lungs(network, np.zeros((90, 120), dtype=np.float32))
    assert isinstance(fields, LungFields)
    assert fields.probability.shape == (LUNG_SIZE, LUNG_SIZE)
