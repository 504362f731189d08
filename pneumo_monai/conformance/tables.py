"""The tables of the statement's sections 1 to 7, as Markdown."""

from collections.abc import Iterable, Sequence

from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pneumo_monai import admission
from pneumo_monai.attributes import label
from pneumo_monai.commitment import commitment_context
from pneumo_monai.conformance.configuration import parameters
from pneumo_monai.conformance.content_tree import templates_of
from pneumo_monai.conformance.markdown import table
from pneumo_monai.conformance.network import (
    accepted_storage,
    association_parameters,
    event_report_statuses,
    name_of,
    proposals,
    scp_statuses,
    scu_statuses,
)
from pneumo_monai.conformance.received import answer_to, attributes_read
from pneumo_monai.conformance.samples import SCENES, Kind, Scene, instances
from pneumo_monai.forms import Form
from pneumo_monai.report.documents import BUILDERS
from pneumo_monai.settings import Destination, Settings

__all__ = [
    "accepted_table",
    "addresses_table",
    "association_table",
    "content_table",
    "event_report_table",
    "outcomes_table",
    "parameters_table",
    "proposals_table",
    "read_table",
    "rejections_table",
    "scp_table",
    "scu_table",
    "services_table",
    "syntaxes_table",
    "templates_table",
    "verification_syntaxes",
]


def _yes(value: bool) -> str:
    return "Y" if value else "N"


def _uids(uids: Iterable[UID]) -> str:
    return ", ".join(uid.name for uid in uids)


def content_table(receiving: AE) -> str:
    """SOP Classes that are read or created (section 1.1)."""
    created = {proposal.sop_class: proposal.forms for proposal in proposals()}
    accepted = list(accepted_storage(receiving))
    read = [sop_class for sop_class in accepted if answer_to(sop_class) is None]
    rows = [
        (
            sop_class.name,
            sop_class,
            ", ".join(created.get(sop_class, ())) or "N",
            _yes(sop_class in read),
            _yes(sop_class in created),
            _yes(sop_class in accepted),
        )
        for sop_class in dict.fromkeys((*read, *created))
    ]
    return table(("SOP Class", "UID", "created, as form", "read", "Storage SCU", "Storage SCP"), rows)


_WHEN = {
    admission.CALLING_AE_TITLE_NOT_RECOGNIZED: "`listener.peers` lacks the calling AE title, or it for this address.",
    admission.CALLED_AE_TITLE_NOT_RECOGNIZED: "Another title is called, and `listener.require_called_ae_title` is set.",
    admission.LOCAL_LIMIT_EXCEEDED: "As many associations are open as may be. Try again later.",
    admission.PROTOCOL_VERSION_NOT_SUPPORTED: "The protocol version is not 1.",
}
_RESULTS = {1: "1, rejected-permanent", 2: "2, rejected-transient"}
_SOURCES = {1: "1, service-user", 2: "2, service-provider (ACSE)", 3: "3, service-provider (presentation)"}


def rejections_table() -> str:
    """Why association requests are rejected (section 7.2.1.2; PS3.8 table 9-21)."""
    rows = [
        (_RESULTS[why.result], _SOURCES[why.source], f"{why.diagnostic}, {why.meaning}", when)
        for why, when in _WHEN.items()
    ]
    return table(("result", "source", "diagnostic", "when"), rows)


def templates_table() -> str:
    """Root templates of each form (section 1.1.1)."""
    rows = [(form, ", ".join(templates_of(form))) for form in BUILDERS if templates_of(form)]
    return table(("form", "root template"), rows)


def services_table(receiving: AE, sending: AE) -> str:
    """DIMSE services by role (section 1.2)."""
    supported = {str(context.abstract_syntax) for context in receiving.supported_contexts}
    requested = {str(context.abstract_syntax) for context in sending.requested_contexts}
    rows = [
        ("Verification", _yes(Verification in requested), _yes(Verification in supported)),
        ("Storage", _yes(bool(proposals())), _yes(bool(supported - {Verification, commitment_context()}))),
        ("Storage Commitment", _yes(commitment_context() in supported), "N"),
    ]
    return table(("service", "SCU", "SCP"), rows)


def outcomes_table() -> str:
    """How many instances each form has of each outcome (section 5.2.5.1)."""
    return table(
        ("form", *(kind.value for kind in Kind)),
        ((form, *(_count(form, kind) for kind in Kind)) for form in BUILDERS),
    )


def _count(form: Form, kind: Kind) -> str:
    def count(scene: Scene) -> int:
        return len(instances(scene).get(form, ()))

    counts = {scene.films: count(scene) for scene in SCENES if scene.kind is kind}
    one, films = counts[1], max(counts)
    return f"{one} a film" if one and counts[films] == films * one > one else str(one or "-")


def read_table() -> str:
    """Attributes of films that are looked at (section 5.2.5.2)."""
    return table(
        ("to tell", "attributes"),
        ((purpose, ", ".join(map(label, keywords))) for purpose, keywords in attributes_read()),
    )


def parameters_table(settings: Settings) -> str:
    """Settings that concern DICOM (section 6.1)."""
    rows = [(f"`{key}`", f"`{default}`", value and f"`{value}`") for key, default, value in parameters(settings)]
    return table(("key", "default", "here"), rows)


def addresses_table(settings: Settings) -> str:
    """AE titles and addresses (section 6.2.5)."""
    listener = settings.listener
    rows = [("Receiving AE", listener.ae_title, listener.host, listener.port, "")]
    rows += [
        (f"destination `{each.name}`", each.ae_title, each.host, each.port, _forms_of(each))
        for each in settings.destinations
    ]
    return table(("application entity", "AE title", "host", "port", "forms"), rows)


def _forms_of(destination: Destination) -> str:
    """Return the forms that a destination gets: of each list, in brackets, the first that it accepts."""
    chosen: Sequence[Sequence[Form]] = getattr(destination, "forms", ())
    return " and ".join(" or else ".join(alternatives) for alternatives in chosen)


def association_table(entity: AE) -> str:
    """Association parameters of an AE (section 7.2)."""
    return table(("parameter", "value"), association_parameters(entity))


def syntaxes_table(receiving: AE) -> str:
    """Transfer syntaxes of every storage SOP Class that is accepted, as they are preferred (section 7.2.1.4)."""
    of_each = {
        tuple(context.transfer_syntax)
        for context in receiving.supported_contexts
        if context.abstract_syntax not in (Verification, commitment_context())
    }
    (syntaxes,) = of_each  # one list holds for all of them: so the page says
    return table(("transfer syntax", "UID"), ((syntax.name, syntax) for syntax in syntaxes))


def _of_verification(receiving: AE) -> tuple[UID, ...]:
    (found,) = (c for c in receiving.supported_contexts if c.abstract_syntax == Verification)
    return tuple(found.transfer_syntax)


def verification_syntaxes(receiving: AE) -> str:
    """Transfer syntaxes of Verification (section 7.2.1.4)."""
    return _uids(_of_verification(receiving))


def accepted_table(receiving: AE) -> str:
    """SOP Classes that are accepted, and what becomes of their objects (section 7.2.1.4)."""
    rows = []
    for sop_class in accepted_storage(receiving):
        reason = answer_to(sop_class)
        rows.append((name_of(sop_class), sop_class, "read, if it is a chest film" if reason is None else f"`{reason}`"))
    return table(("SOP Class", "UID", "then"), rows)


def proposals_table() -> str:
    """Presentation contexts that are proposed for results (section 7.2.2.3)."""
    return table(
        ("SOP Class", "UID", "transfer syntaxes", "form"),
        ((each.sop_class.name, each.sop_class, _uids(each.syntaxes), ", ".join(each.forms)) for each in proposals()),
    )


def scp_table() -> str:
    """Statuses that we answer a C-STORE with (section 7.3.2.5.2)."""
    return table(("service status", "further meaning", "code", "condition"), scp_statuses())


def scu_table() -> str:
    """Statuses that answer us, and what follows (section 7.3.2.5.1)."""
    return table(("service status", "further meaning", "code", "behaviour"), scu_statuses())


def event_report_table() -> str:
    """Statuses that we answer an N-EVENT-REPORT with (section 7.3.2.6)."""
    return table(("further meaning", "code", "condition"), event_report_statuses())
