"""The content tree of a report: findings as a TID 1500 Measurement Report (PS3.16)."""

import unicodedata
from collections.abc import Mapping, Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    GraphicTypeValues,
    ImageContentItem,
    ImageRegion,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.equipment import MANUFACTURER, MODEL_NAME
from pneumo_monai.findings import FilmFinding, ModelIdentity, StudyFindings
from pneumo_monai.region import finding_region
from pneumo_monai.report import codes
from pneumo_monai.uids import derive_uid

__all__ = ["RESEARCH_USE", "in_ascii", "measurement_report", "name_in_ascii", "shown_probability"]

RESEARCH_USE = "For research use only. Not a medical device."

_FEWEST_DIGITS, _MOST_DIGITS = 4, 14
"""Decimals of a probability: what calibration can tell apart, and what Decimal String holds (PS3.5: 16 characters)."""


_MODALITIES = {"CR": codes.COMPUTED_RADIOGRAPHY, "DX": codes.DIGITAL_RADIOGRAPHY}
"""Modality (0008,0060) to its code (CID 29); what is neither is radiography all the same, else it were not read."""


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


def measurement_report(findings: StudyFindings, films: Mapping[str, Dataset]) -> MeasurementReport:
    """Build the tree, root TID 1500.

    The films stand in the Image Library (TID 1600), and each has one planar ROI group (TID 1410), for viewers show
    nothing of a group without a region. After them, under Qualitative Evaluations, the impression (the study's
    assessment is that of its highest film, and remarks on any film stand in it) and the research-use notice.

    Parameters
    ----------
    findings : StudyFindings
        What was found.
    films : Mapping
        SOP Instance UID to each film of the findings, of which SOP Class UID (0008,0016), SOP Instance UID (0008,0018),
        Modality (0008,0060), Rows (0028,0010) and Columns (0028,0011) are needed.
    """
    report = MeasurementReport(
        title=codes.IMAGING_MEASUREMENT_REPORT,
        observation_context=_observer(findings.model),
        procedure_reported=codes.PLAIN_CHEST_XRAY,
        imaging_measurements=[
            _measurement_group(findings, film, films[film.sop_instance_uid]) for film in findings.films
        ],
    )
    impression = [_text(codes.IMPRESSION, _impression(findings)), _text(codes.COMMENT, RESEARCH_USE)]
    library = _image_library([films[film.sop_instance_uid] for film in findings.films])
    content = report[0].ContentSequence
    content.insert(len(content) - 1, library)  # TID 1500 is ordered: the library precedes the measurements
    content.append(_container(codes.QUALITATIVE_EVALUATIONS, impression))
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


def _image_library(films: Sequence[Dataset]) -> ContainerContentItem:
    """TID 1600: every film by reference; what else can be said of one, its own header says."""
    entries = []
    for film in films:
        entry = ImageContentItem(
            name=codes.SOURCE,
            referenced_sop_class_uid=film.SOPClassUID,
            referenced_sop_instance_uid=film.SOPInstanceUID,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )
        modality = CodeContentItem(
            name=codes.MODALITY,
            value=_MODALITIES.get(film.Modality, codes.RADIOGRAPHIC_IMAGING),
            relationship_type=RelationshipTypeValues.HAS_ACQ_CONTEXT,
        )
        entry.ContentSequence = ContentSequence([modality])
        entries.append(entry)
    return _container(codes.IMAGE_LIBRARY, [_container(codes.IMAGE_LIBRARY_GROUP, entries)])


def _measurement_group(
    findings: StudyFindings, finding: FilmFinding, film: Dataset
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    uid = finding.sop_instance_uid
    operating_point = findings.operating_point
    probability = shown_probability(finding.probability, threshold=operating_point.threshold, present=finding.present)
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=derive_uid("tracking", findings.study_instance_uid, uid, codes.PNEUMONIA.value),
            identifier=f"{codes.PNEUMONIA.meaning} on {uid}",
        ),
        referenced_region=ImageRegion(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=finding_region(finding),
            source_image=SourceImageForRegion(film.SOPClassUID, uid),
        ),
        finding_type=codes.PNEUMONIA,
        algorithm_id=AlgorithmIdentification(
            name=name_in_ascii(findings.model.name),
            version=name_in_ascii(findings.model.version),
            parameters=[in_ascii(str(operating_point))],
        ),
        measurements=[Measurement(name=codes.PROBABILITY, value=probability, unit=codes.NO_UNITS)],
        qualitative_evaluations=[
            QualitativeEvaluation(name=codes.PNEUMONIA, value=codes.PRESENT if finding.present else codes.ABSENT)
        ],
    )
    group[0].ContentSequence.append(_text(codes.IMAGE_VIEW, finding.view.value))
    for remark in finding.remarks:
        group[0].ContentSequence.append(_text(codes.COMMENT, in_ascii(remark)))
    return group


def _impression(findings: StudyFindings) -> str:
    assessment = codes.PRESENT if findings.highest.present else codes.ABSENT
    count = len(findings.films)
    films = "1 frontal film" if count == 1 else f"{count} frontal films, that with the highest probability decides"
    said = f"{codes.PNEUMONIA.meaning}: {assessment.meaning.lower()} at the operating point ({films})."
    return " ".join([said, *map(in_ascii, findings.remarks)])


def _text(name: Code, value: str) -> TextContentItem:
    return TextContentItem(name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS)


def _container(name: Code, content: Sequence[ContentItem]) -> ContainerContentItem:
    container = ContainerContentItem(name=name, relationship_type=RelationshipTypeValues.CONTAINS)
    container.ContentSequence = ContentSequence(content)
    return container
