"""A result as a Basic Text SR (PS3.3 A.35.1): what any viewer shows that shows reports at all."""

from collections.abc import Sequence

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    EnhancedSR,
    ImageContentItem,
    LanguageOfContentItemAndDescendants,
    RelationshipTypeValues,
)
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage

from pneumo_monai.forms import Form
from pneumo_monai.report import codes
from pneumo_monai.report.content import container, imaging_procedure, measurement_report, observer, separate
from pneumo_monai.report.groups import text_item
from pneumo_monai.report.impression import impression
from pneumo_monai.report.result import Result
from pneumo_monai.report.structured_report import films_to_refer_to, make_document
from pneumo_monai.report.text import film_texts, method_text

__all__ = ["build_text_report"]

_LINE_BREAK = "\r\n"
"""PS3.5 6.1.3."""


def build_text_report(result: Result) -> Sequence[Dataset]:
    """Build the report on one study as text.

    The tree follows TID 2000 Basic Diagnostic Imaging Report: the impression, what is said of each film, and how the
    films were read; all of it says what a measurement report says.

    Parameters
    ----------
    result : Result
        What is said, of which films.

    Returns
    -------
    sequence of Dataset
        One instance.

    Raises
    ------
    ValueError
        An assessment contradicts its operating point.
    Broken
        A film that was read lacks one of its UIDs, its Rows or its Columns, or belongs to another study.
    """
    films = films_to_refer_to(result)
    measured = measurement_report(result, films)[0]
    root = ContainerContentItem(name=codes.DIAGNOSTIC_IMAGING_REPORT, template_id="2000")
    root.ContentSequence = ContentSequence(
        [
            *LanguageOfContentItemAndDescendants(CodedConcept.from_code(codes.ENGLISH)),
            *observer(result),
            CodeContentItem(
                name=codes.PROCEDURE_REPORTED,
                value=imaging_procedure(result),
                relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
            ),
            container(codes.IMPRESSIONS, [text_item(codes.IMPRESSION, impression(result.outcome))]),
            container(
                codes.FINDINGS,
                [
                    _finding(said, films.get(uid))
                    for said, uid in zip(film_texts(measured), result.outcome.film_uids, strict=True)
                ],
            ),
            container(
                codes.CURRENT_PROCEDURE_DESCRIPTIONS,
                [text_item(codes.PROCEDURE_DESCRIPTION, _in_lines(method_text(measured)))],
            ),
        ]
    )
    separate(root)
    # highdicom has no Basic Text SR; it is an Enhanced SR with no other content than this tree has.
    report = make_document(EnhancedSR, root, result, Form.SR_TEXT, films)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    return [report]


def _finding(said: str, film: Dataset | None) -> ContentItem:
    item = text_item(codes.FINDING, _in_lines(said))
    if film is not None and film.Rows and film.Columns:
        image = ImageContentItem(
            name=codes.SOURCE,
            referenced_sop_class_uid=film.SOPClassUID,
            referenced_sop_instance_uid=film.SOPInstanceUID,
            relationship_type=RelationshipTypeValues.INFERRED_FROM,
        )
        item.ContentSequence = ContentSequence([image])
    return item


def _in_lines(text: str) -> str:
    return _LINE_BREAK.join(text.splitlines())
