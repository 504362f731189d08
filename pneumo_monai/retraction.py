"""A result that is withdrawn: what supersedes it, and to whom a rejection note says which documents to take away.

The note is that of IHE Imaging Object Change Management (RAD TF-2 4.66): a Key Object Selection Document that lists
what must no longer be shown. A destination that lacks something of what is listed may refuse the whole note, so each
gets one of its own.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydicom.dataset import Dataset

from pneumo_monai.entries import DeliveryRecord, DocumentRecord, OutcomeKind, ReportRecord
from pneumo_monai.errors import Broken, Refused
from pneumo_monai.findings import ModelIdentity, OperatingPoint, RetractionCause, StudyRetraction
from pneumo_monai.forms import Form
from pneumo_monai.instances import read_instance
from pneumo_monai.report.documents import Document, build_documents
from pneumo_monai.revisions import Reporting, next_result, read_documents
from pneumo_monai.study import NewReport, PreviousReport

__all__ = ["Reader", "Withdrawal", "documents_at", "withdraw"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What reads films here, for results of which the ledger does not know by whom they were read."""

    model: ModelIdentity
    operating_point: OperatingPoint


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """The revision that withdraws, and the rejection notes by destination."""

    report: NewReport
    notes: Mapping[str, Sequence[Document]]


def documents_at(
    reports: Sequence[ReportRecord], documents: Sequence[DocumentRecord], deliveries: Sequence[DeliveryRecord]
) -> dict[str, list[DocumentRecord]]:
    """Return, by destination, what it has or may have of a study's result and was not told to take away before.

    That is of every revision after the last retraction: those that were superseded stand there still.

    Parameters
    ----------
    reports, documents, deliveries
        All of one study, in order of revision.
    """
    since = max((r.revision for r in reports if r.outcome is OutcomeKind.RETRACTION), default=0)
    found: dict[str, list[DocumentRecord]] = {}
    for slot in deliveries:
        if slot.revision > since and slot.form is not None:
            found.setdefault(slot.destination, []).extend(
                document
                for document in documents
                if (document.revision, document.form) == (slot.revision, slot.form) and document.destination is None
            )
    return found


def withdraw(
    current: ReportRecord,
    *,
    films: Mapping[str, Path],
    cause: RetractionCause,
    why: str,
    reader: Reader,
    previous: PreviousReport,
    known_at: Mapping[str, Sequence[tuple[Form, Path]]],
    reporting: Reporting,
) -> Withdrawal:
    """Write the revision that withdraws another, and the notes that follow it.

    Parameters
    ----------
    current : ReportRecord
        What is withdrawn.
    films : Mapping
        SOP Instance UID to file of the films that it speaks of.
    cause, why
        See `StudyRetraction`.
    reader : Reader
        Who read the films, where `current` does not say so.
    previous : PreviousReport
        The same as `current`, with its documents.
    known_at : Mapping
        Destination to the documents that it has or may have.
    reporting : Reporting
        In which forms the revision is written.

    Raises
    ------
    Broken
        None of the films can be opened: patient and study are taken over from them.
    """
    study = current.study_instance_uid
    sources = _headers(films)
    if not sources:
        raise Broken(f"no film of study {study} can be opened")
    outcome = StudyRetraction(
        study_instance_uid=study,
        films=tuple(sorted(sources)),
        cause=cause,
        why=why,
        model=current.model or reader.model,
        operating_point=current.operating_point or reader.operating_point,
    )
    result = next_result(
        outcome,
        sources=sources,
        previous=previous,
        began_at=datetime.now(UTC).astimezone(),
        uid_root=reporting.uid_root,
    )
    report = NewReport(
        revision=result.revision,
        fingerprint=hashlib.sha256(f"retraction\n{current.revision}".encode()).hexdigest(),
        outcome=outcome,
        documents=build_documents(result, reporting.forms),
    )
    notes = {
        destination: build_documents(
            replace(result, recipient=destination, superseded=read_documents(documents)), [Form.REJECTION_NOTE]
        )
        for destination, documents in known_at.items()
    }
    return Withdrawal(report=report, notes=notes)


def _headers(films: Mapping[str, Path]) -> dict[str, Dataset]:
    headers: dict[str, Dataset] = {}
    for uid, path in films.items():
        with suppress(Refused, FileNotFoundError):
            headers[uid] = read_instance(path)
            headers[uid].pop("PixelData", None)
    if len(headers) < len(films):
        _log.warning("%d films of a result that is withdrawn cannot be opened", len(films) - len(headers))
    return headers
