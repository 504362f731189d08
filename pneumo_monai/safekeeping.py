"""Whether destinations keep what they got: each is asked, sends again what was lost there, and is asked again.

One call is one turn. When the next one is due is the ledger's business, and so is that a turn follows at all.
"""

import logging
import time
from collections.abc import Sequence

from pneumo_monai.commitment import request_commitment, transaction_uid
from pneumo_monai.commitments import RETRY_SECONDS, Commitments
from pneumo_monai.delivery import Delivery
from pneumo_monai.entries import (
    CommitmentRecord,
    CommitmentReport,
    CommitmentState,
    DeliveryState,
    DocumentRecord,
    Errand,
    Transaction,
)
from pneumo_monai.errors import DeliveryError
from pneumo_monai.records import Records
from pneumo_monai.sections import StorageCommitment
from pneumo_monai.settings import Destination

__all__ = ["LONGEST_PAUSE_SECONDS", "Safekeeping"]

_log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 6 * 3600.0

_DAY_SECONDS = 86_400.0
_MOST_DOUBLINGS = 30


class Safekeeping:
    """Takes turns at the commitments that destinations owe.

    Parameters
    ----------
    records : Records
        The ledger's tables.
    delivery : Delivery
        Sends again what a destination lost.
    calling_ae_title : str
        How we name ourselves; answers come to the listener of this title.
    uid_root : str or None
        Root of Transaction UIDs; None: 2.25.
    """

    def __init__(
        self, records: Records, delivery: Delivery, calling_ae_title: str, uid_root: str | None = None
    ) -> None:
        self._records = records
        self._commitments = Commitments(records.engine)
        self._delivery = delivery
        self._calling_ae_title = calling_ae_title
        self._uid_root = uid_root

    def next_turn(self, study_instance_uid: str, revision: int, peer: Destination) -> int | None:
        """Return the turn that is due once a delivery has ended; None: nothing need be asked."""
        record = self._commitments.get(study_instance_uid, revision, peer.name)
        if record is None or peer.storage_commitment is None or record.state is CommitmentState.WITHDRAWN:
            return None
        committed = {
            uid
            for asked in self._commitments.transactions(record)
            if asked.answered_at is not None
            for uid in asked.instances
            if uid not in asked.failures
        }
        if all(document.sop_instance_uid in committed for document in self._delivered(record)):
            return None
        self._commitments.resume(record)
        return record.turn + 1

    def take_turn(self, study_instance_uid: str, revision: int, peer: Destination, turn: int) -> float | None:
        """Ask a destination, after sending again what it lost.

        Returns
        -------
        float or None
            Seconds until the next turn; None: there is none.
        """
        record = self._commitments.get(study_instance_uid, revision, peer.name)
        if record is None or record.state is not CommitmentState.PENDING or record.turn > turn:
            return None
        chosen = peer.storage_commitment
        if chosen is None:
            # The configuration has changed: nobody asks any more, and what was delivered counts as kept.
            return None
        if record.began_at is not None and time.time() - record.began_at > chosen.give_up_days * _DAY_SECONDS:
            self._give_up(record, chosen)
            return None
        try:
            self._send_again(record, peer)
            self._ask(record, peer, chosen, turn)
        except DeliveryError as error:
            self._explain(record, str(error))
            return _pause(RETRY_SECONDS, turn)
        now = self._commitments.get(study_instance_uid, revision, peer.name)
        is_owed = now is not None and now.state is CommitmentState.PENDING and now.turn == turn
        return _pause(chosen.answer_minutes * 60.0, turn) if is_owed else None

    def hurry(self, study_instance_uid: str, revision: int, destination: str, turn: int) -> float | None:
        """Return the shorter pause after a turn that was answered with a failure meanwhile; None: it was not."""
        record = self._commitments.get(study_instance_uid, revision, destination)
        asked = self._commitments.transactions(record) if record is not None else []
        return _pause(RETRY_SECONDS, turn) if asked and asked[-1].turn == turn and asked[-1].failures else None

    def owed(self) -> list[tuple[Errand, int]]:
        """Return all that may be asked for now, and the next turn of each."""
        due = [record for record in self._commitments.pending() if record.turn >= 0 or self._delivered(record)]
        return [(record.errand, record.turn + 1) for record in due]

    def _send_again(self, record: CommitmentRecord, peer: Destination) -> None:
        """Deliver what the last answer does not commit to.

        Raises
        ------
        DeliveryError
            It is not taken.
        """
        answers = [asked for asked in self._commitments.transactions(record) if asked.answered_at is not None]
        if answers and answers[-1].failures and answers[-1].answered_at is not None:
            lost = [d for d in self._delivered(record) if d.sop_instance_uid in answers[-1].failures]
            self._commitments.reopen(record, {document.form for document in lost}, answers[-1].answered_at)
        if not self._delivery.deliver(record.study_instance_uid, record.revision, peer):
            raise DeliveryError(f"{peer.name} does not take again what it lost")

    def _ask(self, record: CommitmentRecord, peer: Destination, chosen: StorageCommitment, turn: int) -> None:
        """Ask for all that was delivered.

        Raises
        ------
        DeliveryError
            It is not possible to ask, or the request is not taken.
        """
        documents = self._delivered(record)
        if not documents:
            return
        earlier = self._commitments.transactions(record)
        if earlier and earlier[-1].answered_at is None and earlier[-1].turn < turn:
            self._explain(record, f"not answered within {chosen.answer_minutes:g} minutes, asked again")
        uid = transaction_uid(record.study_instance_uid, record.revision, record.destination, turn, self._uid_root)
        self._commitments.begin(
            Transaction(
                transaction_uid=uid,
                study_instance_uid=record.study_instance_uid,
                revision=record.revision,
                destination=record.destination,
                turn=turn,
                instances=tuple(document.sop_instance_uid for document in documents),
                asked_at=time.time(),
            )
        )
        request_commitment(
            [(document.sop_class_uid, document.sop_instance_uid) for document in documents],
            uid,
            peer=peer,
            calling_ae_title=self._calling_ae_title,
            enter=self._enter,
        )

    def _enter(self, report: CommitmentReport) -> bool:
        return self._commitments.enter(report) is not None

    def _delivered(self, record: CommitmentRecord) -> Sequence[DocumentRecord]:
        slots = self._records.slots(record.study_instance_uid, record.revision, record.destination)
        forms = {slot.form for slot in slots if slot.state is DeliveryState.DELIVERED}
        return [
            document
            for document in self._records.documents([record.study_instance_uid])
            if document.revision == record.revision
            and document.form in forms
            and document.destination in (None, record.destination)
        ]

    def _explain(self, record: CommitmentRecord, why: str) -> None:
        if why != record.detail:
            # Once, not at each turn.
            _log.warning(
                "revision %d of study %s is not committed to by %s yet: %s",
                record.revision,
                record.study_instance_uid,
                record.destination,
                why,
            )
        self._commitments.explain(record, why)

    def _give_up(self, record: CommitmentRecord, chosen: StorageCommitment) -> None:
        why = record.detail or f"not committed to within {chosen.give_up_days:g} days"
        _log.error(
            "revision %d of study %s was not committed to by %s within %g days: %s",
            record.revision,
            record.study_instance_uid,
            record.destination,
            chosen.give_up_days,
            why,
        )
        self._commitments.give_up(record, why)


def _pause(first: float, turn: int) -> float:
    return min(first * 2.0 ** min(turn, _MOST_DOUBLINGS), max(first, LONGEST_PAUSE_SECONDS))
