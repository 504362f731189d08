"""How old a patient was, from headers as real films carry them."""

from typing import Any

import pytest
from pydicom.dataset import Dataset

from pneumo_monai.age import age_in_years
from tests.films import make_film

SILENT: dict[str, Any] = {"PatientAge": None, "PatientBirthDate": None}


@pytest.mark.parametrize(
    ("stated", "years"),
    [
        ("051Y", 51.0),
        ("018Y", 18.0),
        ("006M", 0.5),
        ("216M", 18.0),
        ("003W", 21 / 365.25),
        ("010D", 10 / 365.25),
        ("000Y", 0.0),
        ("51", 51.0),
        ("51Y", 51.0),
        ("51 Y", 51.0),
        ("51y", 51.0),
        (" 51 ", 51.0),
        ("7", 7.0),
        ("120Y", 120.0),
        ("148", None),
        ("999", None),
        ("411Y", None),
        ("999Y", None),
        ("-5", None),
        ("fifty", None),
        ("51Z", None),
        ("Y", None),
        (["051Y", "052Y"], None),
        ("", None),
        (None, None),
    ],
)
def test_patient_age(stated: Any, years: float | None) -> None:
    film = make_film(**{**SILENT, "PatientAge": stated})
    assert age_in_years(film) == (years if years is None else pytest.approx(years))


@pytest.mark.parametrize(
    ("born", "taken", "years"),
    [
        ("20000131", "20180131", 18.0),
        ("20000201", "20180131", 17.0),
        ("20000229", "20180228", 17.0),
        ("20000229", "20180301", 18.0),
        ("19400305", "20040826", 64.0),
        ("20040226", "20040826", 182 / 365.25),
        ("20040826", "20040826", 0.0),
        ("1943.02.24", "1993.02.24", 50.0),
        ("20040827", "20040826", None),
        ("18000101", "20080504", None),
        ("00010101", "20080504", None),
        ("00000000", "20080504", None),
        ("19701301", "20080504", None),
        ("1970", "20080504", None),
        ("19700101", "", None),
        ("", "20080504", None),
    ],
)
def test_birth_date_against_study_date(born: str, taken: str, years: float | None) -> None:
    film = make_film(PatientAge=None, PatientBirthDate=born, StudyDate=taken)
    assert age_in_years(film) == (years if years is None else pytest.approx(years))


def test_patient_age_goes_before_the_dates_and_an_impossible_one_says_nothing() -> None:
    assert age_in_years(make_film(PatientAge="007Y")) == 7.0
    assert age_in_years(make_film(PatientAge="148")) == 54.0


@pytest.mark.parametrize("study_date", [None, "", "19010101"])
@pytest.mark.parametrize("keyword", ["AcquisitionDate", "ContentDate"])
def test_another_date_speaks_where_the_study_date_cannot(study_date: str | None, keyword: str) -> None:
    film = make_film(PatientAge=None, PatientBirthDate="19400305", StudyDate=study_date, **{keyword: "20040826"})
    assert age_in_years(film) == 64.0


def test_an_empty_header_states_nothing() -> None:
    assert age_in_years(Dataset()) is None
