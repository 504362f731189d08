"""Reports on films made here."""

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from itertools import chain, cycle, repeat
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.errors import Reason
from pneumo_monai.findings import (
    FilmFinding,
    FilmRefusal,
    ModelIdentity,
    OperatingPoint,
    Outcome,
    RetractionCause,
    StudyFindings,
    StudyRefusal,
    StudyRetraction,
    View,
)
from pneumo_monai.forms import Form
from pneumo_monai.geometry import SquareGeometry, Window
from pneumo_monai.report.documents import BUILDERS
from pneumo_monai.report.encode import encode
from pneumo_monai.report.result import Result

__all__ = [
    "ACTIVATION",
    "ANALYSED_AT",
    "MODEL",
    "OPERATING_POINT",
    "WHY",
    "children",
    "code_of",
    "find_on",
    "read_back",
    "refuse",
    "report_of",
    "report_on",
    "result_on",
    "retract",
]

ACTIVATION = np.zeros((7, 7), np.float32)
ACTIVATION[4, 2] = 3.0
ACTIVATION.flags.writeable = False
"""A map with its peak in the lower left of the film, in the patient's lower right lung."""

ANALYSED_AT = datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
MODEL = ModelIdentity(name="A network", version="1.2.3", uid="2.25.17")
OPERATING_POINT = OperatingPoint(name="balanced", threshold=0.35, sensitivity=0.82, specificity=0.71)

WHY = "The film is of another patient."


def find_on(
    films: Sequence[Dataset],
    probabilities: Sequence[float] = (0.8, 0.1, 0.2),
    *,
    view: View = View.PA,
    model: ModelIdentity = MODEL,
    operating_point: OperatingPoint = OPERATING_POINT,
    remarks: Sequence[tuple[str, ...]] = (),
) -> StudyFindings:
    """Find the given probabilities on the films of one study, in the order given, with remarks on the first of them."""
    found = [
        FilmFinding(
            sop_instance_uid=str(film.SOPInstanceUID),
            view=view,
            probability=probability,
            present=probability >= operating_point.threshold,
            activation=ACTIVATION,
            geometry=_whole(film),
            logit=0.0,
            remarks=remarked,
        )
        for film, probability, remarked in zip(films, probabilities, chain(remarks, repeat(())), strict=False)
    ]
    return StudyFindings(
        study_instance_uid=str(films[0].StudyInstanceUID),
        films=tuple(sorted(found, key=lambda finding: finding.sop_instance_uid)),
        model=model,
        operating_point=operating_point,
    )


def refuse(films: Sequence[Dataset], reasons: Sequence[Reason] = (Reason.VIEW,), detail: str = "Odd.") -> StudyRefusal:
    """Refuse the films of one study, for these reasons in turn."""
    refused = [
        FilmRefusal(sop_instance_uid=str(film.SOPInstanceUID), reason=reason, detail=detail)
        for film, reason in zip(films, cycle(reasons), strict=False)
    ]
    return StudyRefusal(
        study_instance_uid=str(films[0].get("StudyInstanceUID")),
        films=tuple(sorted(refused, key=lambda refusal: refusal.sop_instance_uid)),
        model=MODEL,
        operating_point=OPERATING_POINT,
    )


def retract(
    films: Sequence[Dataset], why: str = WHY, cause: RetractionCause = RetractionCause.SAFETY
) -> StudyRetraction:
    """Withdraw the result of the films of one study."""
    return StudyRetraction(
        study_instance_uid=str(films[0].get("StudyInstanceUID")),
        films=tuple(sorted(str(film.SOPInstanceUID) for film in films)),
        cause=cause,
        why=why,
        model=MODEL,
        operating_point=OPERATING_POINT,
    )


def report_of(result: Result, form: Form = Form.SR_COMPREHENSIVE_3D) -> Dataset:
    """Build a result in one of the forms that have one instance."""
    (report,) = BUILDERS[form](result)
    return report


def report_on(
    *films: Dataset,
    probabilities: Sequence[float] = (0.8, 0.1, 0.2),
    view: View = View.PA,
    model: ModelIdentity = MODEL,
    operating_point: OperatingPoint = OPERATING_POINT,
    remarks: Sequence[tuple[str, ...]] = (),
    revision: int = 1,
    predecessor: Dataset | None = None,
    analysed_at: datetime = ANALYSED_AT,
) -> Dataset:
    """Build a report on the films of one study."""
    findings = find_on(films, probabilities, view=view, model=model, operating_point=operating_point, remarks=remarks)
    return report_of(result_on(films, findings, revision=revision, predecessor=predecessor, analysed_at=analysed_at))


def result_on(
    films: Sequence[Dataset],
    outcome: Outcome | None = None,
    *,
    revision: int = 1,
    predecessor: Dataset | None = None,
    analysed_at: datetime = ANALYSED_AT,
    **more: Any,
) -> Result:
    """Make a result of some films, by default with findings; `predecessor` is a Comprehensive 3D SR."""
    if predecessor is not None:
        more["superseded"] = {Form.SR_COMPREHENSIVE_3D: [predecessor]}
    return Result(
        outcome=find_on(films) if outcome is None else outcome,
        sources={str(film.SOPInstanceUID): film for film in films},
        revision=revision,
        analysed_at=analysed_at,
        **more,
    )


def _whole(film: Dataset) -> SquareGeometry:
    # Some tests show what is no film.
    rows, columns = film.get("Rows", 64), film.get("Columns", 64)
    return SquareGeometry(rows=rows, columns=columns, size=224, window=Window.whole(rows, columns))


def code_of(item: Dataset) -> Code:
    """Return an item of a code sequence as a code."""
    return Code(item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning)


def children(item: Dataset, name: Code) -> list[Dataset]:
    """Return the content items of that name right under another."""
    return [child for child in item.get("ContentSequence", []) if code_of(child.ConceptNameCodeSequence[0]) == name]


def read_back(report: Dataset) -> Dataset:
    """Encode a report and parse the bytes."""
    return dcmread(BytesIO(encode(report)))
