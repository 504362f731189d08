"""Weights by class, subsets, and the same figures as torchmetrics with a film that counts twice."""

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification as reference

from training.records import NORMAL, NOT_NORMAL, OPACITY
from training.weighing import CHALLENGE_MIX, Film, Resamples, interval, mix_weights, subsets


def film(place: int, klass: str, *, view: str = "PA", score: float = 0.0) -> Film:
    return Film(
        patient_id=str(place),
        folder="films",
        group="films/exact",
        person=f"P{place // 2}",
        klass=klass,
        view=view,
        target=int(klass == OPACITY),
        score=score,
    )


def test_classes_stand_to_each_other_as_in_the_mix() -> None:
    classes = [NORMAL] * 30 + [NOT_NORMAL] * 55 + [OPACITY] * 54
    weights = mix_weights(classes, CHALLENGE_MIX)
    total = {klass: weights[[other == klass for other in classes]].sum() for klass in CHALLENGE_MIX}
    assert total[NORMAL] / total[NOT_NORMAL] == pytest.approx(8851 / 11821)
    assert total[OPACITY] / total[NORMAL] == pytest.approx(6012 / 8851)
    assert weights.mean() == pytest.approx(1.0)


def test_a_class_that_is_missing_or_not_in_the_mix_changes_nothing_else() -> None:
    weights = mix_weights([NORMAL, OPACITY, OPACITY, "other"], CHALLENGE_MIX)
    assert weights[3] == 1.0
    assert weights[1] * 2 / weights[0] == pytest.approx(6012 / 8851)
    assert weights.mean() == pytest.approx(1.0)


def test_subsets_hold_both_classes_and_are_not_everything() -> None:
    films = [film(0, OPACITY, view="AP"), film(1, NORMAL), film(2, NOT_NORMAL), film(3, OPACITY)]
    found = subsets(films)
    assert list(found) == ["all", "PA", "against Normal", "against No Lung Opacity / Not Normal"]
    assert found["against Normal"].tolist() == [True, True, False, True]
    assert "against Normal" not in subsets([film(0, OPACITY), film(1, NORMAL)])


def test_a_film_of_weight_two_is_two_films() -> None:
    random = np.random.default_rng(0)
    scores, labels = random.integers(0, 8, 40).astype(float), random.integers(0, 2, 40)
    weights = random.integers(1, 3, 40).astype(float)
    drawn = Resamples([str(place // 3) for place in range(40)], count=50)
    found = drawn.figures(scores, labels, weights, np.ones(40, dtype=bool))
    twice = np.repeat(np.arange(40), weights.astype(int))
    chances = torch.from_numpy(scores[twice] / 10)
    expected = reference.binary_auroc(chances, torch.from_numpy(labels[twice]))
    assert found["auroc"][0] == pytest.approx(float(expected), abs=1e-6)
    precision = reference.binary_average_precision(chances, torch.from_numpy(labels[twice]))
    assert found["average_precision"][0] == pytest.approx(float(precision), abs=1e-6)
    shown = interval(found["auroc"])
    assert shown["low"] <= shown["value"] <= shown["high"]


def test_all_films_of_a_person_are_resampled_together() -> None:
    drawn = Resamples(["a", "b", "a", "c"], count=20)
    assert drawn.persons == 3
    assert (drawn.times[:, 0] == drawn.times[:, 2]).all()
    assert drawn.times[0].tolist() == [1.0] * 4
