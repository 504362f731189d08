"""A result in the forms that are asked for: which builder makes which."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from pydicom.dataset import Dataset

from pneumo_monai.forms import Form
from pneumo_monai.report.encapsulated_pdf import build_encapsulated_pdf
from pneumo_monai.report.encode import encode
from pneumo_monai.report.key_objects import build_key_objects, build_rejection_note
from pneumo_monai.report.presentation_state import build_presentation_states
from pneumo_monai.report.result import Result
from pneumo_monai.report.secondary_capture import build_secondary_captures
from pneumo_monai.report.structured_report import build_structured_report
from pneumo_monai.report.text_report import build_text_report

__all__ = ["BUILDERS", "Document", "build_documents"]

BUILDERS: Mapping[Form, Callable[[Result], Sequence[Dataset]]] = MappingProxyType(
    {
        Form.SR_COMPREHENSIVE_3D: partial(build_structured_report, form=Form.SR_COMPREHENSIVE_3D),
        Form.SR_COMPREHENSIVE: partial(build_structured_report, form=Form.SR_COMPREHENSIVE),
        Form.SR_TEXT: build_text_report,
        Form.SECONDARY_CAPTURE: build_secondary_captures,
        Form.PRESENTATION_STATE: build_presentation_states,
        Form.KEY_OBJECTS: build_key_objects,
        Form.PDF: build_encapsulated_pdf,
        Form.REJECTION_NOTE: build_rejection_note,
    }
)
"""Form to what makes its instances; none where the form has nothing to say of a result."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One encoded instance of a result: a Part 10 file and what a sender must know of it."""

    form: Form
    sop_class_uid: str
    sop_instance_uid: str
    encoded: bytes


def build_documents(result: Result, forms: Iterable[Form]) -> tuple[Document, ...]:
    """Build and encode a result in some forms, each once, in the order of `Form`."""
    wanted = set(forms)
    return tuple(
        Document(
            form=form,
            sop_class_uid=str(dataset.SOPClassUID),
            sop_instance_uid=str(dataset.SOPInstanceUID),
            encoded=encode(dataset),
        )
        for form in Form
        if form in wanted
        for dataset in BUILDERS[form](result)
    )
