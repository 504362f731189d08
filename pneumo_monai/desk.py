"""A worker's desk: what the workflows ask for, done with records, spool, graph and sender."""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from pneumo_monai.delivery import Delivery
from pneumo_monai.entries import (
    INTERNAL,
    DeliveryRecord,
    DeliveryState,
    DocumentRecord,
    Errand,
    FilmAnswer,
    FilmRecord,
    FilmState,
    OutcomeKind,
    ReportRecord,
)
from pneumo_monai.errors import DeliveryError, OutOfResources, Reason, Refused
from pneumo_monai.filing import file_report, file_withdrawal
from pneumo_monai.findings import RetractionCause
from pneumo_monai.forms import Form
from pneumo_monai.priority import Priority
from pneumo_monai.readings import Readings
from pneumo_monai.records import Records
from pneumo_monai.retention import Retention
from pneumo_monai.retraction import Reader, documents_at, withdraw
from pneumo_monai.revisions import Reporting
from pneumo_monai.safekeeping import Safekeeping
from pneumo_monai.settings import Destination
from pneumo_monai.spool import Spool
from pneumo_monai.study import Film, PreviousReport, Study
from pneumo_monai.suspects import Suspects

__all__ = ["Desk"]

_log = logging.getLogger(__name__)

_GONE = (
    "{} films of the study were removed (retention.films_days): send all of them once more, then ask for it with "
    "`pneumo-monai reread`"
)

_NEVER_OPENED_AGAIN = Reason.CONFLICTING_CONTENT
"""Which of two objects under one UID is meant does not become clear by reading them again."""


class Desk:
    """Implements `pneumo_monai.ledger.Work`.

    Parameters
    ----------
    records : Records
        The ledger's tables.
    spool : Spool
        Films and documents on disk.
    destinations : sequence of Destination
        Who gets results, and in which forms.
    delivery : Delivery
        How they get them.
    safekeeping : Safekeeping
        Whether they keep them.
    retention : Retention
        What is removed once it is done with.
    reporting : Reporting
        What is made of a result, for all of them.
    reader : Reader
        What reads here.
    read : callable
        Passes one study through the graph: `pneumo_monai.graph.ResidentGraph.read`.
    read_apart : callable
        Reads one study in a process of its own: `pneumo_monai.reading_process.ReadingProcess.read`.
    """

    def __init__(
        self,
        *,
        records: Records,
        spool: Spool,
        destinations: Sequence[Destination],
        delivery: Delivery,
        safekeeping: Safekeeping,
        retention: Retention,
        reporting: Reporting,
        reader: Reader,
        read: Callable[[Study], Study],
        read_apart: Callable[[Study], Study],
    ) -> None:
        self._records = records
        self._readings = Readings(records.engine)
        self._spool = spool
        self._peers = {destination.name: destination for destination in destinations}
        self._delivery = delivery
        self._safekeeping = safekeeping
        self._retention = retention
        self._reporting = reporting
        self._reader = reader
        self._read = read
        self._read_apart = read_apart
        self._suspects = Suspects(records.engine)
        self.destinations: Sequence[str] = tuple(self._peers)

    def analyse(self, study_instance_uid: str, *, again: bool = False) -> tuple[int, list[str]] | None:
        """Read the films of a study; store, then enter, a revision that says something new."""
        received = self._records.films(study_instance_uid)
        if gone := [film for film in received if _is_read(film, again=again) and self._is_gone(film)]:
            self._answer_without(received, gone, again=again)
            return self._current(study_instance_uid)
        current = self._records.latest_report(study_instance_uid)
        previous = self._previous(current)
        films = [_film(film, self._spool, again=again) for film in received]
        study = Study(
            study_instance_uid=study_instance_uid,
            # What was refused before only matters to a report that speaks of all refusals.
            films=tuple(film for film in films if film.is_open or previous is None),
            previous=previous,
        )
        touched = [film.key for film in study.films if not _is_quarantined(film)]
        suspects = self._suspects.among(touched)
        study = self._read_apart(study) if suspects else self._read(study)
        if any(film.again for film in study.films):
            raise OutOfResources("a film could not be read for want of resources")
        guilty = {film.key for film in study.films if film.key in touched and _is_quarantined(film)}
        for record in received:
            if record.id in guilty:
                self._spool.keep_aside(record.path)
        answered = guilty | {film.key for film in films if film.is_open}
        answers = [_answer(film) for film in study.films if film.key in answered]
        revision = None
        if study.report is not None:
            revision = file_report(
                study.report,
                self._spool,
                self._peers.values(),
                senders={film.sop_instance_uid: film.calling_ae_title for film in received if _is_known(film)},
                holders=self._holders(current),
            )
        found = None if study.report is None else study.report.outcome
        self._records.answer(
            answers, revision, also=None if found is None else partial(self._readings.keep, outcome=found)
        )
        if suspects:
            # The guilty stay suspects: whoever has them read again has them read apart.
            self._suspects.clear(suspects - guilty)
        return self._current(study_instance_uid) if revision is None else _waiting(revision.report, revision.deliveries)

    def _is_gone(self, film: FilmRecord) -> bool:
        return film.state is not FilmState.IN_PROGRESS and not self._spool.path(film.path).exists()

    def _answer_without(self, received: Sequence[FilmRecord], gone: Sequence[FilmRecord], *, again: bool) -> None:
        """Refuse what came late: a result without the films that were read before would contradict the one there is."""
        study = received[0].study_instance_uid
        _log.warning("study %s is not read%s: %s", study, " again" * again, _GONE.format(len(gone)))
        self._records.answer(
            [
                FilmAnswer(
                    film_id=film.id,
                    state=FilmState.REFUSED,
                    reason=Reason.FILMS_REMOVED,
                    detail=_GONE.format(len(gone)),
                )
                for film in received
                if film.state is FilmState.IN_PROGRESS
            ]
        )

    def give_up(self, study_instance_uid: str, why: str) -> None:
        """Enter as failed what is still in progress of a study."""
        open_films = [f for f in self._records.films(study_instance_uid) if f.state is FilmState.IN_PROGRESS]
        self._records.answer(
            [FilmAnswer(film_id=film.id, state=FilmState.FAILED, reason=INTERNAL, detail=why) for film in open_films]
        )

    def retract(self, study_instance_uid: str, revision: int, cause: str, why: str) -> tuple[int, list[str]] | None:
        """Withdraw the result of a study, unless it was since the given revision."""
        reports = self._records.reports([study_instance_uid])
        if not any(r.outcome is OutcomeKind.RETRACTION and r.revision > revision for r in reports):
            self._retract(reports, RetractionCause(cause), why)
        return self._current(study_instance_uid)

    def _retract(self, reports: Sequence[ReportRecord], cause: RetractionCause, why: str) -> None:
        current = reports[-1]
        study = current.study_instance_uid
        # First of all: nothing of it goes out any more, and what went is known.
        self._records.withdraw(study)
        documents = self._records.documents([study])
        known_at = documents_at(reports, documents, self._records.deliveries([study]))
        films = self._records.films(study)
        previous = self._previous(current)
        assert previous is not None  # noqa: S101 - `current` is it
        withdrawal = withdraw(
            current,
            films={f.sop_instance_uid: self._spool.header_path(f.path) for f in films if _is_subject(f, current)},
            cause=cause,
            why=why,
            reader=self._reader,
            previous=previous,
            known_at={name: self._paths(known) for name, known in known_at.items()},
            reporting=self._reporting,
        )
        answers = [
            FilmAnswer(
                film_id=film.id, state=FilmState.REFUSED, reason=Reason.RETRACTED, detail="its result was withdrawn"
            )
            for film in films
            if film.state is FilmState.ANALYSED
        ]
        revision = file_withdrawal(withdrawal, self._spool, self._peers.values(), known_at)
        self._records.answer(answers, revision, also=partial(self._readings.keep, outcome=withdrawal.report.outcome))

    def waiting(self) -> list[Errand]:
        """Return all that waits."""
        return list(dict.fromkeys(slot.errand for slot in self._records.waiting()))

    def priority(self, study_instance_uid: str) -> Priority:
        """Return the priority of a study: that of its first film."""
        return self._records.priority(study_instance_uid)

    def deliver(self, study_instance_uid: str, revision: int, destination: str) -> bool:
        """Send what a destination still has to get of a revision; False when it does not take all of it now."""
        peer = self._peers.get(destination)
        if peer is None:
            why = f"destinations: {destination!r} is no longer in the configuration"
            self._delivery.wait(why, study_instance_uid, revision, destination)
            raise DeliveryError(why)
        return self._delivery.deliver(study_instance_uid, revision, peer)

    def undeliverable(self, study_instance_uid: str, revision: int, destination: str, why: str) -> None:
        """Enter that what still waits was not taken for as long as it was tried."""
        if destination in self._peers:
            self._delivery.give_up(study_instance_uid, revision, self._peers[destination], why)
        for slot in self._records.slots(study_instance_uid, revision, destination):
            self._records.settle(slot, DeliveryState.UNDELIVERABLE, slot.detail or why)

    def next_turn(self, study_instance_uid: str, revision: int, destination: str) -> int | None:
        """Return the turn at a commitment that is due once a delivery has ended."""
        peer = self._peers.get(destination)
        return None if peer is None else self._safekeeping.next_turn(study_instance_uid, revision, peer)

    def commit(self, study_instance_uid: str, revision: int, destination: str, turn: int) -> float | None:
        """Ask a destination to commit to what it got, and return the seconds until it is asked again."""
        peer = self._peers.get(destination)
        return None if peer is None else self._safekeeping.take_turn(study_instance_uid, revision, peer, turn)

    def hurry(self, study_instance_uid: str, revision: int, destination: str, turn: int) -> float | None:
        """Return the shorter pause after a turn that was answered with a failure; None: it was not."""
        return self._safekeeping.hurry(study_instance_uid, revision, destination, turn)

    def owed(self) -> list[tuple[Errand, int]]:
        """Return the commitments that may be asked for, and the next turn of each."""
        return [(errand, turn) for errand, turn in self._safekeeping.owed() if self.is_asked(errand.destination)]

    def is_asked(self, destination: str) -> bool:
        """Tell whether a destination is asked to commit to what it got."""
        peer = self._peers.get(destination)
        return peer is not None and peer.storage_commitment is not None

    def clean(self) -> int:
        """Remove what its time has come for, and return of how many studies; 0: there is nothing left to remove."""
        return self._retention.clean()

    def _current(self, study_instance_uid: str) -> tuple[int, list[str]] | None:
        """Return the current revision and the destinations that it waits for, if any."""
        current = self._records.latest_report(study_instance_uid)
        return None if current is None else _waiting(current, self._records.deliveries([study_instance_uid]))

    def _holders(self, current: ReportRecord | None) -> set[str]:
        """Return the destinations that got the current revision, or still will: not those it was withdrawn from."""
        if current is None or current.outcome is OutcomeKind.RETRACTION:
            return set()
        return {
            slot.destination
            for slot in self._records.deliveries([current.study_instance_uid])
            if slot.revision == current.revision and slot.state is not DeliveryState.WITHDRAWN
        }

    def _previous(self, current: ReportRecord | None) -> PreviousReport | None:
        if current is None:
            return None
        documents = [
            document
            for document in self._records.documents([current.study_instance_uid])
            if document.revision == current.revision and document.destination is None
        ]
        return PreviousReport(
            revision=current.revision, fingerprint=current.fingerprint, documents=tuple(self._paths(documents))
        )

    def _paths(self, documents: Iterable[DocumentRecord]) -> list[tuple[Form, Path]]:
        return [(document.form, self._spool.header_path(document.path)) for document in documents]


def _waiting(report: ReportRecord, deliveries: Iterable[DeliveryRecord]) -> tuple[int, list[str]] | None:
    """Return a revision and the destinations that it waits for, if any."""
    waiting = dict.fromkeys(
        slot.destination
        for slot in deliveries
        if slot.revision == report.revision and slot.state is DeliveryState.PENDING
    )
    return (report.revision, list(waiting)) if waiting else None


def _is_read(film: FilmRecord, *, again: bool) -> bool:
    """Tell whether a film is opened: a refusal is final for the bytes it was given to, until a study is reread."""
    open_again = again and film.reason != _NEVER_OPENED_AGAIN
    return film.state is not FilmState.REFUSED or film.reason is None or open_again


def _film(film: FilmRecord, spool: Spool, *, again: bool) -> Film:
    """Return the item of the graph."""
    refused = None
    if not _is_read(film, again=again) and film.reason is not None:
        refused = Refused(Reason(film.reason), film.detail or "")
    return Film(path=spool.path(film.path), key=film.id, refused=refused)


def _is_quarantined(film: Film) -> bool:
    return film.refused is not None and film.refused.reason is Reason.QUARANTINED


def _is_subject(film: FilmRecord, report: ReportRecord) -> bool:
    """Tell whether a report speaks of a film, and not of other content under the same UID."""
    return film.sop_instance_uid in report.films and _is_known(film)


def _is_known(film: FilmRecord) -> bool:
    return film.reason != Reason.CONFLICTING_CONTENT


def _answer(film: Film) -> FilmAnswer:
    if film.refused is not None:
        return FilmAnswer(
            film_id=film.key, state=FilmState.REFUSED, reason=film.refused.reason, detail=film.refused.detail
        )
    if film.failed is not None:
        return FilmAnswer(film_id=film.key, state=FilmState.FAILED, reason=INTERNAL, detail=film.failed)
    return FilmAnswer(film_id=film.key, state=FilmState.ANALYSED)
