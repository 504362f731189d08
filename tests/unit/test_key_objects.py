"""Key Object Selections, read back through highdicom."""

import pytest
from highdicom.ko import KeyObjectSelectionDocument
from pydicom.dataset import Dataset

from pneumo_monai.findings import RetractionCause
from pneumo_monai.forms import Form
from pneumo_monai.report import form_codes
from pneumo_monai.report.encode import encode
from pneumo_monai.report.key_objects import build_key_objects, build_rejection_note
from pneumo_monai.report.result import Result
from pneumo_monai.report.wording import RESEARCH_USE
from tests.films import DX, make_film
from tests.reports import MODEL, WHY, children, read_back, result_on, retract
from tests.results import result_of, sent_before


def selected(document: Dataset) -> set[tuple[str, str]]:
    """Return kind and SOP Instance UID of each reference; each resolves to the study's evidence."""
    read = KeyObjectSelectionDocument.from_dataset(read_back(document))
    references = read.content.get_references()
    for item in references:
        assert read.resolve_reference(item.referenced_sop_instance_uid)[0] == document.StudyInstanceUID
    return {(item.ValueType, item.referenced_sop_instance_uid) for item in references}


def description(document: Dataset) -> str:
    (item,) = children(document, form_codes.KEY_OBJECT_DESCRIPTION)
    return str(item.TextValue)


def test_the_films_with_the_finding_are_of_interest():
    first, second = make_film(), make_film(sop_class=DX)
    second.StudyInstanceUID = first.StudyInstanceUID
    (document,) = build_key_objects(result_of("present", first, second))
    assert selected(document) == {("IMAGE", first.SOPInstanceUID)}
    assert document.ConceptNameCodeSequence[0] == form_codes.OF_INTEREST
    assert document.Modality == "KO"
    assert description(document).startswith("Pneumonia: present. Probability 80.00 % ")
    assert RESEARCH_USE in description(document)
    (context,) = KeyObjectSelectionDocument.from_dataset(read_back(document)).content.get_observer_contexts()
    assert context.observer_identifying_attributes.uid == MODEL.uid


@pytest.mark.parametrize("kind", ["absent", "refused", "retracted"])
def test_without_a_finding_nothing_is_of_interest(kind):
    assert build_key_objects(result_of(kind, make_film())) == []


def withdrawn(film: Dataset, cause: RetractionCause) -> Result:
    return result_on(
        [film], retract([film], cause=cause), revision=2, superseded=sent_before(result_of("present", film))
    )


@pytest.mark.parametrize(
    ("cause", "title", "modifiers"),
    [
        (RetractionCause.SAFETY, form_codes.REJECTED_FOR_SAFETY, []),
        (RetractionCause.QUALITY, form_codes.REJECTED_FOR_QUALITY, [form_codes.INAPPROPRIATE_PROCESSING]),
    ],
)
def test_everything_that_was_sent_is_rejected(cause, title, modifiers):
    film = make_film()
    result = withdrawn(film, cause)
    (note,) = build_rejection_note(result)
    images = {Form.SECONDARY_CAPTURE}
    assert selected(note) == {
        ("IMAGE" if form in images else "COMPOSITE", instance.SOPInstanceUID)
        for form, instances in result.superseded.items()
        for instance in instances
    }
    assert len(selected(note)) >= 5
    assert note.ConceptNameCodeSequence[0] == title
    said = children(note, form_codes.DOCUMENT_TITLE_MODIFIER)
    assert [item.ConceptCodeSequence[0] for item in said] == modifiers
    assert WHY in description(note)


def test_a_note_is_a_series_of_its_own_and_always_the_same():
    film = make_film()
    result = withdrawn(film, RetractionCause.SAFETY)
    (note,) = build_rejection_note(result)
    former = {instance.SeriesInstanceUID for instances in result.superseded.values() for instance in instances}
    assert note.SeriesInstanceUID not in former
    assert encode(note) == encode(build_rejection_note(withdrawn(film, RetractionCause.SAFETY))[0])


def test_a_note_rejects_no_note():
    film = make_film()
    result = withdrawn(film, RetractionCause.SAFETY)
    notes = {Form.REJECTION_NOTE: build_rejection_note(result)}
    again = result_on([film], retract([film]), revision=3, superseded={**result.superseded, **notes})
    assert selected(build_rejection_note(again)[0]) == selected(build_rejection_note(result)[0])


@pytest.mark.parametrize("kind", ["present", "absent", "refused", "retracted"])
def test_where_nothing_was_sent_or_is_withdrawn_there_is_no_note(kind):
    assert build_rejection_note(result_of(kind, make_film())) == []
