"""Results on films made here: findings with a region, refusals and retractions."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pneumo_monai.errors import Reason
from pneumo_monai.findings import FilmRefusal, RetractionCause, StudyFindings, StudyRefusal, StudyRetraction
from pneumo_monai.report.result import Result
from tests.reports import MODEL, OPERATING_POINT, find_on, result_on

__all__ = ["LUNGS", "OUTCOMES", "find_in_lungs", "pictures_of", "refuse", "result_of", "retract"]

LUNGS = np.zeros((224, 224), dtype=np.bool_)
LUNGS[40:190, 45:105] = True
LUNGS[40:190, 122:180] = True
LUNGS.flags.writeable = False
"""Two lungs on the square that the network saw."""


def find_in_lungs(*films: Dataset, probability: float = 0.8) -> StudyFindings:
    """Find something in the lungs of the first film, less on the others."""
    findings = find_on(films, [probability, 0.1, 0.2])
    return replace(findings, films=tuple(replace(film, lungs=LUNGS) for film in findings.films))


def refuse(*films: Dataset, reason: Reason = Reason.VIEW, detail: str = "View Position is 'LL'") -> StudyRefusal:
    """Refuse every film of a study."""
    refusals = (FilmRefusal(sop_instance_uid=str(film.SOPInstanceUID), reason=reason, detail=detail) for film in films)
    return StudyRefusal(
        study_instance_uid=str(films[0].StudyInstanceUID),
        films=tuple(sorted(refusals, key=lambda refusal: refusal.sop_instance_uid)),
        model=MODEL,
        operating_point=OPERATING_POINT,
    )


def retract(*films: Dataset, cause: RetractionCause = RetractionCause.SAFETY) -> StudyRetraction:
    """Withdraw the result of a study."""
    return StudyRetraction(
        study_instance_uid=str(films[0].StudyInstanceUID),
        films=tuple(sorted(str(film.SOPInstanceUID) for film in films)),
        cause=cause,
        why="The films were those of another patient.",
        model=MODEL,
        operating_point=OPERATING_POINT,
    )


OUTCOMES = {
    "present": find_in_lungs,
    "absent": lambda *films: find_in_lungs(*films, probability=0.1),
    "refused": refuse,
    "retracted": retract,
}
"""One maker of each kind of outcome."""


def pictures_of(*films: Dataset) -> dict[str, NDArray[np.float32]]:
    """Draw something grey for each film, of its size."""
    return {
        str(film.SOPInstanceUID): np.linspace(0.0, 1.0, film.Rows * film.Columns, dtype=np.float32).reshape(
            film.Rows, film.Columns
        )
        for film in films
    }


def result_of(kind: str, *films: Dataset, **more: Any) -> Result:
    """Make a result of a kind of `OUTCOMES`, with pictures of its films."""
    return result_on(films, OUTCOMES[kind](*films), **{"pictures": pictures_of(*films), **more})
