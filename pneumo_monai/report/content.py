"""The content tree of a report: an outcome as a TID 1500 Measurement Report (PS3.16)."""

from collections.abc import Iterable, Mapping, Sequence

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    ImageContentItem,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.equipment import MANUFACTURER, MODEL_NAME
from pneumo_monai.findings import Outcome, StudyFindings, StudyRefusal, StudyRetraction
from pneumo_monai.report import codes
from pneumo_monai.report.groups import Group, finding_group, text_item, unread_group
from pneumo_monai.report.impression import impression
from pneumo_monai.report.reasons import CAUSES, CLAUSES
from pneumo_monai.report.requests import procedure_reported
from pneumo_monai.report.result import Result
from pneumo_monai.report.wording import RESEARCH_USE, as_sentence, name_in_ascii

__all__ = ["container", "imaging_procedure", "measurement_report", "observer", "separate"]

_MODALITIES = {"CR": codes.COMPUTED_RADIOGRAPHY, "DX": codes.DIGITAL_RADIOGRAPHY}
"""Modality (0008,0060) to its code (CID 29); what is neither is radiography all the same, else it were not read."""


def measurement_report(result: Result, films: Mapping[str, Dataset]) -> MeasurementReport:
    """Build the tree, root TID 1500.

    The films stand in the Image Library (TID 1600), and each has a group of its own. After them, under Qualitative
    Evaluations, stand whether films were analysed at all, the impression (the study's assessment is that of its highest
    film, and remarks on any film stand in it) and the research-use notice.

    Findings are titled Imaging Measurement Report, by which viewers know that they have to draw outlines. Refusals and
    retractions have none, and such a viewer would show nothing of them: they are titled as a report (CID 7021 is
    extensible), and shown as text.

    Parameters
    ----------
    result : Result
        What the tree is of.
    films : Mapping
        SOP Instance UID to what is known of the films of the outcome, `Result.references` or `Result.known_references`:
        SOP Class UID (0008,0016), SOP Instance UID (0008,0018), Modality (0008,0060), Rows (0028,0010) and Columns
        (0028,0011). Every film of findings; of the others those that can be referred to.
    """
    outcome = result.outcome
    report = MeasurementReport(
        title=codes.IMAGING_MEASUREMENT_REPORT if _is_read(outcome) else codes.DIAGNOSTIC_IMAGING_REPORT,
        observation_context=observer(result),
        procedure_reported=imaging_procedure(result),
        imaging_measurements=_groups(result, films),
    )
    evaluations: list[ContentItem] = [text_item(codes.IMPRESSION, impression(outcome))]
    evaluations.append(text_item(codes.COMMENT, RESEARCH_USE))
    if (status := _status(outcome)) is not None:
        evaluations.insert(0, _code_item(codes.SUMMARY_OF_ANALYSES, status, RelationshipTypeValues.CONTAINS))
    content = report[0].ContentSequence
    # TID 1500 is ordered: the library precedes the measurements.
    content.insert(len(content) - 1, _image_library(film for film in films.values() if film.Rows and film.Columns))
    content.append(container(codes.QUALITATIVE_EVALUATIONS, evaluations))
    separate(report[0])
    return report


def observer(result: Result) -> ObservationContext:
    """Return TID 1001, 1002 and 1004: the device is the model, so that its UID changes with the weights."""
    identity = DeviceObserverIdentifyingAttributes(
        uid=result.device_uid,
        name=MODEL_NAME,
        manufacturer_name=MANUFACTURER,
        model_name=name_in_ascii(result.outcome.model.name),
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=CodedConcept.from_code(codes.DEVICE),
            observer_identifying_attributes=identity,
        )
    )


def imaging_procedure(result: Result) -> Code:
    """Return the imaging procedure, as the first film states it; else a chest film, or what nobody has looked at."""
    read = not isinstance(result.outcome, StudyRefusal)
    return procedure_reported(result.films[0]) or (codes.PLAIN_CHEST_XRAY if read else codes.IMAGING_PROCEDURE)


def container(name: Code, content: Sequence[ContentItem]) -> ContainerContentItem:
    """Make a container that another one contains."""
    made = ContainerContentItem(name=name, relationship_type=RelationshipTypeValues.CONTAINS)
    if content:
        made.ContentSequence = ContentSequence(content)
    return made


def _groups(result: Result, films: Mapping[str, Dataset]) -> list[Group]:
    match result.outcome:
        case StudyFindings(films=findings, operating_point=point):
            return [finding_group(result, film, films[film.sop_instance_uid], point) for film in findings]
        case StudyRefusal(films=refusals):
            return [
                unread_group(
                    result,
                    film.sop_instance_uid,
                    status=codes.NOT_ATTEMPTED,
                    because=(codes.NOT_ANALYSED_BECAUSE, codes.NOT_ANALYSED[film.reason]),
                    comments=[as_sentence(film.detail, otherwise=CLAUSES[film.reason].capitalize())],
                )
                for film in refusals
            ]
        case StudyRetraction(why=why, cause=cause):
            return [
                unread_group(
                    result,
                    uid,
                    status=codes.FAILED,
                    because=(codes.WITHDRAWN_BECAUSE, codes.WITHDRAWN[cause]),
                    comments=[as_sentence(why, otherwise=CAUSES[cause].capitalize())],
                )
                for uid in result.outcome.films
            ]


def _is_read(outcome: Outcome) -> bool:
    return isinstance(outcome, StudyFindings)


def separate(item: Dataset) -> None:
    """Let each item of a container stand for itself: viewers run the text of continuous ones together."""
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", []):
        separate(child)


def _status(outcome: Outcome) -> Code | None:
    """Say of a study without a result which kind of none it has (CID 6042)."""
    match outcome:
        case StudyRefusal():
            return codes.NOT_ATTEMPTED
        case StudyRetraction():
            return codes.FAILED
        case StudyFindings():
            return None


def _image_library(films: Iterable[Dataset]) -> ContainerContentItem:
    """TID 1600: every film by reference; what else can be said of one, its own header says."""
    entries = []
    for film in films:
        entry = ImageContentItem(
            name=codes.SOURCE,
            referenced_sop_class_uid=film.SOPClassUID,
            referenced_sop_instance_uid=film.SOPInstanceUID,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )
        modality = _MODALITIES.get(film.Modality, codes.RADIOGRAPHIC_IMAGING)
        entry.ContentSequence = ContentSequence(
            [_code_item(codes.MODALITY, modality, RelationshipTypeValues.HAS_ACQ_CONTEXT)]
        )
        entries.append(entry)
    # Viewers look for the library, an empty one included.
    return container(codes.IMAGE_LIBRARY, [container(codes.IMAGE_LIBRARY_GROUP, entries)] if entries else [])


def _code_item(name: Code, value: Code, relationship: RelationshipTypeValues) -> CodeContentItem:
    return CodeContentItem(name=name, value=value, relationship_type=relationship)
