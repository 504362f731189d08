"""The impression: the result first, in plain language, then its limits."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumo_monai.errors import Reason
from pneumo_monai.findings import OperatingPoint, RetractionCause
from pneumo_monai.report.impression import impression
from pneumo_monai.report.reasons import CAUSES, CLAUSES
from pneumo_monai.report.wording import RESEARCH_USE
from tests.films import make_film
from tests.reports import MODEL, OPERATING_POINT, WHY, find_on, refuse, retract

FILM = make_film()
SCORED = (
    "On the validation part this operating point (balanced) had sensitivity 0.820 and specificity 0.710: of 100 films "
    "with pneumonia it missed about 18, and of 100 without it called about 29 present."
)
LIMITS = f"The model is meant for frontal chest films of adults, and no person has read this result. {RESEARCH_USE}"


def test_a_positive_study():
    assert impression(find_on([FILM], [0.87654321])) == (
        "Pneumonia: present. Probability 87.65 % on the frontal film; it is called present at 35.00 % or more. "
        f"{SCORED} {LIMITS}"
    )


def test_a_negative_study():
    assert impression(find_on([FILM], [0.1])) == (
        "Pneumonia: absent. Probability 10.00 % on the frontal film; it is called present at 35.00 % or more. "
        f"That does not exclude pneumonia. {SCORED} {LIMITS}"
    )


def test_the_highest_film_speaks_for_a_study_and_remarks_come_last():
    films = [make_film(), make_film(StudyInstanceUID=FILM.StudyInstanceUID)]
    said = impression(find_on(films, [0.2, 0.5], remarks=[("Age not stated.",)]))
    assert said.startswith("Pneumonia: present. Probability 50.00 % on that of 2 frontal films where it is highest;")
    assert said.endswith(f"{LIMITS} Age not stated.")


def test_a_refused_study():
    assert impression(refuse([FILM], [Reason.VIEW])) == (
        "Not analysed, because the header states a view that is not frontal. This says nothing about pneumonia, "
        f"neither that it is present nor absent. {SCORED} {LIMITS}"
    )


def test_a_study_refused_for_several_reasons_counts_them():
    films = [make_film(StudyInstanceUID="2.25.4", SOPInstanceUID=f"2.25.{number}") for number in range(1, 4)]
    said = impression(refuse(films, [Reason.MODALITY, Reason.MODALITY, Reason.VIEW]))
    assert said.startswith(
        "Not analysed, because the image is no plain radiograph (2 images); and because the header states a view that "
        "is not frontal (1 image). This says nothing"
    )
    assert impression(refuse(films)).startswith(
        "Not analysed, because the header states a view that is not frontal (3 images). This says nothing"
    )


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_told_in_words(reason):
    assert impression(refuse([FILM], [reason])).startswith(f"Not analysed, because {CLAUSES[reason]}.")
    assert CLAUSES[reason].isascii()
    assert len(CLAUSES[reason]) <= 50


@pytest.mark.parametrize("cause", RetractionCause)
def test_a_withdrawn_result(cause):
    assert impression(retract([FILM], cause=cause)) == (
        f"The result of A network 1.2.3 is withdrawn, because: {WHY} {CAUSES[cause].capitalize()}. "
        "Do not use the earlier result: "
        f"this says nothing about pneumonia, neither that it is present nor absent. {LIMITS}"
    )


def test_a_reason_in_other_letters_is_told_by_its_kind():
    assert impression(retract([FILM], why="患者が違う")).startswith(
        "The result of A network 1.2.3 is withdrawn, because: It is wrong and may harm the patient."
    )


def test_the_limits_are_in_ascii():
    model = replace(MODEL, name="Réseau")
    point = replace(OPERATING_POINT, name="équilibré")
    found = find_on([FILM], model=model, operating_point=point, remarks=[("Âge inconnu.",)])
    assert impression(found).isascii()
    assert "(equilibre)" in impression(found)
    assert impression(replace(retract([FILM], why="Élargi"), model=model)).isascii()


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_the_numbers_never_contradict_the_assessment(probability, threshold):
    point = OperatingPoint(name="any", threshold=threshold, sensitivity=0.8, specificity=0.8)
    words = impression(find_on([FILM], [probability], operating_point=point)).split()
    shown, limit = float(words[words.index("Probability") + 1]), float(words[words.index("at") + 1])
    if abs(probability - threshold) > 1e-13:
        assert (shown >= limit) is (words[1] == "present.")
