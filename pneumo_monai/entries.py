"""What stands in the ledger, as plain values. Times are seconds since the epoch, UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pneumo_monai.findings import ModelIdentity, OperatingPoint
from pneumo_monai.forms import Form
from pneumo_monai.priority import Priority

__all__ = [
    "INTERNAL",
    "CommitmentRecord",
    "CommitmentReport",
    "CommitmentState",
    "DeliveryRecord",
    "DeliveryState",
    "DocumentRecord",
    "Errand",
    "FilmAnswer",
    "FilmRecord",
    "FilmState",
    "OutcomeKind",
    "ReportRecord",
    "Revision",
    "Transaction",
]

INTERNAL = "internal"
"""Reason of what failed in us, beside the `Reason` of what was refused."""


class FilmState(StrEnum):
    """Received = analysed + refused + failed + in progress, always."""

    IN_PROGRESS = "in progress"
    ANALYSED = "analysed"
    REFUSED = "refused"
    FAILED = "failed"


class DeliveryState(StrEnum):
    """Where one slot of a report stands on its way to one destination."""

    PENDING = "pending"
    DELIVERED = "delivered"
    NOTHING = "nothing to send"
    """None of its forms says anything of this result: it counts as done."""
    WITHDRAWN = "withdrawn"
    """The result was retracted before this went."""
    UNDELIVERABLE = "undeliverable"


class CommitmentState(StrEnum):
    """Where the commitment of one destination to one report stands."""

    PENDING = "pending"
    COMMITTED = "committed"
    WITHDRAWN = "withdrawn"
    """The result was retracted before: nobody is asked any more."""
    UNCOMMITTED = "not committed"
    """It was asked for as long as the settings say, and never committed to all of it."""


class Errand(NamedTuple):
    """A revision of a study's result on its way to a destination."""

    study_instance_uid: str
    revision: int
    destination: str


class OutcomeKind(StrEnum):
    """Which of the three outcomes a revision has."""

    FINDINGS = "findings"
    REFUSAL = "refusal"
    RETRACTION = "retraction"


@dataclass(frozen=True, kw_only=True)
class FilmRecord:
    """One received object."""

    id: int
    sop_instance_uid: str
    digest: str
    study_instance_uid: str
    calling_ae_title: str
    path: str
    received_at: float
    state: FilmState
    reason: str | None
    detail: str | None
    answered_at: float | None
    priority: Priority = Priority.ROUTINE


@dataclass(frozen=True, kw_only=True)
class FilmAnswer:
    """What became of one received object."""

    film_id: int
    state: FilmState
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReportRecord:
    """One revision of a study's result; revisions count from 1.

    Attributes
    ----------
    fingerprint : str
        Names what it says: two revisions in a row never say the same.
    reasons : tuple of str
        Why films were refused, when it is a refusal.
    films : tuple of str
        SOP Instance UIDs of the films that it speaks of.
    model, operating_point
        Who read them; None: not known, for the entry is older than this was kept.
    """

    study_instance_uid: str
    revision: int
    fingerprint: str
    outcome: OutcomeKind
    reasons: tuple[str, ...] = ()
    films: tuple[str, ...] = ()
    model: ModelIdentity | None = None
    operating_point: OperatingPoint | None = None
    created_at: float


@dataclass(frozen=True, kw_only=True)
class DocumentRecord:
    """One stored instance of a report; `destination` names the only one that it is for, if it is not for all."""

    sop_instance_uid: str
    study_instance_uid: str
    revision: int
    form: Form
    destination: str | None = None
    sop_class_uid: str
    path: str


@dataclass(frozen=True, kw_only=True)
class DeliveryRecord:
    """One slot of a report on its way to one destination.

    Attributes
    ----------
    slot : int
        Place in the destination's list of forms; slots are sent in this order.
    alternatives : tuple of Form
        What may be sent, the best first.
    form : Form or None
        What was sent, or is being sent; while this is set, the destination may have it.
    detail : str or None
        Why it waits, or why it was not the first alternative that went.
    """

    study_instance_uid: str
    revision: int
    destination: str
    slot: int
    alternatives: tuple[Form, ...]
    state: DeliveryState = DeliveryState.PENDING
    form: Form | None = None
    detail: str | None = None
    updated_at: float

    @property
    def errand(self) -> Errand:
        """What it is a part of."""
        return Errand(self.study_instance_uid, self.revision, self.destination)

    @property
    def summary(self) -> str:
        """One line for people."""
        what = self.form or " or ".join(self.alternatives)
        return f"{self.destination}: {what} {self.state}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, kw_only=True)
class CommitmentRecord:
    """The commitment of one destination to keep what it got of one report.

    Attributes
    ----------
    turn : int
        How often it was asked, less one; -1: not yet.
    began_at : float or None
        When it was asked first.
    detail : str or None
        Why it is not there.
    """

    study_instance_uid: str
    revision: int
    destination: str
    state: CommitmentState = CommitmentState.PENDING
    turn: int = -1
    began_at: float | None = None
    detail: str | None = None
    updated_at: float

    @property
    def errand(self) -> Errand:
        """What is to be committed to, and by whom."""
        return Errand(self.study_instance_uid, self.revision, self.destination)

    @property
    def summary(self) -> str:
        """One line for people."""
        said = f"{self.destination}: storage commitment: {self.state}"
        return said + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One request for Storage Commitment.

    Attributes
    ----------
    transaction_uid : str
        Transaction UID (0008,1195).
    turn : int
        Of the `CommitmentRecord`, when it was asked.
    instances : tuple of str
        SOP Instance UIDs of what was asked for.
    answered_at : float or None
        When an answer came; None: it has not.
    failures : Mapping of str to int
        SOP Instance UID to Failure Reason (0008,1197) of what the answer does not commit to; 0: it does not say why.
    """

    transaction_uid: str
    study_instance_uid: str
    revision: int
    destination: str
    turn: int
    instances: tuple[str, ...]
    asked_at: float
    answered_at: float | None = None
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def errand(self) -> Errand:
        """What was to be committed to, and by whom."""
        return Errand(self.study_instance_uid, self.revision, self.destination)


@dataclass(frozen=True, kw_only=True)
class CommitmentReport:
    """What a commitment SCP answered: SOP Instance UIDs that it keeps, and that it does not, with Failure Reason."""

    transaction_uid: str
    committed: frozenset[str]
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Revision:
    """All that is entered of a new revision at once."""

    report: ReportRecord
    documents: tuple[DocumentRecord, ...] = ()
    deliveries: tuple[DeliveryRecord, ...] = ()
    commitments: tuple[CommitmentRecord, ...] = ()
