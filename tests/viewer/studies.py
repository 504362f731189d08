"""Four studies of drawn chests: pneumonia present, pneumonia absent, not analysed, result withdrawn."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.demo.phantoms import draw_phantom
from pneumo_monai.errors import Reason
from pneumo_monai.findings import FilmRefusal, RetractionCause, StudyRefusal, StudyRetraction
from pneumo_monai.forms import Form
from pneumo_monai.report.documents import BUILDERS, Document, build_documents
from pneumo_monai.report.result import Result
from tests.films import film_bytes, make_film
from tests.reports import find_on, result_on

__all__ = ["ViewedStudy", "negative", "positive", "refused", "withdrawn"]

_BITS = 12
_SIDE = 1024


@dataclass(frozen=True, kw_only=True)
class ViewedStudy:
    """A film and what is said of it."""

    film: Dataset
    result: Result

    @property
    def uid(self) -> str:
        """Study Instance UID."""
        return str(self.film.StudyInstanceUID)

    @cached_property
    def documents(self) -> Mapping[Form, Document]:
        """Its result in every form, where a form has several instances the last."""
        return {document.form: document for document in build_documents(self.result, BUILDERS)}

    @property
    def files(self) -> list[bytes]:
        """Everything that the PACS holds of the study."""
        return [film_bytes(self.film), *(document.encoded for document in self.documents.values())]


def positive() -> ViewedStudy:
    """Return a study with an opacity in the right lower lung, and a finding there."""
    return _read("Positive", opacity=True, probability=0.87)


def negative() -> ViewedStudy:
    """Return a study without one."""
    return _read("Negative", opacity=False, probability=0.04)


def refused() -> ViewedStudy:
    """Return a study that was not read, for the patient is a child; its film is wider than it is high."""
    film, picture = _draw("Refused", rows=832, columns=_SIDE, PatientAge="008Y")
    bundle = Bundle(PACKAGED)
    refusal = FilmRefusal(sop_instance_uid=film.SOPInstanceUID, reason=Reason.AGE, detail="the patient is 8 years old")
    outcome = StudyRefusal(
        study_instance_uid=film.StudyInstanceUID,
        films=(refusal,),
        model=bundle.identity,
        operating_point=bundle.operating_point,
    )
    return ViewedStudy(film=film, result=result_on([film], outcome, pictures={film.SOPInstanceUID: picture}))


def withdrawn() -> ViewedStudy:
    """Return a study whose result was wrong."""
    film, picture = _draw("Withdrawn")
    bundle = Bundle(PACKAGED)
    outcome = StudyRetraction(
        study_instance_uid=film.StudyInstanceUID,
        films=(film.SOPInstanceUID,),
        cause=RetractionCause.SAFETY,
        why="The film is of another patient.",
        model=bundle.identity,
        operating_point=bundle.operating_point,
    )
    return ViewedStudy(film=film, result=result_on([film], outcome, pictures={film.SOPInstanceUID: picture}))


def _read(name: str, *, opacity: bool, probability: float) -> ViewedStudy:
    film, picture = _draw(name, opacity=opacity)
    bundle = Bundle(PACKAGED)
    findings = find_on([film], [probability], model=bundle.identity, operating_point=bundle.operating_point)
    found = replace(findings.films[0], activation=_activation(), lungs=_lungs())
    outcome = replace(findings, films=(found,))
    return ViewedStudy(film=film, result=result_on([film], outcome, pictures={film.SOPInstanceUID: picture}))


def _draw(
    name: str, *, opacity: bool = False, rows: int = _SIDE, columns: int = _SIDE, **attributes: str
) -> tuple[Dataset, NDArray[np.float32]]:
    picture = draw_phantom(rows, columns, opacity=opacity, seed=0)
    stored = np.round(picture * ((1 << _BITS) - 1)).astype(np.uint16)
    film = make_film(
        pixels=stored,
        bits_stored=_BITS,
        PatientName=f"Phantom^{name}",
        PatientID=f"PHANTOM-{name.upper()}",
        SeriesDescription="Chest, drawn phantom",
        **attributes,
    )
    return film, picture


def _activation() -> NDArray[np.float32]:
    """A map with its peak on the drawn opacity."""
    row, column = np.mgrid[0:7, 0:7]
    peak: NDArray[np.float32] = 3.0 * np.exp(-((row - 4.05) ** 2 + (column - 1.4) ** 2) / 1.5)
    return peak.astype(np.float32)


def _lungs() -> NDArray[np.bool_]:
    """Where `draw_phantom` draws the lungs, on the square that the network would see."""
    y, x = np.mgrid[-1:1:224j, -1:1:224j]
    return (((np.abs(x) - 0.43) / 0.31) ** 2 + ((y + 0.02) / 0.66) ** 2 < 1.0) & (
        ((np.abs(x) - 0.45) / 0.45) ** 2 + ((y - 0.88) / 0.42) ** 2 > 1.0
    )
