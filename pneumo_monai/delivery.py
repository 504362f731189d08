"""What one destination gets of one revision: slot by slot, each in the first form that it takes."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from pneumo_monai.audit import Audit
from pneumo_monai.entries import DeliveryRecord, DeliveryState
from pneumo_monai.errors import DeliveryError, NotAccepted
from pneumo_monai.forms import Form
from pneumo_monai.records import Records
from pneumo_monai.sender import StoragePeer, open_association
from pneumo_monai.settings import Audit as AuditSettings
from pneumo_monai.settings import Destination
from pneumo_monai.spool import Spool

__all__ = ["Delivery"]

_log = logging.getLogger(__name__)


class Delivery:
    """Sends the stored bytes of revisions, and enters what came of it.

    Parameters
    ----------
    records : Records
        The ledger's tables.
    spool : Spool
        Where the documents lie.
    calling_ae_title : str
        How we name ourselves to destinations.
    audit : Audit or None
        Where it is entered what went where; None: nowhere.
    """

    def __init__(self, records: Records, spool: Spool, calling_ae_title: str, audit: Audit | None = None) -> None:
        self._audit = audit or Audit(AuditSettings(), calling_ae_title)
        self._records = records
        self._spool = spool
        self._calling_ae_title = calling_ae_title

    def deliver(self, study_instance_uid: str, revision: int, peer: Destination) -> bool:
        """Send what waits, over one association.

        Returns
        -------
        bool
            Whether nothing waits any longer. What the peer did not take does, and says why.

        Raises
        ------
        DeliveryError
            There is no association.
        """
        slots = self._waiting(study_instance_uid, revision, peer.name)
        if not slots:
            return True
        files = self._files(study_instance_uid, revision, peer.name)
        proposed = [file for slot in slots for form in slot.alternatives for file in files.get(form, ())]
        try:
            with open_association(
                dict.fromkeys(proposed),
                host=peer.host,
                port=peer.port,
                called_ae_title=peer.ae_title,
                calling_ae_title=self._calling_ae_title,
                tls=peer.tls,
            ) as association:
                self._send(slots, files, association)
        except DeliveryError as error:
            self._wait(str(error), *slots)
            raise
        began = {slot.slot for slot in slots}
        now = self._records.slots(study_instance_uid, revision, peer.name)
        sent = [s.form for s in now if s.slot in began and s.state is DeliveryState.DELIVERED and s.form is not None]
        went = [file for form in sent for file in files[form]]
        self._audit.delivered(peer.ae_title, peer.host, study_instance_uid, went)
        return all(slot.state is not DeliveryState.PENDING for slot in now)

    def wait(self, why: str, study_instance_uid: str, revision: int, destination: str) -> None:
        """Enter why what waits cannot be sent now."""
        self._wait(why, *self._waiting(study_instance_uid, revision, destination))

    def give_up(self, study_instance_uid: str, revision: int, peer: Destination, why: str) -> None:
        """Enter in the audit trail that a destination will not get what still waits."""
        files = self._files(study_instance_uid, revision, peer.name)
        slots = self._waiting(study_instance_uid, revision, peer.name)
        left = [file for slot in slots for form in slot.alternatives[:1] for file in files.get(form, ())]
        self._audit.delivered(peer.ae_title, peer.host, study_instance_uid, left, failure=why)

    def _waiting(self, study_instance_uid: str, revision: int, destination: str) -> list[DeliveryRecord]:
        slots = self._records.slots(study_instance_uid, revision, destination)
        return [slot for slot in slots if slot.state is DeliveryState.PENDING]

    def _files(self, study_instance_uid: str, revision: int, destination: str) -> Mapping[Form, Sequence[Path]]:
        files: dict[Form, list[Path]] = {}
        for document in self._records.documents([study_instance_uid]):
            if document.revision == revision and document.destination in (None, destination):
                files.setdefault(document.form, []).append(self._spool.path(document.path))
        return files

    def _send(
        self, slots: Sequence[DeliveryRecord], files: Mapping[Form, Sequence[Path]], association: StoragePeer
    ) -> None:
        held = None
        for slot in slots:
            if Form.REJECTION_NOTE in slot.alternatives and held is not None:
                # It takes the old documents away: what supersedes them goes first, unless it is never taken.
                self._wait(f"waits for what supersedes the result: {held}", slot)
                continue
            try:
                self._send_slot(slot, files, association)
            except NotAccepted as error:
                self._wait(str(error), slot)
            except DeliveryError as error:
                held = str(error)
                self._wait(held, slot)

    def _send_slot(self, slot: DeliveryRecord, files: Mapping[Form, Sequence[Path]], association: StoragePeer) -> None:
        """Send the first alternative that is accepted.

        Raises
        ------
        NotAccepted
            None is.
        DeliveryError
            One was, and could not be sent all the same.
        """
        priority = self._records.priority(slot.study_instance_uid)
        if association.is_gone:
            raise DeliveryError(f"{association.name} ended the association")
        passed: list[str] = []
        for form in slot.alternatives:
            if form not in files:
                passed.append(f"{form} has nothing to say")
                continue
            if all(association.takes(file) for file in files[form]):
                if not self._records.begin_sending(slot, form):
                    return
                try:
                    for file in files[form]:
                        association.store(file, priority, may_be_edited=False)
                except NotAccepted:
                    self._records.begin_sending(slot, None)
                else:
                    detail = f"{form} sent: {', '.join(passed)}" if passed else None
                    self._records.settle(slot, DeliveryState.DELIVERED, detail)
                    return
            passed.append(f"{form} not accepted")
        raise NotAccepted(f"{association.name}: {', '.join(passed)}")

    def _wait(self, why: str, *slots: DeliveryRecord) -> None:
        if news := [slot for slot in slots if slot.detail != why]:
            # Once, not at each attempt: an outage of a night has thousands.
            first = news[0]
            _log.warning(
                "revision %d of study %s waits for %s: %s",
                first.revision,
                first.study_instance_uid,
                first.destination,
                why,
            )
        for slot in news:
            self._records.settle(slot, DeliveryState.PENDING, why)
