"""Films whose truth is known, and what the model said of each."""

from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset

from pneumo_monai.age import age_in_years
from pneumo_monai.attributes import text
from pneumo_monai.errors import Refused
from pneumo_monai.evaluation.localisation import Localisation
from pneumo_monai.findings import FilmFinding, View

__all__ = ["AGE_BANDS", "NORMAL", "NOT_NORMAL", "NOT_STATED", "OPACITY", "Case", "CaseReading", "age_band", "described"]

NORMAL = "Normal"
NOT_NORMAL = "No Lung Opacity / Not Normal"
OPACITY = "Lung Opacity"
"""The detailed classes of the RSNA Pneumonia Detection Challenge."""

NOT_STATED = "not stated"

AGE_BANDS = ("under 18", "18-39", "40-59", "60-79", "80+")
_STARTS = (18, 40, 60, 80)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One film, or one study, and what is known of it.

    Attributes
    ----------
    identifier : str
        What pages call it: the data folder's name of the exam, or a running number.
    person : str
        Whose it is: persons, not films, are resampled.
    group : str
        Films that may be judged together.
    target : int
        1: positive, 0: negative.
    path : Path
        The DICOM file.
    view : View
        As the header states it.
    sex : str
        (0010,0040) Patient's Sex: F, M or O; empty where the header does not state it.
    age : float or None
        In years.
    source, label_quality : str
        Where film and label come from; empty where nobody said.
    klass : str
        Detailed class; empty where nobody said.
    boxes : tuple of tuple of float
        (x, y, width, height) of each opacity in pixels of the film.
    """

    identifier: str
    person: str
    group: str
    target: int
    path: Path
    view: View = View.NOT_STATED
    sex: str = ""
    age: float | None = None
    source: str = ""
    label_quality: str = ""
    klass: str = ""
    boxes: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseReading:
    """A case and what the model said.

    Attributes
    ----------
    case : Case
        The truth.
    finding : FilmFinding
        Logit, calibrated probability, class activation map and where that lies on the film.
    localisation : Localisation or None
        Where the map lies in respect of the boxes; None: there are none.
    """

    case: Case
    finding: FilmFinding
    localisation: Localisation | None = None

    @property
    def logit(self) -> float:
        """What the network gave."""
        return self.finding.logit

    @property
    def probability(self) -> float:
        """Calibrated, 0 to 1."""
        return self.finding.probability


def age_band(age: float | None) -> str:
    """Return the band of `AGE_BANDS` in which an age lies."""
    return NOT_STATED if age is None else AGE_BANDS[sum(age >= start for start in _STARTS)]


def described(case: Case, dataset: Dataset) -> Case:
    """Add view, sex and age as the header of the case's film states them."""
    view, sex = _stated(dataset, "ViewPosition"), _stated(dataset, "PatientSex")
    return replace(
        case,
        view=View(view) if view in {View.AP, View.PA} else View.NOT_STATED,
        sex=sex if sex in {"F", "M", "O"} else "",
        age=age_in_years(dataset),
    )


def _stated(dataset: Dataset, keyword: str) -> str:
    try:
        return text(dataset, keyword).upper()
    except Refused:
        return ""
