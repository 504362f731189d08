"""Key Object Selection Documents (PS3.3 A.35.4, TID 2010): the films with the finding, and what is withdrawn."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodeContentItem, ContentItem, RelationshipTypeValues
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.attributes import integer, text
from pneumo_monai.equipment import MANUFACTURER
from pneumo_monai.findings import RetractionCause, StudyFindings, StudyRetraction
from pneumo_monai.forms import Form
from pneumo_monai.report import form_codes
from pneumo_monai.report.content import observer
from pneumo_monai.report.impression import impression
from pneumo_monai.report.inheritance import REQUIRED
from pneumo_monai.report.provenance import SERIES_NUMBERS, stamp
from pneumo_monai.report.requests import referenced_requests
from pneumo_monai.report.result import Result

__all__ = ["build_key_objects", "build_rejection_note"]

_TITLES: Mapping[RetractionCause, Code] = MappingProxyType(
    {
        RetractionCause.SAFETY: form_codes.REJECTED_FOR_SAFETY,
        RetractionCause.QUALITY: form_codes.REJECTED_FOR_QUALITY,
    }
)


def build_key_objects(result: Result) -> Sequence[Dataset]:
    """Select the films with the finding, of interest; nothing where there is none.

    Raises
    ------
    Broken
        A film lacks one of its UIDs, its Rows or its Columns, or belongs to another study.
    """
    if not isinstance(result.outcome, StudyFindings):
        return []
    present = [result.reference(film.sop_instance_uid) for film in result.outcome.films if film.present]
    return [_document(result, Form.KEY_OBJECTS, form_codes.OF_INTEREST, present)] if present else []


def build_rejection_note(result: Result) -> Sequence[Dataset]:
    """Reject every instance of a result that is withdrawn, as IHE Imaging Object Change Management has it (RAD-66).

    An archive that knows the profile hides what the note names, another one shows the note beside it. Nothing where
    nothing was sent before: there is nothing to hide then.
    """
    if not isinstance(result.outcome, StudyRetraction):
        return []
    rejected = [
        _reference(instance)
        for form, instances in result.superseded.items()
        if form is not Form.REJECTION_NOTE
        for instance in instances
    ]
    if not rejected:
        return []
    cause = result.outcome.cause
    # TID 2010 row 3: a title of quality says what kind of it.
    modifiers = [form_codes.INAPPROPRIATE_PROCESSING] if cause is RetractionCause.QUALITY else []
    return [_document(result, Form.REJECTION_NOTE, _TITLES[cause], rejected, modifiers)]


def _document(
    result: Result, form: Form, title: Code, selected: Sequence[Dataset], modifiers: Iterable[Code] = ()
) -> Dataset:
    content = KeyObjectSelection(
        document_title=title, referenced_objects=selected, description=impression(result.outcome)
    )
    opening: list[ContentItem] = [
        CodeContentItem(
            name=form_codes.DOCUMENT_TITLE_MODIFIER,
            value=modifier,
            relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
        )
        for modifier in modifiers
    ]
    for place, item in enumerate([*opening, *observer(result)]):
        content[0].ContentSequence.insert(place, item)
    document = KeyObjectSelectionDocument(
        evidence=selected,
        content=content,
        series_instance_uid=result.series_uid(form),
        series_number=SERIES_NUMBERS[form],
        sop_instance_uid=result.instance_uid(form),
        instance_number=result.revision,
        manufacturer=MANUFACTURER,
        requested_procedures=referenced_requests(result.films[0], result.outcome.study_instance_uid) or None,
    )
    stamp(document, result, form)
    return document


def _reference(instance: Dataset) -> Dataset:
    """Return what highdicom needs of an instance of ours: with a size it is an image, without it is not."""
    reference = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(reference, keyword, text(instance, keyword))
    for keyword in ("Rows", "Columns"):
        if (length := integer(instance, keyword)) is not None:
            setattr(reference, keyword, length)
    for keyword in REQUIRED:
        setattr(reference, keyword, None)
    return reference
