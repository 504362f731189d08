"""Films, reports and deliveries joined by study: what `status` and the status page show."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from pneumo_monai.attempts import AttemptRecord, Attempts
from pneumo_monai.commitments import Commitments
from pneumo_monai.entries import (
    CommitmentRecord,
    CommitmentState,
    DeliveryRecord,
    DeliveryState,
    DocumentRecord,
    FilmRecord,
    FilmState,
    OutcomeKind,
    ReportRecord,
)
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.records import Records
from pneumo_monai.settings import Settings
from pneumo_monai.tables import connect

__all__ = ["StudyOverview", "open_records", "overview"]

_DONE = frozenset({DeliveryState.DELIVERED, DeliveryState.NOTHING})
_STATES = {
    OutcomeKind.FINDINGS: "reported",
    OutcomeKind.REFUSAL: "refused",
    OutcomeKind.RETRACTION: "retracted",
}

Record = TypeVar("Record", FilmRecord, DocumentRecord, DeliveryRecord, CommitmentRecord, AttemptRecord)


@dataclass(frozen=True, kw_only=True)
class StudyOverview:
    """One study: what was received of it, what became of that, and where its current report stands.

    Attributes
    ----------
    films : tuple of FilmRecord
        All objects received of it.
    report : ReportRecord or None
        Its current revision.
    documents, deliveries, commitments
        Those of the current revision.
    attempts : tuple of AttemptRecord
        When its destinations are tried next.
    """

    study_instance_uid: str
    films: tuple[FilmRecord, ...]
    report: ReportRecord | None
    documents: tuple[DocumentRecord, ...]
    deliveries: tuple[DeliveryRecord, ...]
    commitments: tuple[CommitmentRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()

    @property
    def received_at(self) -> float:
        """When its newest film came, seconds since the epoch."""
        return max(film.received_at for film in self.films)

    @property
    def state(self) -> str:
        """One phrase for the whole study."""
        states = Counter(film.state for film in self.films)
        if states[FilmState.IN_PROGRESS]:
            return "in progress"
        if self.report is None:
            return "failed" if states[FilmState.FAILED] else "refused"
        if any(delivery.state is DeliveryState.UNDELIVERABLE for delivery in self.deliveries):
            return "undeliverable"
        if any(delivery.state is DeliveryState.WITHDRAWN for delivery in self.deliveries):
            # Of the current revision: a retraction was begun, and the log says why it got no further.
            return "withdrawn"
        if not all(delivery.state in _DONE for delivery in self.deliveries):
            return "waiting for delivery"
        if any(commitment.state is CommitmentState.UNCOMMITTED for commitment in self.commitments):
            return "not committed"
        if any(commitment.state is CommitmentState.PENDING for commitment in self.commitments):
            return "waiting for commitment"
        return _STATES[self.report.outcome]

    @property
    def whereabouts(self) -> tuple[str, ...]:
        """Where its current report went or is to go, one line for people each."""
        if self.report is not None and not self.deliveries:
            titles = ", ".join(sorted({film.calling_ae_title for film in self.films}))
            return (f"no destination: none gets results of films of {titles}",)
        return (
            *(delivery.summary for delivery in self.deliveries),
            *(attempt.summary for attempt in self.attempts),
            *(commitment.summary for commitment in self.commitments),
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why films of it were not analysed: ``reason: detail``, each once."""
        return tuple(dict.fromkeys(f"{film.reason}: {film.detail}" for film in self.films if film.reason))


def overview(records: Records, limit: int) -> list[StudyOverview]:
    """Return the `limit` studies that last received an object, newest first."""
    studies = records.newest_studies(limit)
    current = {report.study_instance_uid: report for report in records.reports(studies)}
    films = _by_study(records.films(*studies))
    documents, deliveries = _by_study(records.documents(studies)), _by_study(records.deliveries(studies))
    commitments = _by_study(Commitments(records.engine).of(studies))
    attempts = _by_study(Attempts(records.engine).of_studies(studies))
    return [
        StudyOverview(
            study_instance_uid=study,
            films=tuple(films[study]),
            report=(report := current.get(study)),
            documents=tuple(d for d in documents[study] if report and d.revision == report.revision),
            deliveries=tuple(d for d in deliveries[study] if report and d.revision == report.revision),
            commitments=tuple(c for c in commitments[study] if report and c.revision == report.revision),
            attempts=tuple(a for a in attempts[study] if report and a.revision == report.revision),
        )
        for study in studies
    ]


def _by_study(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        found[record.study_instance_uid].append(record)
    return found


def open_records(settings: Settings) -> Records:
    """Open the ledger of a service that was started before.

    Raises
    ------
    ConfigurationError
        There is none.
    """
    if settings.ledger.url is None and not (settings.data_dir / "ledger.sqlite").exists():
        raise ConfigurationError(f"data_dir: {settings.data_dir} holds no ledger yet; start `pneumo-monai serve` first")
    return Records(connect(settings.ledger_url))
