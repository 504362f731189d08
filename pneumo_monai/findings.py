"""What was found: plain values, no DICOM.

Everything downstream of the network (report, ledger, demo) speaks of a film through these.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pneumo_monai.errors import Reason

if TYPE_CHECKING:
    # The ledger speaks of results and knows no arrays: the listener starts without them.
    import numpy as np
    from numpy.typing import NDArray

    from pneumo_monai.geometry import SquareGeometry

__all__ = [
    "FilmFinding",
    "FilmRefusal",
    "ModelIdentity",
    "OperatingPoint",
    "Outcome",
    "RetractionCause",
    "StudyFindings",
    "StudyRefusal",
    "StudyRetraction",
    "View",
]


class View(StrEnum):
    """Projection of a frontal chest film, as the header states it."""

    AP = "AP"
    PA = "PA"
    NOT_STATED = "view not stated"


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """The threshold on the calibrated probability, and what it scored on the part it was chosen on."""

    name: str
    threshold: float
    sensitivity: float
    specificity: float

    def __str__(self) -> str:
        return (
            f"{self.name}: present at probability {100 * self.threshold:.2f} % or more; on the validation part "
            f"sensitivity {self.sensitivity:.3f}, specificity {self.specificity:.3f}"
        )


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which weights read the film.

    Attributes
    ----------
    name, version : str
        As the bundle's metadata states them.
    uid : str
        Derived from the weights and from what turns their output into a finding (calibration, operating point): it
        changes whenever they do. Written as Device UID.
    """

    name: str
    version: str
    uid: str


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmFinding:
    """The finding on one film.

    Attributes
    ----------
    sop_instance_uid : str
        Of the film.
    view : View
        As stated by the header.
    probability : float
        Calibrated probability of pneumonia, 0 to 1.
    present : bool
        Whether the probability reaches the operating point.
    activation : numpy.ndarray
        Class activation map, (H/32, W/32) float32 in logits, over the square the network saw.
    geometry : SquareGeometry
        Where that square lies on the film.
    logit : float
        What the network gave, before calibration.
    lungs : numpy.ndarray or None
        (S, S) bool over the same square, which of its pixels are of the lungs; None: the film was read whole.
    remarks : tuple of str
        Why this film may lie outside what the model was made for, a sentence each.
    """

    sop_instance_uid: str
    view: View
    probability: float
    present: bool
    activation: "NDArray[np.float32]"
    geometry: "SquareGeometry"
    logit: float
    lungs: "NDArray[np.bool_] | None" = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyFindings:
    """The findings on one study: at least one film, in order of SOP Instance UID."""

    study_instance_uid: str
    films: tuple[FilmFinding, ...]
    model: ModelIdentity
    operating_point: OperatingPoint

    def __post_init__(self) -> None:
        if not self.films:
            raise ValueError("a study has findings only when at least one of its films was analysed")

    @property
    def film_uids(self) -> tuple[str, ...]:
        """SOP Instance UIDs of the films that this speaks of."""
        return tuple(film.sop_instance_uid for film in self.films)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is remarked of any of its films, each sentence once."""
        return tuple(dict.fromkeys(remark for film in self.films for remark in film.remarks))

    @property
    def highest(self) -> FilmFinding:
        """The film whose probability is the study's assessment."""
        return max(self.films, key=lambda film: film.probability)


@dataclass(frozen=True, kw_only=True)
class FilmRefusal:
    """Why one film was not read."""

    sop_instance_uid: str
    reason: Reason
    detail: str


@dataclass(frozen=True, kw_only=True)
class StudyRefusal:
    """No film of the study was read: at least one refusal, in order of SOP Instance UID."""

    study_instance_uid: str
    films: tuple[FilmRefusal, ...]
    model: ModelIdentity
    operating_point: OperatingPoint

    def __post_init__(self) -> None:
        if not self.films:
            raise ValueError("a study is refused only when at least one of its films was")

    @property
    def film_uids(self) -> tuple[str, ...]:
        """SOP Instance UIDs of the films that this speaks of."""
        return tuple(film.sop_instance_uid for film in self.films)


class RetractionCause(StrEnum):
    """Why a result is withdrawn (titles of CID 7010 that IHE IOCM takes for it)."""

    SAFETY = "safety"
    """It is wrong, and may harm."""
    QUALITY = "quality"
    """It should not have been made of these films."""


@dataclass(frozen=True, kw_only=True)
class StudyRetraction:
    """The result of a study is withdrawn.

    Attributes
    ----------
    films : tuple of str
        SOP Instance UIDs of the films whose result it was, in order.
    cause : RetractionCause
        Which kind of reason.
    why : str
        A sentence of whoever withdrew it, for the reader of the report.
    """

    study_instance_uid: str
    films: tuple[str, ...]
    cause: RetractionCause
    why: str
    model: ModelIdentity
    operating_point: OperatingPoint

    @property
    def film_uids(self) -> tuple[str, ...]:
        """SOP Instance UIDs of the films that this speaks of."""
        return self.films


Outcome = StudyFindings | StudyRefusal | StudyRetraction
"""What one revision of a study's result says."""
