"""A result to one Comprehensive 3D or Comprehensive SR a study (PS3.3 A.35.13, A.35.3)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from highdicom.sr import Comprehensive3DSR, ComprehensiveSR, ContentSequence, EnhancedSR
from pydicom.dataset import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from pneumo_monai.equipment import MANUFACTURER
from pneumo_monai.findings import StudyFindings
from pneumo_monai.forms import Form
from pneumo_monai.report import codes
from pneumo_monai.report.inheritance import REQUIRED
from pneumo_monai.report.known_tree import KnownTrees
from pneumo_monai.report.pattern import CONTENT_SEQUENCE
from pneumo_monai.report.provenance import SERIES_NUMBERS, stamp
from pneumo_monai.report.requests import referenced_requests
from pneumo_monai.report.result import Result

__all__ = ["SRClass", "build_structured_report", "films_to_refer_to", "make_document"]

SRClass = type[EnhancedSR | ComprehensiveSR | Comprehensive3DSR]

_CLASSES: Mapping[Form, SRClass] = MappingProxyType(
    {Form.SR_COMPREHENSIVE_3D: Comprehensive3DSR, Form.SR_COMPREHENSIVE: ComprehensiveSR}
)

_trees = KnownTrees()


def build_structured_report(result: Result, form: Form = Form.SR_COMPREHENSIVE_3D) -> Sequence[Dataset]:
    """Build the report on one study.

    Parameters
    ----------
    result : Result
        What is said, of which films. The revision before, if it had this form, is named in Predecessor Documents
        Sequence (0040,A360).
    form : Form
        Which of the two SOP Classes; the content is the same.

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
    return [make_document(_CLASSES[form], _trees.tree(result, films), result, form, films)]


def films_to_refer_to(result: Result) -> dict[str, Dataset]:
    """Return what a tree needs of the films, by SOP Instance UID: of films that were read all, else what is known.

    Raises
    ------
    Broken
        A film that was read lacks one of its UIDs, its Rows or its Columns, or belongs to another study.
    """
    if isinstance(result.outcome, StudyFindings):
        return {str(film.SOPInstanceUID): film for film in result.references()}
    return result.known_references()


def make_document(kind: SRClass, content: Dataset, result: Result, form: Form, films: Mapping[str, Dataset]) -> Dataset:
    """Make an SR document of a content tree: evidence, request, predecessor and flags (PS3.3 C.17.2), then `stamp`.

    It is COMPLETE, for all that was asked was done, PRELIMINARY and UNVERIFIED, for no person has read it.

    Parameters
    ----------
    kind : SRClass
        Of highdicom, for the SOP Class.
    content : Dataset
        Root of the tree.
    result : Result
        What it is of.
    form : Form
        In which form.
    films : Mapping
        What the tree refers to, `films_to_refer_to`: the evidence.
    """
    document = kind(
        evidence=[_stand_in(result, form), *films.values()],
        content=_root_of(content),
        series_instance_uid=result.series_uid(form),
        series_number=SERIES_NUMBERS[form],
        sop_instance_uid=result.instance_uid(form),
        instance_number=result.revision,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        previous_versions=list(result.superseded.get(form, ())) or None,
        requested_procedures=referenced_requests(result.films[0], result.outcome.study_instance_uid) or None,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    _forget_stand_in(document)
    # As it is: what is encoded already need not be decoded.
    document[CONTENT_SEQUENCE] = content.get_item(CONTENT_SEQUENCE)
    if _names_private_codes(content):
        document.CodingSchemeIdentificationSequence = [_private_scheme()]
    stamp(document, result, form)
    return document


def _root_of(content: Dataset) -> Dataset:
    """Return the root of a tree without what it holds: highdicom would copy all of that, twice, which takes longer than
    building it."""
    root = Dataset()
    for tag in content.keys():  # noqa: SIM118 - to iterate is to decode
        if tag != CONTENT_SEQUENCE:
            root.add(content[tag])
    root.ContentSequence = ContentSequence()
    return root


def _stand_in(result: Result, form: Form) -> Dataset:
    """Return a film that is none, for highdicom wants one, and of a class that it knows, for patient and study."""
    film = Dataset()
    film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, result.instance_uid(form)
    film.StudyInstanceUID, film.SeriesInstanceUID = result.outcome.study_instance_uid, result.series_uid(form)
    for keyword in REQUIRED:
        setattr(film, keyword, None)
    return film


def _forget_stand_in(document: Dataset) -> None:
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    study.ReferencedSeriesSequence = [
        series for series in study.ReferencedSeriesSequence if series.SeriesInstanceUID != document.SeriesInstanceUID
    ]
    if not study.ReferencedSeriesSequence:
        del document.CurrentRequestedProcedureEvidenceSequence


def _names_private_codes(content: Dataset) -> bool:
    held = content.get_item(CONTENT_SEQUENCE)
    if held.is_raw:
        return codes.PRIVATE_DESIGNATOR.encode() in held.value
    return any(item.CodingSchemeDesignator == codes.PRIVATE_DESIGNATOR for item in _codes(content))


def _codes(item: Dataset) -> list[Dataset]:
    names = list(item.get("ConceptNameCodeSequence", []))
    return names + [code for child in item.get("ContentSequence", []) for code in _codes(child)]


def _private_scheme() -> Dataset:
    """Return the item of Coding Scheme Identification Sequence (0008,0110) that declares our designator."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = codes.PRIVATE_DESIGNATOR
    scheme.CodingSchemeUID = codes.PRIVATE_SCHEME_UID
    scheme.CodingSchemeName = codes.PRIVATE_SCHEME_NAME
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    return scheme
