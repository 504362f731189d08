"""Reports on films made here."""

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from itertools import chain, repeat

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from pneumo_monai.findings import FilmFinding, ModelIdentity, OperatingPoint, StudyFindings, View
from pneumo_monai.geometry import SquareGeometry, Window
from pneumo_monai.report.encode import encode
from pneumo_monai.report.structured_report import build_structured_report

__all__ = ["ACTIVATION", "ANALYSED_AT", "MODEL", "OPERATING_POINT", "find_on", "read_back", "report_on"]

ACTIVATION = np.zeros((7, 7), np.float32)
ACTIVATION[4, 2] = 3.0
ACTIVATION.flags.writeable = False
"""A map with its peak in the lower left of the film, in the patient's lower right lung."""

ANALYSED_AT = datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
MODEL = ModelIdentity(name="A network", version="1.2.3", uid="2.25.17")
OPERATING_POINT = OperatingPoint(name="balanced", threshold=0.35, sensitivity=0.82, specificity=0.71)


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
    return build_structured_report(
        findings=find_on(
            films, probabilities, view=view, model=model, operating_point=operating_point, remarks=remarks
        ),
        sources={str(film.SOPInstanceUID): film for film in films},
        revision=revision,
        predecessor=predecessor,
        analysed_at=analysed_at,
    )


def _whole(film: Dataset) -> SquareGeometry:
    # Some tests show what is no film.
    rows, columns = film.get("Rows", 64), film.get("Columns", 64)
    return SquareGeometry(rows=rows, columns=columns, size=224, window=Window.whole(rows, columns))


def read_back(report: Dataset) -> Dataset:
    """Encode a report and parse the bytes."""
    return dcmread(BytesIO(encode(report)))
