"""A result to one Comprehensive 3D or Comprehensive SR a study (PS3.3 A.35.13, A.35.3)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from highdicom.sr import Comprehensive3DSR, ComprehensiveSR
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from pneumo_monai.equipment import MANUFACTURER
from pneumo_monai.findings import StudyFindings
from pneumo_monai.forms import Form
from pneumo_monai.report.content import measurement_report
from pneumo_monai.report.provenance import SERIES_NUMBERS, stamp
from pneumo_monai.report.result import Result

__all__ = ["build_structured_report"]

_CLASSES: Mapping[Form, type[ComprehensiveSR | Comprehensive3DSR]] = MappingProxyType(
    {Form.SR_COMPREHENSIVE_3D: Comprehensive3DSR, Form.SR_COMPREHENSIVE: ComprehensiveSR}
)


def build_structured_report(result: Result, form: Form = Form.SR_COMPREHENSIVE_3D) -> Sequence[Dataset]:
    """Build the report on one study.

    It is COMPLETE, for all that was asked was done, PRELIMINARY and UNVERIFIED, for no person has read it (PS3.3
    C.17.2).

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
        A film lacks one of its UIDs, its Rows or its Columns, or belongs to another study.
    """
    findings = result.outcome
    assert isinstance(findings, StudyFindings)  # noqa: S101
    evidence = result.references()
    content = measurement_report(result, findings, {item.SOPInstanceUID: item for item in evidence})
    report = _CLASSES[form](
        evidence=evidence,
        content=content[0],
        series_instance_uid=result.series_uid(form),
        series_number=SERIES_NUMBERS[form],
        sop_instance_uid=result.instance_uid(form),
        instance_number=result.revision,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        previous_versions=list(result.superseded.get(form, ())) or None,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    stamp(report, result, form)
    return [report]
