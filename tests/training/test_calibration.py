"""Platt scaling and the operating point, with films weighed and not."""

import numpy as np
import pytest

from pneumo_monai.errors import ConfigurationError
from training.calibration import choose_threshold, fit_platt


def test_platt_finds_the_scale_that_made_the_labels() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, 20_000)
    labels = (generator.random(20_000) < 1 / (1 + np.exp(-(0.5 * logits - 1.0)))).astype(np.int64)
    slope, intercept = fit_platt(logits, labels)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert intercept == pytest.approx(-1.0, abs=0.06)


def test_platt_of_weighed_films_is_calibrated_to_what_they_stand_for() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, 20_000)
    labels = (generator.random(20_000) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    # Where positives are three times as rare, the log-odds fall by log 3 and nothing else changes.
    slope, intercept = fit_platt(logits, labels, np.where(labels == 1, 1 / 3, 1.0))
    assert slope == pytest.approx(1.0, abs=0.04)
    assert intercept == pytest.approx(-np.log(3), abs=0.06)


def test_logits_that_separate_the_films_still_have_a_finite_fit() -> None:
    logits = np.linspace(-1, 1, 20)
    slope, _ = fit_platt(logits, (logits > 0).astype(np.int64))
    assert 0 < slope < 1000


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


def test_the_sensitivity_is_that_of_weighed_films() -> None:
    probabilities, labels = np.array([0.9, 0.7, 0.5, 0.3, 0.1]), np.array([1, 1, 1, 1, 0])
    weights = np.array([1.0, 1.0, 1.0, 7.0, 1.0])
    assert choose_threshold(probabilities, labels, sensitivity=0.75) == pytest.approx(0.4)
    # The film at 0.3 stands for seven of ten: without it the sensitivity is 0.3.
    assert choose_threshold(probabilities, labels, weights, sensitivity=0.75) == pytest.approx(0.2)
    assert choose_threshold(probabilities, labels, weights, sensitivity=0.3) == pytest.approx(0.4)
