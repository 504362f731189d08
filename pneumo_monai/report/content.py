"""The content tree of a report: findings as a TID 1500 Measurement Report (PS3.16)."""

import unicodedata

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.coding import Code

from pneumo_monai.equipment import MANUFACTURER, MODEL_NAME
from pneumo_monai.findings import FilmFinding, ModelIdentity, StudyFindings
from pneumo_monai.report import codes
from pneumo_monai.uids import derive_uid

__all__ = ["RESEARCH_USE", "in_ascii", "measurement_report", "name_in_ascii", "shown_probability"]

RESEARCH_USE = "For research use only. Not a medical device."

_FEWEST_DIGITS, _MOST_DIGITS = 4, 14
"""Decimals of a probability: what calibration can tell apart, and what Decimal String holds (PS3.5: 16 characters)."""


def in_ascii(text: str) -> str:
    """Return a text of ours without accents, in ASCII: every character set of PS3.3 C.12.1.1.2 holds that.

    Raises
    ------
    ValueError
        Nothing of the text is left.
    """
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    if not (words := " ".join(ascii_only.split())):
        raise ValueError("a text of the report has no letters that every character set holds")
    return words


def name_in_ascii(name: str) -> str:
    """Return a name of ours as Long String holds it: in ASCII, 64 characters, no backslash (PS3.5 table 6.2-1)."""
    return in_ascii(name.replace("\\", " "))[:64].rstrip()


def shown_probability(probability: float, *, threshold: float, present: bool) -> float:
    """Round a probability for people, never across the operating point.

    0.49996 against 0.5 is absent; written as 0.5000 it would contradict its own assessment. So decimals are added until
    the rounded number lies on the side of the threshold where the finding is.

    Parameters
    ----------
    probability : float
        Calibrated, 0 to 1.
    threshold : float
        Of the operating point.
    present : bool
        The assessment.

    Raises
    ------
    ValueError
        No number at all, or the assessment is not what the operating point says of this probability.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError("a probability lies between 0 and 1")
    if present is not (probability >= threshold):
        raise ValueError("the assessment contradicts the operating point")
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS):
        if (round(probability, digits) >= threshold) is present:
            return round(probability, digits)
    return round(probability, _MOST_DIGITS)


def measurement_report(findings: StudyFindings, sop_classes: dict[str, str]) -> MeasurementReport:
    """Build the tree, root TID 1500.

    One measurement group (TID 1501) for each film; after them, under Qualitative Evaluations, the impression (the
    study's assessment is that of its highest film) and the research-use notice.

    Parameters
    ----------
    findings : StudyFindings
        What was found.
    sop_classes : dict
        SOP Instance UID of each film to its SOP Class UID.
    """
    report = MeasurementReport(
        title=codes.IMAGING_MEASUREMENT_REPORT,
        observation_context=_observer(findings.model),
        procedure_reported=codes.PLAIN_CHEST_XRAY,
        imaging_measurements=[
            _measurement_group(findings, film, sop_classes[film.sop_instance_uid]) for film in findings.films
        ],
    )
    evaluations = ContainerContentItem(
        name=codes.QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS
    )
    evaluations.ContentSequence = ContentSequence(
        [_text(codes.IMPRESSION, _impression(findings)), _text(codes.COMMENT, RESEARCH_USE)]
    )
    report[0].ContentSequence.append(evaluations)
    return report


def _observer(model: ModelIdentity) -> ObservationContext:
    """TID 1001, 1002 and 1004: the device is the model, so that its UID changes with the weights."""
    identity = DeviceObserverIdentifyingAttributes(
        uid=model.uid, name=MODEL_NAME, manufacturer_name=MANUFACTURER, model_name=name_in_ascii(model.name)
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=CodedConcept.from_code(codes.DEVICE),
            observer_identifying_attributes=identity,
        )
    )


def _measurement_group(
    findings: StudyFindings, film: FilmFinding, sop_class_uid: str
) -> MeasurementsAndQualitativeEvaluations:
    uid = film.sop_instance_uid
    operating_point = findings.operating_point
    probability = shown_probability(film.probability, threshold=operating_point.threshold, present=film.present)
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=derive_uid("tracking", findings.study_instance_uid, uid, codes.PNEUMONIA.value),
            identifier=f"{codes.PNEUMONIA.meaning} on {uid}",
        ),
        finding_type=codes.PNEUMONIA,
        algorithm_id=AlgorithmIdentification(
            name=name_in_ascii(findings.model.name),
            version=name_in_ascii(findings.model.version),
            parameters=[in_ascii(str(operating_point))],
        ),
        measurements=[Measurement(name=codes.PROBABILITY, value=probability, unit=codes.NO_UNITS)],
        qualitative_evaluations=[
            QualitativeEvaluation(name=codes.PNEUMONIA, value=codes.PRESENT if film.present else codes.ABSENT)
        ],
        source_images=[SourceImageForMeasurementGroup(sop_class_uid, uid)],
    )
    group[0].ContentSequence.append(_text(codes.IMAGE_VIEW, film.view.value))
    return group


def _impression(findings: StudyFindings) -> str:
    assessment = codes.PRESENT if findings.highest.present else codes.ABSENT
    count = len(findings.films)
    films = "1 frontal film" if count == 1 else f"{count} frontal films, that with the highest probability decides"
    return f"{codes.PNEUMONIA.meaning}: {assessment.meaning.lower()} at the operating point ({films})."


def _text(name: Code, value: str) -> TextContentItem:
    return TextContentItem(name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS)
