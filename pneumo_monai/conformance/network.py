"""What is negotiated and answered: the tables of PS3.2 annex N, section 7."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom import sop_class as sop_classes
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pneumo_monai import statuses
from pneumo_monai.commitment import REPORT_STATUSES, commitment_context
from pneumo_monai.conformance.samples import SCENES, instances
from pneumo_monai.forms import Form
from pneumo_monai.report.documents import BUILDERS
from pneumo_monai.sender import SOP_CLASS_NOT_SUPPORTED, is_taken, proposed_syntaxes

__all__ = [
    "Proposal",
    "accepted_storage",
    "association_parameters",
    "event_report_statuses",
    "name_of",
    "proposals",
    "scp_statuses",
    "scu_statuses",
    "stored_syntaxes",
]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One SOP Class that results have, the forms it is for, and the syntaxes it is proposed in."""

    sop_class: UID
    forms: tuple[Form, ...]
    syntaxes: tuple[UID, ...]


def name_of(sop_class: UID) -> str:
    """Return the name of a SOP Class; of one that is newer than pydicom's dictionary, pynetdicom's keyword for it."""
    if sop_class.name != sop_class:
        return sop_class.name
    return next(name for name, known in vars(sop_classes).items() if known == sop_class)


def accepted_storage(entity: AE) -> Iterator[UID]:
    """Yield the storage SOP Classes that are accepted, by name; their transfer syntaxes are the same for each."""
    found = {UID(str(context.abstract_syntax)) for context in entity.supported_contexts} - {
        Verification,
        UID(commitment_context()),
    }
    yield from sorted(found, key=name_of)


def association_parameters(entity: AE) -> Iterator[tuple[str, str]]:
    """Yield names and values of the table of association parameters."""
    yield "Application Context Name", "1.2.840.10008.3.1.1.1"
    yield "Implementation Class UID", str(entity.implementation_class_uid)
    yield "Implementation Version Name", str(entity.implementation_version_name)
    yield "Maximum PDU Length received", f"{entity.maximum_pdu_size} bytes"
    yield "TCP connection time-out", _seconds(entity.connection_timeout)
    yield "ARTIM time-out", _seconds(entity.acse_timeout)
    yield "Time-out for an answer to an association or release request", _seconds(entity.acse_timeout)
    yield "Time-out for an answer to a DIMSE request", _seconds(entity.dimse_timeout)
    yield "Time-out of an association on which nothing is sent", _seconds(entity.network_timeout)


def _seconds(value: float | None) -> str:
    return "that of the operating system" if value is None else f"{value:g} s"


@cache
def proposals() -> tuple[Proposal, ...]:
    """Return what is proposed for results, in the order of their forms."""
    forms: dict[UID, dict[Form, None]] = {}
    syntaxes: dict[UID, dict[UID, None]] = {}
    for form in BUILDERS:
        for instance in (each for scene in SCENES for each in instances(scene).get(form, ())):
            sop_class = UID(str(instance.SOPClassUID))
            forms.setdefault(sop_class, {}).setdefault(form)
            for syntax in proposed_syntaxes(instance.file_meta.TransferSyntaxUID):
                syntaxes.setdefault(sop_class, {}).setdefault(syntax)
    return tuple(
        Proposal(sop_class=sop_class, forms=tuple(of), syntaxes=tuple(syntaxes[sop_class]))
        for sop_class, of in forms.items()
    )


def stored_syntaxes() -> tuple[UID, ...]:
    """Return the transfer syntaxes that results are stored in."""
    documents = (each for scene in SCENES for form in instances(scene).values() for each in form)
    return tuple(dict.fromkeys(UID(str(each.file_meta.TransferSyntaxUID)) for each in documents))


_MEANINGS = {
    "SUCCESS": ("Success", "Success", "The object is on disk and in the ledger; what becomes of it is told elsewhere."),
    "OUT_OF_RESOURCES": (
        "Failure",
        "Refused: Out of Resources",
        "No more than the reserve of the disk is left, the ledger is out of reach, or an error of ours: nothing was "
        "kept. Send again later.",
    ),
    "MISMATCH": (
        "Failure",
        "Error: Data Set does not match SOP Class",
        "A UID is missing, is none, or is not that of the request (`missing-identity`). Sending again does not help.",
    ),
    "CANNOT_UNDERSTAND": (
        "Failure",
        "Error: Cannot understand",
        "The data set cannot be parsed (`unparseable`). Sending again does not help.",
    ),
}
"""Constant of `pneumo_monai.statuses` to service status, further meaning (PS3.4 table B.2-1) and condition."""


def scp_statuses() -> Iterator[Sequence[str]]:
    """Yield the statuses that a C-STORE is answered with: service status, further meaning, code, condition.

    Raises
    ------
    KeyError
        A status is answered that has no meaning here.
    """
    for name, code in sorted(vars(statuses).items(), key=lambda item: str(item[1])):
        if name.isupper():
            service_status, meaning, condition = _MEANINGS[name]
            yield service_status, meaning, f"{code:04X}", condition


_ANSWERS = (
    ("Success", "Success", (0x0000,)),
    ("Warning", "Coercion of Data Elements", (0xB000,)),
    ("Warning", "Data Set does not match SOP Class", (0xB007,)),
    ("Warning", "Elements Discarded", (0xB006,)),
    ("Failure", "SOP Class not supported", (0x0122,)),
    ("Failure", "Not authorized", (0x0124,)),
    ("Failure", "Out of Resources", (0xA700, 0xA7FF)),
    ("Failure", "Data Set does not match SOP Class", (0xA900, 0xA9FF)),
    ("Failure", "Cannot Understand", (0xC000, 0xCFFF)),
    ("-", "any other status", ()),
)
"""PS3.4 table B.2-1 and PS3.7 annex C: what a C-STORE may be answered with."""


def scu_statuses() -> Iterator[Sequence[str]]:
    """Yield the statuses that may answer us: service status, further meaning, code, behaviour."""
    for service_status, meaning, codes in _ANSWERS:
        behaviour = _behaviour(codes or (0x0117, 0xFFFF))
        yield service_status, meaning, "-".join(f"{code:04X}" for code in codes) or "-", behaviour


def _behaviour(codes: Sequence[int]) -> str:
    if all(map(is_taken, codes)):
        return "Delivered."
    if SOP_CLASS_NOT_SUPPORTED in codes:
        return "The next alternative is sent; where there is none, the delivery is tried again."
    return "The delivery is tried again."


def event_report_statuses() -> Iterator[Sequence[str]]:
    """Yield the statuses that an N-EVENT-REPORT is answered with: meaning, code, condition."""
    for code, (meaning, condition) in REPORT_STATUSES.items():
        yield meaning, f"{code:04X}", condition
