"""An instance of a form that highdicom does not build: its identity and place, and what films hand on."""

import re

from pydicom.dataset import Dataset

from pneumo_monai.attributes import values
from pneumo_monai.errors import Refused
from pneumo_monai.forms import Form
from pneumo_monai.report.result import Result

__all__ = ["begin_instance", "instance_number", "place_series", "stated_code", "stated_codes"]

_CODE_STRING = re.compile(r"[A-Z0-9 _]{1,16}")

_PER_REVISION = 100
"""Instance Numbers that a revision has to itself, where a form has an instance for each film."""


def begin_instance(result: Result, form: Form, sop_class: str, film: str | None = None) -> Dataset:
    """Return an instance with its SOP Class, SOP Instance, Study and Series UIDs and its Instance Number (0020,0013).

    Parameters
    ----------
    result : Result
        What it is an instance of.
    form : Form
        In which form.
    sop_class : str
        SOP Class UID (0008,0016).
    film : str, optional
        SOP Instance UID of the film that it is of, where the form has an instance for each.
    """
    instance = Dataset()
    instance.SOPClassUID = sop_class
    instance.SOPInstanceUID = result.instance_uid(form, film)
    instance.StudyInstanceUID = result.outcome.study_instance_uid
    instance.SeriesInstanceUID = result.series_uid(form)
    instance.InstanceNumber = result.revision if film is None else instance_number(result, film)
    return instance


def instance_number(result: Result, film: str) -> int:
    """Return the Instance Number of a film's instance: by revision, and in it in the order of the films."""
    return _PER_REVISION * (result.revision - 1) + result.outcome.film_uids.index(film) + 1


def place_series(film: Dataset, instance: Dataset) -> None:
    """Take over which part of the body a film shows, and of which side where that may be asked (C.7.3.1)."""
    if part := stated_code(film, "BodyPartExamined"):
        instance.BodyPartExamined = part
    if part != "CHEST":
        side = stated_code(film, "Laterality")
        instance.Laterality = side if side in {"L", "R"} else ""


def stated_code(film: Dataset, keyword: str) -> str:
    """Return a Code String of a film, empty where there is none that is valid (PS3.5 table 6.2-1)."""
    return next(iter(stated_codes(film, keyword)), "")


def stated_codes(film: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of a Code String of a film, none where one of them is not valid."""
    try:
        found = values(film, keyword)
    except Refused:
        return ()
    return found if all(_CODE_STRING.fullmatch(value) for value in found) else ()
