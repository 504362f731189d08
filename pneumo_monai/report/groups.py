"""The measurement group of one film: what was found on it, or why nothing is said of it (PS3.16 TID 1410, 1501)."""

from collections.abc import Sequence

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
from pneumo_monai.region import film_frame, finding_region
from pneumo_monai.report import codes
from pneumo_monai.report.result import Result
from pneumo_monai.report.wording import in_ascii, name_in_ascii, shown_probability

__all__ = ["Group", "finding_group", "text_item", "unread_group"]

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
    probability = shown_probability(finding.probability, threshold=operating_point.threshold, present=finding.present)
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(result, finding.sop_instance_uid),
        referenced_region=_region(film, finding_region(finding)),
        finding_type=codes.PNEUMONIA,
        algorithm_id=_algorithm(result),
        measurements=[Measurement(name=codes.PROBABILITY, value=probability, unit=codes.NO_UNITS)],
        qualitative_evaluations=[
            QualitativeEvaluation(name=codes.PNEUMONIA, value=codes.PRESENT if finding.present else codes.ABSENT)
        ],
    )
    group[0].ContentSequence.append(text_item(codes.IMAGE_VIEW, finding.view.value))
    for remark in finding.remarks:
        group[0].ContentSequence.append(text_item(codes.COMMENT, in_ascii(remark)))
    return group


def unread_group(
    result: Result, uid: str, film: Dataset | None, *, status: Code, label: Code, comments: Sequence[str]
) -> Group:
    """Build the group of a film of which nothing is said: no finding, and the frame of the whole film for a region.

    Parameters
    ----------
    result : Result
        What the tree is of.
    uid : str
        SOP Instance UID of the film.
    film : Dataset or None
        SOP Class UID (0008,0016), SOP Instance UID (0008,0018), Rows (0028,0010) and Columns (0028,0011) of it, these
        two 0 where they are not known. Without them, or with None, the group has no region.
    status : Code
        Of CID 6042.
    label : Code
        Why, as the name of a count of films: numbers are what viewers write beside an outline.
    comments : sequence of str
        Sentences in ASCII.
    """
    tracking, algorithm, region = _tracking(result, uid), _algorithm(result), _frame(film)
    measurements = [Measurement(name=label, value=1, unit=codes.FILMS)]
    evaluations = [QualitativeEvaluation(name=codes.SUMMARY_OF_ANALYSES, value=status)]
    group: Group
    if region is None:
        group = MeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            algorithm_id=algorithm,
            measurements=measurements,
            qualitative_evaluations=evaluations,
        )
    else:
        group = PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            referenced_region=region,
            algorithm_id=algorithm,
            measurements=measurements,
            qualitative_evaluations=evaluations,
        )
    group[0].ContentSequence.extend(text_item(codes.COMMENT, comment) for comment in comments)
    return group


def text_item(name: Code, value: str) -> TextContentItem:
    """Make a text that a container contains."""
    return TextContentItem(name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS)


def _frame(film: Dataset | None) -> ImageRegion | None:
    """Return the whole film as a region; None where nobody knows how large it is."""
    if film is None or not (film.Rows and film.Columns):
        return None
    try:
        return _region(film, film_frame(film.Rows, film.Columns))
    except KeyError:
        # highdicom looks the class up, and knows those of the standard alone.
        return None


def _region(film: Dataset, outline: NDArray[np.float64]) -> ImageRegion:
    return ImageRegion(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=outline,
        source_image=SourceImageForRegion(film.SOPClassUID, film.SOPInstanceUID),
    )


def _tracking(result: Result, uid: str) -> TrackingIdentifier:
    """Name the finding on a film, found or not: the same in every revision and form."""
    return TrackingIdentifier(uid=result.tracking_uid(uid, codes.PNEUMONIA.value), identifier=f"{codes.TRACKED}{uid}")


def _algorithm(result: Result) -> AlgorithmIdentification:
    model = result.outcome.model
    return AlgorithmIdentification(
        name=name_in_ascii(model.name),
        version=name_in_ascii(model.version),
        parameters=[in_ascii(str(result.outcome.operating_point))],
    )
