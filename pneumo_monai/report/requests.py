"""Which procedures were asked for and done: the request and the procedure that a film states (PS3.3 C.17.2)."""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.attributes import items, text
from pneumo_monai.errors import Refused
from pneumo_monai.report.inheritance import inherited_item, is_writable

__all__ = ["procedure_reported", "referenced_requests"]

_IDENTIFIERS = (
    "AccessionNumber",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
)
"""Type 2 in an item of Referenced Request Sequence (0040,A370), and what the film may state of a request."""

_CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
"""Type 1 in an item of a code sequence whose value is short (PS3.3 8.8)."""

_PROCEDURES = ("ProcedureCodeSequence", "RequestedProcedureCodeSequence")
"""What was done says more than what was asked for."""


def referenced_requests(film: Dataset, study_instance_uid: str) -> list[Dataset]:
    """Return the items of Referenced Request Sequence (0040,A370), Type 1C: none where the film knows of no request.

    One item for each of Request Attributes Sequence (0040,0275), completed by what stands in the film itself when it is
    the only one; else one of the film alone.

    Parameters
    ----------
    film : Dataset
        The film; it is not changed.
    study_instance_uid : str
        Of the study that the report belongs to.
    """
    stated = _items(film, "RequestAttributesSequence") or [film]
    made = (_request(film, [item, film] if len(stated) == 1 else [item], study_instance_uid) for item in stated)
    return [request for request in made if request is not None]


def procedure_reported(film: Dataset) -> Code | None:
    """Return the code of the imaging procedure as the film states it; None where it states none that can be written."""
    for source in (film, *_items(film, "RequestAttributesSequence")):
        for keyword in _PROCEDURES:
            code = _code(film, _items(source, keyword))
            if code is not None and is_writable(film, text(code, "CodeMeaning")):
                return Code(*(text(code, part) for part in _CODE))
    return None


def _request(film: Dataset, sources: Sequence[Dataset], study_instance_uid: str) -> Dataset | None:
    request = inherited_item(film, sources, _IDENTIFIERS)
    code = _code(film, [item for source in sources for item in _items(source, "RequestedProcedureCodeSequence")])
    if not request and code is None:
        return None
    for keyword in _IDENTIFIERS:
        if keyword not in request:
            setattr(request, keyword, None)
    request.RequestedProcedureCodeSequence = [] if code is None else [code]
    request.StudyInstanceUID = study_instance_uid
    request.ReferencedStudySequence = []
    return request


def _code(film: Dataset, stated: Iterable[Dataset]) -> Dataset | None:
    """Return the first of some codes that is one, as an item for a report of the film."""
    codes = (inherited_item(film, [item], _CODE) for item in stated)
    return next((code for code in codes if len(code) == len(_CODE)), None)


def _items(source: Dataset, keyword: str) -> Sequence[Dataset]:
    # A film that was refused may hold anything.
    with suppress(Refused):
        return items(source, keyword)
    return ()
