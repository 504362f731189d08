"""Figures against torchmetrics and against values worked out by hand; intervals by person; weights."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional import classification as reference

from pneumo_monai.evaluation.figures import figures
from pneumo_monai.evaluation.logistic import fit_intercept, fit_line, logit_of, sigmoid
from pneumo_monai.evaluation.resampling import draw

FILMS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=60)


def each(count: int) -> list[str]:
    return [str(film) for film in range(count)]


@settings(max_examples=60, deadline=None)
@given(FILMS)
def test_values_are_those_of_torchmetrics(films: list[tuple[int, int, int]]) -> None:
    probabilities = np.array([film[0] / 20 for film in films])
    labels = np.array([film[1] for film in films])
    found = figures(probabilities, labels, [str(film[2]) for film in films], threshold=0.5, resamples=3)
    scores, truth = torch.from_numpy(probabilities), torch.from_numpy(labels)
    called = (scores >= 0.5).int()
    assert sum(found["confusion_matrix"].values()) == len(films)
    assert found["brier"]["value"] == pytest.approx(float(np.square(probabilities - labels).mean()), abs=1e-4)
    json.dumps(found, allow_nan=False)
    if 0 < labels.sum() < len(labels):
        for name, expected in {
            "auroc": reference.binary_auroc(scores, truth),
            "average_precision": reference.binary_average_precision(scores, truth),
            "sensitivity": reference.binary_recall(called, truth),
            "recall": reference.binary_recall(called, truth),
            "specificity": reference.binary_specificity(called, truth),
            "f1": reference.binary_f1_score(called, truth),
        }.items():
            assert found[name]["value"] == pytest.approx(float(expected), abs=1e-4), name
    else:
        assert "auroc" not in found
        assert "precision" not in found


def test_six_films_worked_out_by_hand() -> None:
    probabilities, labels = np.array([0.9, 0.8, 0.7, 0.4, 0.3, 0.1]), np.array([1, 0, 1, 1, 0, 0])
    found = figures(probabilities, labels, each(6), threshold=0.5, prevalence=0.1, resamples=2)
    assert found["confusion_matrix"] == {
        "true_positive": 2,
        "false_positive": 1,
        "false_negative": 1,
        "true_negative": 2,
    }
    # 9 pairs of positive and negative: 0.8 is above 0.7 and 0.4.
    assert found["auroc"]["value"] == pytest.approx(7 / 9, abs=1e-4)
    assert found["average_precision"]["value"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3, abs=1e-4)
    assert found["precision"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["prevalence"]["value"] == 0.5
    # Sensitivity and specificity are 2/3 each: of 1000 patients 100 are ill, 67 found, 300 alarmed in vain.
    assert found["ppv_at_prevalence"]["value"] == pytest.approx(0.1 * 2 / 3 / (0.1 * 2 / 3 + 0.9 / 3), abs=1e-4)
    assert found["npv_at_prevalence"]["value"] == pytest.approx(0.9 * 2 / 3 / (0.9 * 2 / 3 + 0.1 / 3), abs=1e-4)
    assert found["brier"]["value"] == pytest.approx((0.01 + 0.64 + 0.09 + 0.36 + 0.09 + 0.01) / 6, abs=1e-4)


def test_intervals_hold_the_value_and_widen_when_films_are_of_few_persons() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 300)
    probabilities = np.clip(0.3 * labels + generator.random(300) * 0.7, 0, 1)
    many = figures(probabilities, labels, each(300), threshold=0.5)["auroc"]
    few = figures(probabilities, labels, [str(film // 30) for film in range(300)], threshold=0.5)["auroc"]
    assert many["low"] < many["value"] < many["high"]
    assert many["value"] == few["value"]
    # Ten films of each person that are copies say no more than one: films counted one by one would narrow the interval.
    copies = np.tile(probabilities, 10), np.tile(labels, 10)
    by_person = figures(*copies, [str(k % 300) for k in range(3000)], threshold=0.5)["auroc"]
    by_film = figures(*copies, each(3000), threshold=0.5)["auroc"]
    width = many["high"] - many["low"]
    assert by_person["high"] - by_person["low"] == pytest.approx(width, abs=0.02)
    assert by_film["high"] - by_film["low"] < width / 2


def test_a_weight_of_two_is_a_film_that_stands_twice() -> None:
    generator = np.random.default_rng(1)
    probabilities, labels = generator.random(60), generator.integers(0, 2, 60)
    logits = logit_of(probabilities) * 2
    weights = generator.integers(1, 4, 60)
    weighed = figures(
        probabilities, labels, each(60), threshold=0.5, logits=logits, weights=weights.astype(float), resamples=5
    )
    repeated = np.repeat(np.arange(60), weights)
    twice = figures(
        probabilities[repeated],
        labels[repeated],
        [str(film) for film in repeated],
        threshold=0.5,
        logits=logits[repeated],
        resamples=5,
    )
    for name, figure in weighed.items():
        if isinstance(figure, dict) and "value" in figure:
            assert figure["value"] == pytest.approx(twice[name]["value"], abs=2e-4), name
    for name, figure in weighed["before_calibration"].items():
        assert figure["value"] == pytest.approx(twice["before_calibration"][name]["value"], abs=2e-4), name
    # What is counted is counted, not weighed.
    assert weighed["exams"] == 60
    assert sum(weighed["confusion_matrix"].values()) == 60


def test_of_a_calibrated_model_the_slope_is_one_and_the_intercepts_are_nought() -> None:
    generator = np.random.default_rng(2)
    truth = generator.normal(-0.5, 1.5, 20_000)
    labels = (generator.random(20_000) < sigmoid(truth)).astype(np.int64)
    # The network is too sure by half, and calls too much positive.
    logits = 1.5 * truth + 0.8
    found = figures(sigmoid(truth), labels, each(20_000), threshold=0.5, logits=logits, resamples=60)
    for name, expected in (
        ("calibration_slope", 1.0),
        ("calibration_intercept", 0.0),
        ("calibration_in_the_large", 0.0),
    ):
        assert found[name]["value"] == pytest.approx(expected, abs=0.05), name
        assert found[name]["low"] - 0.02 < expected < found[name]["high"] + 0.02, name
    before = found["before_calibration"]
    assert before["calibration_slope"]["value"] == pytest.approx(1 / 1.5, abs=0.03)
    assert before["calibration_intercept"]["value"] == pytest.approx(-0.8 / 1.5, abs=0.05)
    assert before["calibration_in_the_large"]["high"] < 0
    assert before["brier"]["value"] > found["brier"]["value"]


def test_the_logistic_fit_is_where_the_likelihood_is_highest() -> None:
    generator = np.random.default_rng(3)
    scores, targets = generator.normal(5.0, 20.0, 80), generator.integers(0, 2, 80).astype(float)
    weights = draw(each(80), resamples=30)
    slopes, intercepts = fit_line(scores, targets, weights)
    shifts = fit_intercept(scores, targets, weights)
    assert np.isfinite(slopes).all()
    for row, (slope, intercept) in enumerate(zip(slopes, intercepts, strict=True)):
        missing = weights[row] * (targets - sigmoid(slope * scores + intercept))
        assert missing.sum() == pytest.approx(0.0, abs=1e-6)
        assert (missing * scores).sum() == pytest.approx(0.0, abs=1e-4)
        shifted = weights[row] * (targets - sigmoid(scores + shifts[row]))
        assert shifted.sum() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "targets"),
    [
        ([0.0, 1.0, 2.0, 3.0], [0, 0, 1, 1]),  # separated
        ([0.0, 1.0, 1.0, 3.0], [0, 0, 1, 1]),  # all but separated
        ([0.0, 1.0, 2.0, 3.0], [1, 1, 1, 1]),  # one class
        ([1.0, 1.0, 1.0, 1.0], [0, 1, 0, 1]),  # one score
    ],
)
def test_what_has_no_finite_fit_has_none(scores: list[float], targets: list[int]) -> None:
    slope, _ = fit_line(np.array(scores), np.array(targets, dtype=float), np.ones((2, 4)))
    assert np.isnan(slope).all()


def test_films_that_the_model_separates_have_every_figure_but_the_slope() -> None:
    found = figures(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]), each(4), threshold=0.5, resamples=20)
    assert found["auroc"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert "calibration_slope" not in found
    assert "calibration_in_the_large" in found
