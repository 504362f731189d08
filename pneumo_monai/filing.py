"""A new revision put on disk, and as the ledger enters it: its documents, and what each destination gets of them."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from pneumo_monai.entries import (
    CommitmentRecord,
    DeliveryRecord,
    DeliveryState,
    DocumentRecord,
    OutcomeKind,
    ReportRecord,
    Revision,
)
from pneumo_monai.findings import Outcome, StudyFindings, StudyRefusal
from pneumo_monai.forms import Form
from pneumo_monai.report.documents import Document
from pneumo_monai.retraction import Withdrawal
from pneumo_monai.settings import Destination
from pneumo_monai.spool import Spool
from pneumo_monai.study import NewReport

__all__ = ["file_report", "file_withdrawal"]


def file_report(
    report: NewReport,
    spool: Spool,
    destinations: Collection[Destination],
    *,
    senders: Mapping[str, str] | None = None,
    holders: Collection[str] = (),
) -> Revision:
    """Store a revision with findings, or with a refusal, which only those get who want one of its reasons.

    Parameters
    ----------
    report : NewReport
        What was written.
    spool : Spool
        Where to.
    destinations : collection of Destination
        Those of the configuration.
    senders : Mapping or None
        SOP Instance UID to calling AE title of the films that were received; None: not known.
    holders : collection of str
        Names of those that got the revision before it, or will: each gets this one too, whoever sent the films, for it
        supersedes what they have.
    """
    record = _record(report)
    sent_by = {(senders or {}).get(film) for film in record.films}
    documents = _store(report.documents, record, spool)
    forms = {document.form for document in documents}
    deliveries = [
        slot
        for peer in destinations
        if peer.name in holders or (_is_for(peer, sent_by) and _wants(peer, report.outcome, record.reasons))
        for slot in _slots(record, peer.name, peer.forms, forms)
    ]
    return _revision(record, documents, deliveries, destinations)


def file_withdrawal(
    withdrawal: Withdrawal, spool: Spool, destinations: Collection[Destination], holders: Iterable[str]
) -> Revision:
    """Store a retraction, for those who have what is withdrawn; each gets its rejection note last.

    Parameters
    ----------
    withdrawal : Withdrawal
        What was written.
    spool : Spool
        Where to.
    destinations : collection of Destination
        Those of the configuration.
    holders : iterable of str
        Names of those who have it or may have it. One that is no longer in the configuration is entered too, with a
        note that goes when it is back and somebody asks for that.
    """
    record = _record(withdrawal.report)
    documents = _store(withdrawal.report.documents, record, spool)
    forms = {document.form for document in documents}
    peers = {peer.name: peer for peer in destinations}
    deliveries: list[DeliveryRecord] = []
    for name in sorted(holders):
        notes = _store(withdrawal.notes[name], record, spool, name)
        documents += notes
        if name not in peers:
            deliveries += [_unreachable(record, name)]
            continue
        alternatives = (*peers[name].forms, (Form.REJECTION_NOTE,))
        deliveries += _slots(record, name, alternatives, forms | {note.form for note in notes})
    return _revision(record, documents, deliveries, destinations)


def _revision(
    report: ReportRecord,
    documents: Sequence[DocumentRecord],
    deliveries: Sequence[DeliveryRecord],
    destinations: Collection[Destination],
) -> Revision:
    """Put together what is entered at once: a commitment is owed from then on, whatever happens before it is asked."""
    sent = {slot.destination for slot in deliveries if slot.state is DeliveryState.PENDING}
    commitments = [
        CommitmentRecord(
            study_instance_uid=report.study_instance_uid,
            revision=report.revision,
            destination=peer.name,
            updated_at=report.created_at,
        )
        for peer in destinations
        if peer.storage_commitment is not None and peer.name in sent
    ]
    return Revision(
        report=report, documents=tuple(documents), deliveries=tuple(deliveries), commitments=tuple(commitments)
    )


def _is_for(peer: Destination, sent_by: Collection[str | None]) -> bool:
    return not peer.calling_ae_titles or not set(peer.calling_ae_titles).isdisjoint(sent_by)


def _wants(peer: Destination, outcome: Outcome, reasons: Collection[str]) -> bool:
    return not isinstance(outcome, StudyRefusal) or not set(peer.not_analysed).isdisjoint(reasons)


def _record(report: NewReport) -> ReportRecord:
    outcome = report.outcome
    return ReportRecord(
        study_instance_uid=outcome.study_instance_uid,
        revision=report.revision,
        fingerprint=report.fingerprint,
        outcome=_kind(outcome),
        reasons=_reasons(outcome),
        films=outcome.film_uids,
        model=outcome.model,
        operating_point=outcome.operating_point,
        created_at=time.time(),
    )


def _kind(outcome: Outcome) -> OutcomeKind:
    match outcome:
        case StudyFindings():
            return OutcomeKind.FINDINGS
        case StudyRefusal():
            return OutcomeKind.REFUSAL
    return OutcomeKind.RETRACTION


def _reasons(outcome: Outcome) -> tuple[str, ...]:
    return tuple(sorted({film.reason for film in outcome.films})) if isinstance(outcome, StudyRefusal) else ()


def _store(
    documents: Iterable[Document], report: ReportRecord, spool: Spool, destination: str | None = None
) -> list[DocumentRecord]:
    return [
        DocumentRecord(
            sop_instance_uid=document.sop_instance_uid,
            study_instance_uid=report.study_instance_uid,
            revision=report.revision,
            form=document.form,
            destination=destination,
            sop_class_uid=document.sop_class_uid,
            path=spool.keep_document(report.study_instance_uid, document.sop_instance_uid, document.encoded),
        )
        for document in documents
    ]


def _slots(
    report: ReportRecord, destination: str, alternatives: Sequence[tuple[Form, ...]], there_are: Collection[Form]
) -> list[DeliveryRecord]:
    return [
        DeliveryRecord(
            study_instance_uid=report.study_instance_uid,
            revision=report.revision,
            destination=destination,
            slot=slot,
            alternatives=forms,
            state=DeliveryState.NOTHING if set(forms).isdisjoint(there_are) else DeliveryState.PENDING,
            updated_at=report.created_at,
        )
        for slot, forms in enumerate(alternatives)
    ]


def _unreachable(report: ReportRecord, destination: str) -> DeliveryRecord:
    return DeliveryRecord(
        study_instance_uid=report.study_instance_uid,
        revision=report.revision,
        destination=destination,
        slot=0,
        alternatives=(Form.REJECTION_NOTE,),
        state=DeliveryState.UNDELIVERABLE,
        detail="it has the result, and is no longer in the configuration",
        updated_at=report.created_at,
    )
