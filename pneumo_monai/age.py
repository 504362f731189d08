"""How old the patient of a film was, as its header states it."""

import re
from datetime import date

from pydicom.dataset import Dataset

from pneumo_monai.attributes import values
from pneumo_monai.errors import Refused

__all__ = ["age_in_years"]

_AGE = re.compile(r"([0-9]{1,3}) ?([DWMY]?)", re.IGNORECASE)
_DATE = re.compile(r"([0-9]{4})\.?([0-9]{2})\.?([0-9]{2})")
_IN_A_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0, "": 1.0}
_TAKEN = ("StudyDate", "AcquisitionDate", "ContentDate")

_OLDEST = 122.0
"""Years of the longest life that is known. Real headers hold 148 or 999 where nobody knew the age."""


def age_in_years(dataset: Dataset) -> float | None:
    """Return the patient's age when the film was taken.

    Patient's Age (0010,1010) goes before Patient's Birth Date (0010,0030) against Study Date (0008,0020), Acquisition
    Date (0008,0022) or Content Date (0008,0023). Beside the form of the standard (``051Y``, PS3.5 6.2, VR AS) ``51``
    and ``51Y`` are read, which real films carry. What cannot be an age, or cannot be decoded, is no statement.

    Parameters
    ----------
    dataset : Dataset
        Any instance.

    Returns
    -------
    float or None
        Years, 0 to 122: from dates the years completed, below one year a fraction. None: the header does not state it.
    """
    stated = _from_age(_text(dataset, "PatientAge"))
    if stated is not None:
        return stated
    born = _day(_text(dataset, "PatientBirthDate"))
    ages = (_between(born, _day(_text(dataset, keyword))) for keyword in _TAKEN)
    return next((age for age in ages if age is not None), None)


def _from_age(text: str) -> float | None:
    found = _AGE.fullmatch(text)
    return _possible(int(found[1]) / _IN_A_YEAR[found[2].upper()]) if found else None


def _between(born: date | None, taken: date | None) -> float | None:
    if born is None or taken is None:
        return None
    # Completed years, so that somebody is 18 on a birthday whatever the leap years before it.
    years = taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day))
    return _possible(years or (taken - born).days / _IN_A_YEAR["D"])


def _possible(age: float) -> float | None:
    return float(age) if 0.0 <= age <= _OLDEST else None


def _day(text: str) -> date | None:
    """Parse a date of the standard, or ``1993.02.24`` of ACR-NEMA, the standard's predecessor."""
    found = _DATE.fullmatch(text)
    try:
        return date(*(int(part) for part in found.groups())) if found else None
    except ValueError:
        return None


def _text(dataset: Dataset, keyword: str) -> str:
    """Return the one value of an attribute; empty when it has none, several, or one that cannot be decoded."""
    try:
        found = values(dataset, keyword)
    except Refused:
        return ""
    return found[0] if len(found) == 1 else ""
