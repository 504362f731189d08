"""Storage Commitment Push Model SCU: a destination is asked to keep what it got (PS3.4 annex J).

The answer, an N-EVENT-REPORT, comes on the association of the request or, later, on one that the peer opens to the
listener. Both are taken by `take_report`.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from pneumo_monai.attributes import is_uid
from pneumo_monai.entries import CommitmentReport
from pneumo_monai.errors import DeliveryError, NotAccepted
from pneumo_monai.sender import calling_entity, establish
from pneumo_monai.settings import Destination
from pneumo_monai.uids import derive_uid

__all__ = [
    "REPORT_STATUSES",
    "UNRECOGNIZED_OPERATION",
    "commitment_context",
    "request_commitment",
    "take_report",
    "transaction_uid",
]

_log = logging.getLogger(__name__)

_REQUEST_STORAGE_COMMITMENT = 1
"""Action Type ID, PS3.4 table J.3.2-1."""
_EVENT_TYPES = (1, 2)
"""Storage Commitment Request Successful, and Complete - Failures Exist: PS3.4 table J.3.3-1."""

_SUCCESS = 0x0000
_PROCESSING_FAILURE = 0x0110
_NO_SUCH_INSTANCE = 0x0112
_NO_SUCH_EVENT_TYPE = 0x0113
_INVALID_ARGUMENT_VALUE = 0x0115
_RESOURCE_LIMITATION = 0x0213
UNRECOGNIZED_OPERATION = 0x0211
"""What an N-ACTION is answered with: we commit to nothing ourselves."""

REPORT_STATUSES: Mapping[int, tuple[str, str]] = {
    _SUCCESS: ("Success", "The answer is in the ledger, or was there before."),
    _PROCESSING_FAILURE: ("Processing failure", "The Event Information cannot be parsed, or an error of ours."),
    _NO_SUCH_INSTANCE: ("No such SOP Instance", "It is not about the well-known instance of the push model."),
    _NO_SUCH_EVENT_TYPE: ("No such event type", "The Event Type ID is neither 1 nor 2."),
    _INVALID_ARGUMENT_VALUE: (
        "Invalid argument value",
        "The Transaction UID is missing or is none of ours, or its rows are removed (`retention.ledger_days`).",
    ),
    _RESOURCE_LIMITATION: ("Resource limitation", "The ledger cannot commit: the peer may report again later."),
}
"""PS3.7 10.1.1.1.8: status to its meaning, and when an N-EVENT-REPORT is answered with it."""


def commitment_context() -> str:
    """Return the SOP Class that is proposed for a request, and accepted for its answer."""
    return str(StorageCommitmentPushModel)


def transaction_uid(study_instance_uid: str, revision: int, destination: str, turn: int, root: str | None) -> str:
    """Derive the Transaction UID (0008,1195) of one request: a new one each turn, the same again after a crash."""
    return derive_uid("transaction", study_instance_uid, str(revision), destination, str(turn), root=root)


def request_commitment(
    instances: Sequence[tuple[str, str]],
    transaction: str,
    *,
    peer: Destination,
    calling_ae_title: str,
    enter: Callable[[CommitmentReport], bool],
) -> None:
    """Ask a destination to commit to some instances, and take its answer if it comes on the same association.

    Parameters
    ----------
    instances : sequence of tuple of str
        SOP Class UID and SOP Instance UID of each.
    transaction : str
        Transaction UID.
    peer : Destination
        Whom to ask; it has `storage_commitment`.
    calling_ae_title : str
        How we name ourselves: a peer that answers later looks us up under this title.
    enter : callable
        See `take_report`.

    Raises
    ------
    NotAccepted
        The peer does not accept the Storage Commitment Push Model.
    DeliveryError
        There is no association, or the request was not answered with success.
    """
    chosen = peer.storage_commitment
    assert chosen is not None  # noqa: S101 - else there is nothing to ask
    called, host, port = chosen.ae_title or peer.ae_title, chosen.host or peer.host, chosen.port or peer.port
    answered = threading.Event()

    def take(event: Event) -> tuple[int, None]:
        taken = take_report(event, enter)
        answered.set()
        return taken

    entity = calling_entity(calling_ae_title)
    entity.add_requested_context(StorageCommitmentPushModel)
    handlers: list[evt.EventHandlerType] = [
        (evt.EVT_N_EVENT_REPORT, take),
        (evt.EVT_CONN_CLOSE, lambda _: answered.set()),
    ]
    association, name = establish(entity, host=host, port=port, called_ae_title=called, tls=peer.tls, handlers=handlers)
    try:
        if not association.accepted_contexts:
            raise NotAccepted(f"{name} does not accept the Storage Commitment Push Model")
        try:
            status, _ = association.send_n_action(
                _request(instances, transaction),
                _REQUEST_STORAGE_COMMITMENT,
                StorageCommitmentPushModel,
                StorageCommitmentPushModelInstance,
            )
        except RuntimeError as error:
            raise DeliveryError(f"{name} ended the association") from error
        if not status:
            raise DeliveryError(f"{name} did not answer the request for storage commitment")
        if status.Status != _SUCCESS:
            raise DeliveryError(f"{name} answered the request for storage commitment with status 0x{status.Status:04X}")
        answered.wait(chosen.association_seconds)
    finally:
        if association.is_established:
            association.release()


def _request(instances: Sequence[tuple[str, str]], transaction: str) -> Dataset:
    """Return the Action Information, PS3.4 table J.3.2-1."""
    information = Dataset()
    information.TransactionUID = transaction
    information.ReferencedSOPSequence = [_reference(*instance) for instance in instances]
    return information


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item


def take_report(event: Event, enter: Callable[[CommitmentReport], bool]) -> tuple[int, None]:
    """Take an N-EVENT-REPORT, on whichever association, and return the status that it is answered with.

    Parameters
    ----------
    event : pynetdicom.events.Event
        Of an N-EVENT-REPORT request.
    enter : callable
        Enters the answer in the ledger, as often as it comes; False: there was no such request.
    """
    if str(getattr(event.request, "AffectedSOPInstanceUID", None)) != StorageCommitmentPushModelInstance:
        return _NO_SUCH_INSTANCE, None
    if event.event_type not in _EVENT_TYPES:
        return _NO_SUCH_EVENT_TYPE, None
    title = str(event.assoc.requestor.ae_title).strip()
    try:
        report = _report(event.event_information)
        if report is None or not enter(report):
            _log.warning("an answer to a request for storage commitment that nobody made (association of %s)", title)
            return _INVALID_ARGUMENT_VALUE, None
    except sa.exc.SQLAlchemyError as error:
        _log.warning("the ledger did not take an answer about storage commitment (%s)", type(error).__name__)
        return _RESOURCE_LIMITATION, None
    except Exception as error:  # noqa: BLE001 - what a peer sent must not end the association without an answer
        _log.warning("an answer about storage commitment cannot be read (%s)", type(error).__name__)
        return _PROCESSING_FAILURE, None
    return _SUCCESS, None


def _report(information: Dataset) -> CommitmentReport | None:
    """Read the Event Information, PS3.4 table J.3.3-1; None: it names no transaction."""
    transaction = str(information.get("TransactionUID", ""))
    if not is_uid(transaction):
        return None
    committed = (str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence") or ())
    failures = {
        str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason") or 0)
        for item in information.get("FailedSOPSequence") or ()
    }
    return CommitmentReport(transaction_uid=transaction, committed=frozenset(committed), failures=failures)
