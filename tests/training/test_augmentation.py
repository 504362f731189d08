"""A batch of films is moved as MONAI moves one, and each film's look is a function of its seed alone."""

import math

import numpy as np
import pytest
import torch
from monai.transforms import Affine, Compose, Flip, ToTensor

from training.augmentation import GRID_STEP, Augmentation, Change, drawn_side

SIZE = 64
SIDE = drawn_side(SIZE)


def squares(count: int) -> np.ndarray:
    """Draw squares that are dark in one corner, so that no turn looks like another."""
    drawn = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE)).astype(np.uint8)
    drawn[:, : SIDE // 4, : SIDE // 3] = 0
    return drawn


@pytest.mark.parametrize("is_flipped", [False, True])
def test_a_film_is_moved_as_monais_affine_moves_it(is_flipped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    change = Change(rotate=0.15, translate=(0.05, -0.03), scale=(0.9, 1.05), is_flipped=is_flipped)
    monkeypatch.setattr(Change, "drawn", lambda seed, size: change)
    film = squares(1)
    found, _ = Augmentation(size=SIZE, mean=0.0, std=1.0).batch(film, [None], [0])
    affine = Affine(
        rotate_params=change.rotate,
        translate_params=[share * SIDE for share in change.translate],
        scale_params=[scale * SIDE / SIZE for scale in change.scale],
        spatial_size=(SIZE, SIZE),
        mode="bilinear",
        padding_mode="zeros",
        image_only=True,
    )
    expected = Compose([affine, *([Flip(spatial_axis=1)] if is_flipped else []), ToTensor(track_meta=False)])
    torch.testing.assert_close(found[0], expected(torch.from_numpy(film).float() / 255.0), rtol=0.0, atol=1e-4)


def test_a_film_does_not_depend_on_its_batch() -> None:
    augmentation, films, seeds = Augmentation(size=SIZE, mean=0.4, std=0.2), squares(5), [7, 11, 13, 17, 19]
    boxes = [None, films[2], None, films[0], None]
    images, grids = augmentation.batch(films, boxes, seeds)
    assert images.shape == (5, 1, SIZE, SIZE)
    assert grids.shape == (5, 1, SIZE // GRID_STEP, SIZE // GRID_STEP)
    for place in (4, 1, 3, 0, 2):
        image, grid = augmentation(films[place], boxes[place], seed=seeds[place])
        assert torch.equal(image, images[place])
        assert torch.equal(grid, grids[place])
    assert not torch.equal(augmentation(films[0], None, seed=1)[0], augmentation(films[0], None, seed=2)[0])
    assert not grids[[0, 2, 4]].any()


def test_without_chance_films_are_resized_and_normalised() -> None:
    augmentation = Augmentation(size=SIZE, mean=0.4, std=0.2, is_random=False)
    image, _ = augmentation(np.full((SIDE, SIDE), 153, dtype=np.uint8), None, seed=3)
    torch.testing.assert_close(image, torch.full((1, SIZE, SIZE), 1.0))


def test_changes_are_drawn_from_what_the_model_card_says() -> None:
    drawn = [Change.drawn(seed, 4) for seed in range(2000)]
    turned = np.degrees([change.rotate for change in drawn])
    assert -10.0 <= turned.min() < -9.5 < 9.5 < turned.max() <= 10.0
    shift, scale = (np.array([getattr(change, name) for change in drawn]) for name in ("translate", "scale"))
    assert (shift.min(axis=0) >= -0.06).all()
    assert (shift.max(axis=0) <= 0.06).all()
    assert (scale.min(axis=0) >= 0.8).all()
    assert (scale.max(axis=0) <= 1.1).all()
    assert abs(np.corrcoef(np.hstack([shift, scale]).T) - np.eye(4)).max() < 0.1
    gamma, bright = (np.array([getattr(change, name) for change in drawn]) for name in ("gamma", "bright"))
    assert 0.74 <= gamma.min() < 0.75 < 1.34 < gamma.max() <= 1.35
    assert 0.9 <= bright.min() < 0.91 < 1.09 < bright.max() <= 1.1
    assert sum(change.is_flipped for change in drawn) == pytest.approx(1000, abs=80)
    assert sum(change.blur > 0.0 for change in drawn) == pytest.approx(300, abs=60)
    assert sum(change.noise is not None for change in drawn) == pytest.approx(300, abs=60)
    assert not any(change.blur > 0.0 and change.noise is not None for change in drawn)


def test_the_look_is_gamma_brightness_and_noise_that_leaves_blank_blank() -> None:
    noise = np.full((2, 2), 0.1, dtype=np.float32)
    film = torch.tensor([[0.0, 0.25], [0.5, 1.0]])
    Change(gamma=0.5, bright=0.9, noise=noise).look(film)
    torch.testing.assert_close(film, torch.tensor([[0.0, 0.55], [0.9 * math.sqrt(0.5) + 0.1, 1.0]]))
    even = torch.full((5, 5), 0.5)
    Change(blur=0.5).look(even)
    torch.testing.assert_close(even[1:4, 1:4], torch.full((3, 3), 0.5))
