"""A result as a page to read: one Encapsulated PDF a study (PS3.3 A.45.1)."""

from collections.abc import Sequence

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from pneumo_monai.forms import Form
from pneumo_monai.report.form_codes import CHEST_CAD_REPORT
from pneumo_monai.report.instance import begin_instance
from pneumo_monai.report.page import render_page
from pneumo_monai.report.provenance import SERIES_DESCRIPTIONS, stamp
from pneumo_monai.report.result import Result

__all__ = ["build_encapsulated_pdf"]


def build_encapsulated_pdf(result: Result) -> Sequence[Dataset]:
    """Build the page of a study, whatever its outcome is.

    Returns
    -------
    sequence of Dataset
        One instance.

    Raises
    ------
    ValueError
        An assessment contradicts its operating point.
    """
    instance = begin_instance(result, Form.PDF, EncapsulatedPDFStorage)
    instance.Modality = "DOC"
    instance.ConversionType = "SYN"
    # Encapsulated Document (C.24.2)
    instance.AcquisitionDateTime = None
    # No name is written on the page; a film that is shown on it may have one.
    instance.BurnedInAnnotation = "YES"
    instance.SourceInstanceSequence = [_reference(film) for film in result.known_references().values()]
    instance.DocumentTitle = SERIES_DESCRIPTIONS[Form.PDF]
    instance.ConceptNameCodeSequence = [CodedConcept.from_code(CHEST_CAD_REPORT)]
    instance.VerificationFlag = "UNVERIFIED"
    instance.MIMETypeOfEncapsulatedDocument = "application/pdf"
    page = render_page(result)
    instance.EncapsulatedDocumentLength = len(page)
    instance.EncapsulatedDocument = page + b"\0" * (len(page) % 2)
    stamp(instance, result, Form.PDF)
    return [instance]


def _reference(film: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = film.SOPClassUID, film.SOPInstanceUID
    return reference
