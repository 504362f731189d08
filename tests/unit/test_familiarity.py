"""What a picture shows, whatever its header says: measures, limits, and what becomes of a film."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pneumo_monai.bundle import PACKAGED, Bundle, GateLimits
from pneumo_monai.engine import Engine
from pneumo_monai.errors import BundleError, Reason, Refused
from pneumo_monai.familiarity import Familiarity, Measures, check_picture, sketch
from pneumo_monai.instances import read_instance
from pneumo_monai.lungs import LungFields, find_lungs
from pneumo_monai.pixels import read_film
from pneumo_monai.settings import IntendedUse
from tests.shared import manifest, shared_folder

Film = NDArray[np.float32]

LIMITS = GateLimits(distance=3.0, turned=1.0, lung_share=0.05, undecided_share=0.2)


class Dark(nn.Module):
    """Takes whatever is dark, but not the darkest, for lung."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(30.0))

    def forward(self, image: Tensor) -> Tensor:
        shown = image * 0.25 + 0.5
        return (0.12 - (shown - 0.3).abs()) * self.sharpness


def fields_of(film: Film) -> LungFields:
    return find_lungs(Dark(), film)


def chest(seed: int, rows: int = 160, columns: int = 160) -> Film:
    """Draw two dark fields in a bright trunk on a black ground; no two are alike."""
    drawn = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    film = np.where(np.abs(x) < 0.9, np.float32(0.7), np.float32(0.0))
    film += 0.2 * (y > 0.7) * (np.abs(x) < 0.9)
    for side in (-1, 1):
        wide, high = drawn.uniform(0.25, 0.33), drawn.uniform(0.5, 0.6)
        film[((x - side * 0.45) / wide) ** 2 + ((y + 0.1) / high) ** 2 < 1.0] = 0.3
    return np.clip(film + drawn.normal(0.0, 0.01, film.shape), 0.0, 1.0).astype(np.float32)


def sketch_of(film: Film) -> Film:
    return sketch(fields_of(film), *film.shape)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    sketches = np.stack([sketch_of(chest(seed)) for seed in range(40)])
    mean = sketches.mean(axis=0)
    _, values, rows = np.linalg.svd(sketches - mean, full_matrices=False)
    parts = (mean, rows[:4], values[:4] ** 2 / 40, (values[4:] ** 2).sum() / 40 / (len(mean) - 4))
    return {
        name: torch.as_tensor(part)
        for name, part in zip(("mean", "directions", "variances", "noise"), parts, strict=True)
    }


@pytest.fixture(scope="module")
def known(state: dict[str, Tensor]) -> Familiarity:
    return Familiarity(state, LIMITS)


def test_a_sketch_holds_the_ranks_of_brightness_and_the_lungs() -> None:
    drawn = sketch_of(chest(0))
    assert drawn.shape == (512,)
    assert drawn.dtype == np.float32
    assert drawn[:256].mean() == pytest.approx(0.0, abs=1e-5)
    assert drawn[:256].min() >= -np.sqrt(3.0)
    assert drawn[:256].max() <= np.sqrt(3.0)
    fields = fields_of(chest(0))
    assert drawn[256:].mean() == pytest.approx((fields.probability.mean() - 0.3) / 0.3, abs=1e-4)


def test_neither_gamma_nor_window_changes_a_sketch_and_a_negative_turns_it_round() -> None:
    fields = fields_of(chest(1))
    brightness = sketch(fields, 160, 160)[:256]

    def of(picture: Film) -> Film:
        shown = LungFields(probability=fields.probability, mask=fields.mask, picture=picture.astype(np.float32))
        return sketch(shown, 160, 160)[:256]

    np.testing.assert_allclose(of(0.3 + fields.picture * 0.5), brightness, atol=1e-2)
    assert np.corrcoef(of(fields.picture**1.5), brightness)[0, 1] > 0.98
    np.testing.assert_allclose(of(1.0 - fields.picture), -brightness, atol=2e-2)


@pytest.mark.parametrize(("rows", "columns"), [(200, 120), (120, 200), (161, 160)])
def test_the_padding_is_no_part_of_a_sketch(rows: int, columns: int) -> None:
    portrait, square = sketch_of(chest(2, rows, columns)), sketch_of(chest(2))
    assert np.corrcoef(portrait, square)[0, 1] > 0.95


def test_a_film_of_one_line_and_a_blank_one_have_sketches() -> None:
    for film in (np.zeros((1, 300), np.float32), np.zeros((300, 1), np.float32), np.full((50, 60), 0.5, np.float32)):
        assert np.isfinite(sketch_of(film)).all()


def test_chests_are_near_and_what_is_none_is_far(known: Familiarity) -> None:
    distances = known.distances(np.stack([sketch_of(chest(seed)) for seed in range(100, 110)]))
    assert distances.max() < LIMITS.distance
    film = chest(200)
    odd = np.stack([sketch_of(np.ascontiguousarray(other)) for other in (1.0 - film, film.T, film[::-1])])
    assert known.distances(odd.astype(np.float32)).min() > LIMITS.distance


def test_measures_of_a_film(known: Familiarity) -> None:
    film = chest(3)
    measures = known.measure(fields_of(film), *film.shape)
    assert measures.distance < LIMITS.distance
    assert measures.turned < 0.5
    assert measures.lung_share == pytest.approx(0.26, abs=0.06)
    assert 0.0 <= measures.undecided_share < 0.2
    assert known.objection(measures) is None


@pytest.mark.parametrize("turn", [lambda f: f[::-1], lambda f: f.T, lambda f: np.rot90(f, 3), lambda f: f[::-1, ::-1]])
def test_a_turned_film_would_be_nearer_if_it_stood_upright(known: Familiarity, turn: Callable[[Film], Film]) -> None:
    film = np.ascontiguousarray(turn(chest(8)))
    assert known.measure(fields_of(film), *film.shape).turned > 2.0


@pytest.mark.parametrize(
    ("measures", "why"),
    [
        (Measures(1.0, 0.2, 0.02, 0.0), "2.0% of it is lung, at least 5.0% is expected"),
        (Measures(1.0, 0.2, 0.3, 0.25), "of 25.0% it cannot be told whether it is lung, at most 20.0% is expected"),
        (Measures(4.25, 0.2, 0.3, 0.1), "its distance from chest films is 4.2, the limit 3.0"),
        (Measures(2.5, 2.0, 0.3, 0.1), "turned, its distance from chest films would be 1.2 in place of 2.5"),
        (Measures(3.0, 1.0, 0.05, 0.2), None),
    ],
)
def test_an_objection_says_what_was_measured(known: Familiarity, measures: Measures, why: str | None) -> None:
    assert known.objection(measures) == why


def looked_at(known: Familiarity, film: Film, **answers: Any) -> str | None:
    return check_picture(
        film, fields_of(film), familiarity=known, find_lungs=fields_of, intended_use=IntendedUse(**answers)
    )


def test_a_chest_passes_without_a_remark(known: Familiarity) -> None:
    assert looked_at(known, chest(4)) is None


def test_what_is_no_chest_is_refused_or_remarked_as_the_site_says(known: Familiarity) -> None:
    film = np.ascontiguousarray(chest(5).T)
    with pytest.raises(Refused, match="does not look like a frontal chest film: ") as caught:
        looked_at(known, film)
    assert caught.value.reason is Reason.UNLIKE_CHEST
    remark = looked_at(known, film, unlike_chest="flag")
    assert remark == f"{caught.value.detail}."
    assert looked_at(known, film, unlike_chest="accept") is None


def test_a_negative_is_told_from_what_is_no_chest(known: Familiarity) -> None:
    film = np.float32(1.0) - chest(6)
    remark = looked_at(known, film)
    assert remark is not None
    assert remark.startswith("The picture looks like the negative of a chest film")
    with pytest.raises(Refused) as caught:
        looked_at(known, film, inverted="refuse")
    assert caught.value.reason is Reason.INVERTED
    assert looked_at(known, film, inverted="accept") is None
    assert looked_at(known, film, inverted="accept", unlike_chest="accept") is None


def test_weights_are_loaded_as_they_were_stored(known: Familiarity, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "gate.pt")
    loaded = Familiarity.load(tmp_path / "gate.pt", LIMITS)
    sketches = sketch_of(chest(7))[None]
    np.testing.assert_array_equal(loaded.distances(sketches), known.distances(sketches))


@pytest.mark.parametrize("content", [{}, {"mean": torch.zeros(3)}, [1], "text"])
def test_a_file_that_is_no_gate_is_named(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "gate.pt")
    with pytest.raises(BundleError, match=r"model\.path: .*gate\.pt is no gate\.pt"):
        Familiarity.load(tmp_path / "gate.pt", LIMITS)


PICTURES = [row for row in manifest() if row["expect"] == "analyse" or row["file"].startswith(("leg-", "panoramic-"))]
"""Chests, and what is none whatever the header says; the rest is refused for what its header says."""


@pytest.mark.rsna
@pytest.mark.parametrize("row", PICTURES, ids=lambda row: row["file"])
def test_the_shipped_gate_on_the_manifest_of_real_files(row: dict[str, str]) -> None:
    bundle = Bundle(PACKAGED)
    engine = Engine(bundle, torch.device("cpu"))
    film = read_film(read_instance(shared_folder("dicom") / row["file"]))
    assert engine.familiarity is not None
    common = {"familiarity": engine.familiarity, "find_lungs": engine.find_lungs}
    if row["expect"] == "analyse":
        remark = check_picture(film, engine.find_lungs(film), intended_use=IntendedUse(), **common)
        assert (remark is not None) is (row["file"] == "rsna-original-monochrome1.dcm")
    else:
        with pytest.raises(Refused) as caught:
            check_picture(film, engine.find_lungs(film), intended_use=IntendedUse(), **common)
        assert caught.value.reason is Reason.UNLIKE_CHEST
