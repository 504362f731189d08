"""The measurement group of one film: what was found on it, or why nothing is said of it (PS3.16 TID 1410, 1501)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.findings import FilmFinding, OperatingPoint
from pneumo_monai.region import finding_region
from pneumo_monai.report import codes
from pneumo_monai.report.result import Result
from pneumo_monai.report.wording import in_ascii, name_in_ascii, shown_percentage, shown_threshold

__all__ = ["Group", "Tracked", "finding_group", "text_item", "tracked", "unread_group"]

Group = PlanarROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations


def finding_group(
    result: Result, finding: FilmFinding, film: Dataset, operating_point: OperatingPoint
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """Build the planar ROI group of a film that was read; viewers show nothing of a group without a region.

    Parameters
    ----------
    result : Result
        What the tree is of.
    finding : FilmFinding
        What was found on the film.
    film : Dataset
        SOP Class UID (0008,0016) and SOP Instance UID (0008,0018) of it.
    operating_point : OperatingPoint
        Which the assessment follows.
    """
    probability = shown_percentage(finding.probability, threshold=operating_point.threshold, present=finding.present)
    threshold = shown_threshold(operating_point.threshold, probability, present=finding.present)
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(result, finding.sop_instance_uid),
        referenced_region=_region(film, finding_region(finding)),
        finding_type=codes.PNEUMONIA,
        algorithm_id=_algorithm(result),
        # Numbers are what viewers write beside an outline: without the second one the first says too little.
        measurements=[
            Measurement(name=codes.PROBABILITY, value=probability, unit=codes.PERCENT),
            Measurement(name=codes.PRESENT_FROM, value=threshold, unit=codes.PERCENT),
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(name=codes.PNEUMONIA, value=codes.PRESENT if finding.present else codes.ABSENT)
        ],
    )
    group[0].ContentSequence.append(text_item(codes.IMAGE_VIEW, finding.view.value))
    for remark in finding.remarks:
        group[0].ContentSequence.append(text_item(codes.COMMENT, in_ascii(remark)))
    return group


def unread_group(
    result: Result, uid: str, *, status: Code, because: tuple[Code, Code], comments: Sequence[str]
) -> MeasurementsAndQualitativeEvaluations:
    """Build the group of a film of which nothing is said: no finding, no measurement and no region.

    Parameters
    ----------
    result : Result
        What the tree is of.
    uid : str
        SOP Instance UID of the film.
    status : Code
        Of CID 6042.
    because : tuple of Code
        Name and value of the evaluation that says why.
    comments : sequence of str
        Sentences in ASCII.
    """
    name, value = because
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(result, uid),
        algorithm_id=_algorithm(result),
        qualitative_evaluations=[
            QualitativeEvaluation(name=codes.SUMMARY_OF_ANALYSES, value=status),
            QualitativeEvaluation(name=name, value=value),
        ],
    )
    group[0].ContentSequence.extend(text_item(codes.COMMENT, comment) for comment in comments)
    return group


def text_item(name: Code, value: str) -> TextContentItem:
    """Make a text that a container contains."""
    return TextContentItem(name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS)


def _region(film: Dataset, outline: NDArray[np.float64]) -> ImageRegion:
    return ImageRegion(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=outline,
        source_image=SourceImageForRegion(film.SOPClassUID, film.SOPInstanceUID),
    )


class Tracked(NamedTuple):
    """Tracking Unique Identifier and Tracking Identifier of a finding (TID 4108)."""

    uid: str
    identifier: str


def tracked(result: Result, uid: str) -> Tracked:
    """Name the finding on a film by its SOP Instance UID, found or not: the same in every revision and form."""
    return Tracked(uid=result.tracking_uid(uid, codes.PNEUMONIA.value), identifier=f"{codes.TRACKED}{uid}")


def _tracking(result: Result, uid: str) -> TrackingIdentifier:
    return TrackingIdentifier(**tracked(result, uid)._asdict())


def _algorithm(result: Result) -> AlgorithmIdentification:
    model = result.outcome.model
    return AlgorithmIdentification(
        name=name_in_ascii(model.name),
        version=name_in_ascii(model.version),
        parameters=[in_ascii(str(result.outcome.operating_point))],
    )
