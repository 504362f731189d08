"""Figures against torchmetrics, intervals by person, calibration and the operating point."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional import classification as reference

from pneumo_monai.errors import ConfigurationError
from training.calibration import choose_threshold, fit_platt
from training.figures import figures

FILMS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(FILMS)
def test_values_are_those_of_torchmetrics(films: list[tuple[int, int, int]]) -> None:
    probabilities = np.array([film[0] / 20 for film in films])
    labels = np.array([film[1] for film in films])
    found = figures(probabilities, labels, [str(film[2]) for film in films], threshold=0.5, resamples=3)
    scores, truth = torch.from_numpy(probabilities), torch.from_numpy(labels)
    called = (scores >= 0.5).int()
    assert sum(found["confusion_matrix"].values()) == len(films)
    if 0 < labels.sum() < len(labels):
        for name, expected in {
            "auroc": reference.binary_auroc(scores, truth),
            "average_precision": reference.binary_average_precision(scores, truth),
            "sensitivity": reference.binary_recall(called, truth),
            "specificity": reference.binary_specificity(called, truth),
            "f1": reference.binary_f1_score(called, truth),
        }.items():
            assert found[name]["value"] == pytest.approx(float(expected), abs=1e-4), name
    else:
        assert "auroc" not in found
        assert "precision" not in found


def test_intervals_hold_the_value_and_widen_when_films_are_of_few_persons() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 300)
    probabilities = np.clip(0.3 * labels + generator.random(300) * 0.7, 0, 1)
    many = figures(probabilities, labels, [str(film) for film in range(300)], threshold=0.5)["auroc"]
    few = figures(probabilities, labels, [str(film // 30) for film in range(300)], threshold=0.5)["auroc"]
    assert many["low"] < many["value"] < many["high"]
    assert many["value"] == few["value"]
    repeated = figures(
        np.tile(probabilities, 10), np.tile(labels, 10), [str(k % 300) for k in range(3000)], threshold=0.5
    )
    assert repeated["auroc"]["high"] - repeated["auroc"]["low"] == pytest.approx(many["high"] - many["low"], abs=0.02)


def test_platt_finds_the_scale_that_made_the_labels() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, 20_000)
    labels = (generator.random(20_000) < 1 / (1 + np.exp(-(0.5 * logits - 1.0)))).astype(np.int64)
    slope, intercept = fit_platt(logits, labels)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert intercept == pytest.approx(-1.0, abs=0.06)


def test_a_network_that_ranks_the_wrong_way_is_not_calibrated() -> None:
    logits = np.linspace(-1, 1, 50)
    with pytest.raises(ConfigurationError, match="train longer"):
        fit_platt(logits, (logits < 0).astype(np.int64))


def test_the_threshold_is_the_highest_that_reaches_the_sensitivity() -> None:
    labels = np.array([1] * 10 + [0] * 10)
    probabilities = np.concatenate([np.linspace(0.1, 0.91, 10), np.linspace(0.05, 0.5, 10)])
    threshold = choose_threshold(probabilities, labels, sensitivity=0.9)
    assert (probabilities[labels == 1] >= threshold).mean() == pytest.approx(0.9)
    assert 0.1 < threshold < 0.19
