"""Groups and their parts, the mix, and the curves."""

import json

import numpy as np
import pytest

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.evaluation.cases import NORMAL, NOT_NORMAL, OPACITY, age_band
from pneumo_monai.evaluation.curves import curves, decision_curve, precision_recall, reliability, roc
from pneumo_monai.evaluation.groups import WITHOUT_NOT_NORMAL, Protocol, groups_of, measure, mix_statement
from pneumo_monai.evaluation.mix import CHALLENGE, mix_weights, parse_mix
from pneumo_monai.evaluation.resampling import draw
from pneumo_monai.findings import View
from tests.readings import make_reading, make_readings

PROTOCOL = Protocol(threshold=0.5, resamples=20)


def test_weights_give_the_classes_their_shares_and_the_films_their_number() -> None:
    classes = [NORMAL] * 7 + [NOT_NORMAL] * 2 + [OPACITY] * 11
    weights = mix_weights(classes, CHALLENGE)
    assert weights.sum() == pytest.approx(20)
    for klass, count in CHALLENGE.items():
        share = weights[np.array(classes) == klass].sum() / 20
        assert share == pytest.approx(count / sum(CHALLENGE.values()))


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        ([NORMAL, OPACITY], f"none of these films is {NOT_NORMAL}"),
        ([NORMAL, NOT_NORMAL, OPACITY, ""], "the mix does not name films without a class"),
        ([NORMAL, NOT_NORMAL, OPACITY, "Hernia"], "the mix does not name Hernia"),
    ],
)
def test_a_group_that_lacks_a_class_stays_as_it_is_and_says_so(classes: list[str], why: str) -> None:
    assert mix_weights(classes, CHALLENGE).tolist() == [1.0] * len(classes)
    readings = [make_reading(n, target=0, logit=0.0, klass=klass) for n, klass in enumerate(classes)]
    stated = mix_statement(groups_of(readings, CHALLENGE), CHALLENGE)
    assert stated == {"classes": CHALLENGE, "weighed": [], "as_they_come": {"drawn/exact": why}}
    assert mix_statement(groups_of(readings, {}), {}) is None


def test_a_part_keeps_the_weights_of_its_group() -> None:
    classes = [NORMAL] * 30 + [NOT_NORMAL] * 10 + [OPACITY] * 20
    readings = [
        make_reading(
            n, target=int(klass == OPACITY), logit=float(n % 7), klass=klass, view=View.AP if n % 2 else View.PA
        )
        for n, klass in enumerate(classes)
    ]
    (group,) = groups_of(readings, CHALLENGE)
    found = measure([group], PROTOCOL)["drawn/exact"]
    share = CHALLENGE[OPACITY] / sum(CHALLENGE.values())
    assert found["all"]["prevalence"]["value"] == pytest.approx(share, abs=1e-3)
    assert found["AP"]["prevalence"]["value"] == pytest.approx(share, abs=1e-3)
    without = share / (1 - CHALLENGE[NOT_NORMAL] / sum(CHALLENGE.values()))
    assert found[WITHOUT_NOT_NORMAL]["prevalence"]["value"] == pytest.approx(without, abs=1e-3)


def test_parts_are_named_and_divide_the_films() -> None:
    known = [
        {"view": View.AP, "sex": "F", "age": 17.9, "klass": NORMAL},
        {"view": View.PA, "sex": "M", "age": 18.0, "klass": NOT_NORMAL},
        {"view": View.PA, "sex": "", "age": None, "klass": OPACITY},
    ] * 4
    readings = [make_reading(n, target=n % 2, logit=n / 5, source="nih", **one) for n, one in enumerate(known)]
    found = measure(groups_of(readings, {}), PROTOCOL)["drawn/exact"]
    assert {name: part["exams"] for name, part in found.items()} == {
        "all": 12,
        "AP": 4,
        "PA": 8,
        "sex F": 4,
        "sex M": 4,
        "sex not stated": 4,
        "age under 18": 4,
        "age 18-39": 4,
        "age not stated": 4,
        WITHOUT_NOT_NORMAL: 8,
    }
    assert found["all"]["classes"] == {OPACITY: 4, NOT_NORMAL: 4, NORMAL: 4}
    assert found["AP"]["by"] == "view"
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0.1, "under 18"),
        (18, "18-39"),
        (39.9, "18-39"),
        (40, "40-59"),
        (60, "60-79"),
        (80, "80+"),
        (None, "not stated"),
    ],
)
def test_age_bands(age: float | None, band: str) -> None:
    assert age_band(age) == band


def test_groups_are_never_mixed() -> None:
    readings = make_readings(40, group="a") + make_readings(30, group="b", seed=1)
    assert {name: parts["all"]["exams"] for name, parts in measure(groups_of(readings, {}), PROTOCOL).items()} == {
        "a": 40,
        "b": 30,
    }


def test_a_mix_is_read_from_the_command_line() -> None:
    assert parse_mix([]) == {}
    assert parse_mix(["challenge"]) == CHALLENGE
    assert parse_mix([f"{NOT_NORMAL}=2", "Normal=1.5"]) == {NOT_NORMAL: 2.0, NORMAL: 1.5}
    for wrong in (["Normal"], ["Normal=-1"], ["Normal=x"], ["Normal=1", "Normal=2"], ["=1"]):
        with pytest.raises(ConfigurationError, match="CLASS=SHARE"):
            parse_mix(wrong)


def test_the_area_under_the_curves_is_the_figure() -> None:
    (group,) = groups_of(make_readings(180), {})
    found = measure([group], PROTOCOL)["drawn/exact"]["all"]
    curve = roc(group.probabilities, group.labels, group.weights)
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    assert area == pytest.approx(found["auroc"]["value"], abs=1e-3)
    curve = precision_recall(group.probabilities, group.labels, group.weights)
    steps = np.diff(curve["recall"], prepend=0.0)
    assert (steps * curve["precision"]).sum() == pytest.approx(found["average_precision"]["value"], abs=1e-3)


def test_a_long_curve_is_thinned_without_losing_its_area() -> None:
    (group,) = groups_of(make_readings(3000), {})
    curve = roc(group.probabilities, group.labels, group.weights)
    assert len(curve["threshold"]) <= 200
    assert (curve["false_positive_rate"][0], curve["true_positive_rate"][-1]) == (0.0, 1.0)
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    exact = measure([group], Protocol(threshold=0.5, resamples=2))["drawn/exact"]["all"]["auroc"]["value"]
    assert area == pytest.approx(exact, abs=5e-3)


def test_the_decision_curve_holds_its_identities() -> None:
    (group,) = groups_of(make_readings(400), {})
    drawn = draw(group.persons, resamples=30)
    curve = decision_curve(group.probabilities, group.labels, drawn)
    prevalence = group.labels.mean()
    # At a threshold below every probability the model calls everybody: it is the same as treating all.
    everybody = decision_curve(np.full(400, 0.999), group.labels, drawn)
    assert everybody["model"] == pytest.approx(everybody["treat_all"], abs=1e-4)
    nobody = decision_curve(np.full(400, 0.001), group.labels, drawn)
    assert nobody["model"] == [0.0] * len(nobody["model"])
    # Of a perfect model the benefit is the prevalence at every threshold, and nothing has more.
    perfect = decision_curve(np.where(group.labels == 1, 0.995, 0.005), group.labels, drawn)
    assert perfect["model"] == pytest.approx([prevalence] * len(perfect["model"]), abs=1e-4)
    assert max(curve["model"]) <= prevalence + 1e-9
    at_prevalence = np.interp(prevalence, curve["threshold"], curve["treat_all"])
    assert at_prevalence == pytest.approx(0.0, abs=1e-3)


def test_reliability_of_a_calibrated_model_lies_on_the_diagonal() -> None:
    (group,) = groups_of(make_readings(20_000), {})
    bins = reliability(group.probabilities, group.labels, draw(group.persons, resamples=20))
    assert bins["exams"] == [2000] * 10
    assert bins["observed"] == pytest.approx(bins["predicted"], abs=0.04)
    assert all(
        low <= value <= high for low, value, high in zip(bins["low"], bins["observed"], bins["high"], strict=True)
    )


def test_films_of_one_probability_are_one_bin() -> None:
    bins = reliability(np.full(30, 0.25), np.arange(30) % 2, draw([str(n) for n in range(30)], resamples=5))
    assert (bins["exams"], bins["predicted"], bins["observed"]) == ([30], [0.25], [0.5])


def test_films_of_one_class_have_no_curves() -> None:
    (group,) = groups_of([make_reading(n, target=0, logit=float(n)) for n in range(5)], {})
    assert curves(group, PROTOCOL) == {}
    assert "auroc" not in measure([group], PROTOCOL)["drawn/exact"]["all"]
