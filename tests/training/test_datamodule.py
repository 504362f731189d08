"""Films reach the network as the service would show them, or augmented, and nothing is skipped in silence."""

import csv
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from monai.utils import CommonKeys

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.findings import View
from pneumo_monai.pixels import read_film
from pneumo_monai.transforms import preprocessing
from tests.training.conftest import RECIPE, Challenge, write_film
from training.cache import PixelCache
from training.datamodule import Films
from training.films import BOXES, BOXES_KNOWN, CLASS, CLASSES, INDEX, Draws, boxes_square
from training.records import NORMAL, OPACITY, Exam, read_folder
from training.split import Part


@pytest.fixture
def films(challenge: Challenge, tmp_path: Path) -> Films:
    films = Films([challenge()], RECIPE, cache=tmp_path / "cache")
    films.setup()
    return films


def test_no_person_stands_in_two_loaders(films: Films) -> None:
    persons = {part: {exam.person for exam in films.part(part)} for part in Part}
    assert sum(map(len, persons.values())) == len(set.union(*persons.values())) == 12
    assert all(persons.values())


@pytest.mark.parametrize("loader", ["val_dataloader", "test_dataloader"])
def test_a_held_out_film_is_the_tensor_that_the_service_computes(films: Films, loader: str) -> None:
    batch = next(iter(getattr(films, loader)()))
    serve = preprocessing(size=RECIPE.size, mean=films.mean, std=films.std)
    exams = films.part(Part.VALIDATION if loader == "val_dataloader" else Part.TEST)
    for image, place, label in zip(batch[CommonKeys.IMAGE], batch[INDEX], batch[CommonKeys.LABEL], strict=True):
        exam = exams[int(place)]
        assert torch.equal(image, serve(read_film(pydicom.dcmread(exam.path))))
        assert int(label) == exam.target


def test_normalisation_is_that_of_the_training_part_only(films: Films) -> None:
    side = 37
    pixels = [films._cache.square(exam, side=side, depth="uint8") / 255.0 for exam in films.part(Part.TRAINING)]
    assert films.mean == pytest.approx(np.mean(pixels))
    assert films.std == pytest.approx(np.std(pixels))
    everything = [films._cache.square(exam, side=side, depth="uint8") / 255.0 for exam in films.exams]
    assert films.mean != pytest.approx(np.mean(everything), abs=1e-9)


def test_training_batches_are_augmented_and_repeat_with_the_seed(films: Films) -> None:
    first, again = (next(iter(films.train_dataloader())) for _ in range(2))
    assert torch.equal(first[CommonKeys.IMAGE], again[CommonKeys.IMAGE])
    assert first[CommonKeys.IMAGE].shape == (4, 1, RECIPE.size, RECIPE.size)
    assert first[CommonKeys.IMAGE].dtype == torch.float32
    loader = films.train_dataloader()
    loader.sampler.set_epoch(1)
    assert not torch.equal(first[CommonKeys.IMAGE], next(iter(loader))[CommonKeys.IMAGE])
    dataset = loader.dataset
    assert not torch.equal(dataset[0, 1][CommonKeys.IMAGE], dataset[0, 2][CommonKeys.IMAGE])


def test_positive_films_weigh_as_much_as_negative_ones(films: Films) -> None:
    exams = films.part(Part.TRAINING)
    positive = sum(exam.target for exam in exams)
    assert films.positive_weight == pytest.approx((len(exams) - positive) / positive)


def test_view_comes_from_the_header(films: Films) -> None:
    assert {exam.view for exam in films.exams} == {View.AP, View.PA}


def test_films_that_cannot_be_read_are_skipped_counted_and_listed(
    challenge: Challenge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = challenge()
    images = folder / "stage_2_train_images"
    (images / "00-0.dcm").write_bytes(b"no DICOM file")
    (images / "01-0.dcm").unlink()
    cut = (images / "02-0.dcm").read_bytes()[:-500]
    (images / "02-0.dcm").write_bytes(cut)
    films = Films([folder], RECIPE, cache=tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        films.setup()
    assert "3 of 24 films cannot be read and are skipped" in caplog.text
    films.write(tmp_path)
    with (tmp_path / "skipped.csv").open() as stream:
        reasons = {Path(row["path"]).stem: row["reason"] for row in csv.DictReader(stream)}
    assert sorted(reasons) == ["00-0", "01-0", "02-0"]
    assert "no DICOM file" in reasons["00-0"]
    assert "missing" in reasons["01-0"]
    assert len(films.exams) == 21


def test_no_readable_film_is_an_error(challenge: Challenge, tmp_path: Path) -> None:
    folder = challenge(persons=2)
    for file in (folder / "stage_2_train_images").iterdir():
        file.write_bytes(b"")
    with pytest.raises(ConfigurationError, match="none of the films can be read"):
        Films([folder], RECIPE, cache=tmp_path / "cache").setup()


def test_films_are_decoded_once_and_again_when_they_change(
    challenge: Challenge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, decoded = challenge(persons=2), []
    monkeypatch.setattr("training.cache.read_film", lambda film: decoded.append(1) or read_film(film))
    exams = read_folder(folder)
    for _ in range(2):
        usable, _ = PixelCache(tmp_path / "cache").fill(exams, side=32, depth="uint8")
    assert len(decoded) == 4
    write_film(exams[0].path, seed=99, shape=(64, 64))
    changed, _ = PixelCache(tmp_path / "cache").fill(exams, side=32, depth="uint8")
    assert len(decoded) == 5
    assert changed[0].content != usable[0].content


def test_runs_that_share_a_cache_keep_what_the_other_one_entered(challenge: Challenge, tmp_path: Path) -> None:
    folders = [challenge("one", persons=2), challenge("two", persons=2)]
    # Both are open before either has written.
    caches = [PixelCache(tmp_path / "cache") for _ in folders]
    for cache, folder in zip(caches, folders, strict=True):
        cache.fill(read_folder(folder), side=32, depth="uint8")
    stored = json.loads((tmp_path / "cache" / "index-whole.json").read_text())
    assert len(stored["entries"]) == 8


def test_what_was_decoded_before_a_stop_need_not_be_decoded_again(
    challenge: Challenge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exams, decoded = read_folder(challenge(persons=2)), []

    def stop_at_the_third(film: pydicom.Dataset) -> object:
        decoded.append(film)
        if len(decoded) == 3:
            raise KeyboardInterrupt
        return read_film(film)

    monkeypatch.setattr("training.cache.read_film", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        PixelCache(tmp_path / "cache").fill(exams, side=32, depth="uint8")
    PixelCache(tmp_path / "cache").fill(exams, side=32, depth="uint8")
    assert len(decoded) == 2 + 1 + 2


def test_one_process_decodes_for_the_others(
    challenge: Challenge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = challenge()
    first, second = (Films([folder], RECIPE, cache=tmp_path / "cache") for _ in range(2))
    first.prepare_data()
    monkeypatch.delattr("training.cache.read_film")
    for films in (first, second):
        films.setup()
    assert first.parts == second.parts
    assert (first.mean, first.std) == (second.mean, second.std)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_films_do_not_depend_on_the_worker_that_makes_them(challenge: Challenge, tmp_path: Path) -> None:
    batches = []
    folder = challenge()
    for workers in (0, 2):
        films = Films([folder], RECIPE, cache=tmp_path / "cache", workers=workers)
        films.setup()
        batches.append(list(films.train_dataloader()))
    for alone, shared in zip(*batches, strict=True):
        assert alone.keys() == shared.keys()
        assert all(torch.equal(alone[key], shared[key]) for key in alone)


def test_a_batch_that_cannot_be_divided_is_refused(films: Films) -> None:
    films.recipe = RECIPE.model_copy(update={"accumulate": 3})
    with pytest.raises(ConfigurationError, match="batch_size: 4 films cannot be divided evenly"):
        films.train_dataloader()


def test_a_film_in_two_folders_is_read_from_both(challenge: Challenge, tmp_path: Path) -> None:
    first = challenge("one")
    second = tmp_path / "two"
    shutil.copytree(first, second)
    films = Films([first, second], RECIPE, cache=tmp_path / "cache")
    films.setup()
    assert len(films.exams) == 48
    assert {exam.group for exam in films.exams} == {"one/exact", "two/exact"}
    assert len({exam.person for exam in films.exams}) == 12


def exams_of(groups: list[str], targets: list[int] | None = None) -> list[Exam]:
    return [
        Exam(
            patient_id=str(place),
            folder=group,
            path=Path(f"{place}.dcm"),
            person=str(place),
            source="drawn",
            label_quality="exact",
            klass=OPACITY if target else NORMAL,
            target=target,
        )
        for place, (group, target) in enumerate(zip(groups, targets or [0] * len(groups), strict=True))
    ]


def test_draws_give_each_group_its_share() -> None:
    exams = exams_of(["large"] * 90 + ["small"] * 10)
    draws = Draws(exams, shares={"large/exact": 1, "small/exact": 1}, count=40, seed=0)
    places = [place for place, _ in draws]
    assert len(places) == len(draws) == 40
    small = [place for place in places if place >= 90]
    assert sorted(small) == sorted([*range(90, 100)] * 2)
    assert len({place for place in places if place < 90}) == 20


def test_draws_without_shares_take_every_film_once() -> None:
    draws = Draws(exams_of(["a"] * 5 + ["b"] * 3, [0, 1, 0, 0, 1, 1, 1, 1]), shares={}, count=8, seed=0)
    assert sorted(place for place, _ in draws) == list(range(8))
    before = list(draws)
    draws.set_epoch(1)
    assert list(draws) != before
    draws.set_epoch(0)
    assert list(draws) == before


def test_balanced_draws_hold_as_many_positive_as_negative_films() -> None:
    exams = exams_of(["a"] * 40 + ["one-class"] * 10, [1] * 4 + [0] * 46)
    draws = Draws(exams, shares={}, count=50, seed=0, is_balanced=True)
    places = [place for place, _ in draws]
    assert sum(place < 4 for place in places) == 20
    assert sum(place >= 40 for place in places) == 10
    assert draws.positives == {"a/exact": 20, "one-class/exact": 0}


def test_a_share_of_an_unknown_group_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no training film is in c"):
        Draws(exams_of(["a", "b"]), shares={"c": 1.0}, count=2, seed=0)


def test_boxes_go_through_the_same_augmentation_as_their_film(challenge: Challenge, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"size": 64})
    films = Films([challenge()], recipe, cache=tmp_path / "cache")
    films.setup()
    dataset = films.train_dataloader().dataset
    for place, exam in enumerate(dataset.exams):
        item = dataset[place, 5]
        assert item[BOXES].shape == (1, 4, 4)
        assert item[BOXES_KNOWN] == 1.0
        assert CLASSES[item[CLASS]] == exam.klass
        if exam.target:
            # The drawn opacity is the box: where the film is bright, there is the box.
            bright = torch.nn.functional.avg_pool2d(item[CommonKeys.IMAGE], 16)
            assert item[BOXES].max() > 0.2
            assert np.corrcoef(bright.flatten(), item[BOXES].flatten())[0, 1] > 0.6
        else:
            assert not item[BOXES].any()


def test_boxes_lie_on_the_square_where_they_lie_on_the_film(films: Films) -> None:
    exam = next(exam for exam in films.exams if exam.target)
    drawn = boxes_square(exam, 48)
    # Films of 48 x 40 pixels, padded by 4 columns on both sides; the box is 10 to 26 in both directions.
    assert drawn[12, 16] == drawn[24, 28] == 255
    assert drawn[8, 16] == drawn[12, 12] == drawn[28, 28] == 0


def test_the_training_size_follows_the_epoch(challenge: Challenge, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"size": 64, "epochs": 4, "progressive": {0: 32, 2: 64}})
    films = Films([challenge()], recipe, cache=tmp_path / "cache")
    films.setup()
    assert [recipe.size_at(epoch) for epoch in range(4)] == [32, 32, 64, 64]
    assert recipe.sizes == [32, 64]
    assert next(iter(films.train_dataloader()))[CommonKeys.IMAGE].shape[-1] == 32
    assert next(iter(films.val_dataloader()))[CommonKeys.IMAGE].shape[-1] == 64
