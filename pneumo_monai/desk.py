"""A worker's desk: what the workflows ask for, done with records, spool, graph and sender."""

import logging
import time
from collections.abc import Callable, Sequence

from pneumo_monai.errors import DeliveryError, OutOfResources
from pneumo_monai.records import INTERNAL, DeliveryState, FilmAnswer, FilmState, Records, ReportRecord
from pneumo_monai.sender import send_files
from pneumo_monai.settings import Destination
from pneumo_monai.spool import Spool
from pneumo_monai.study import Film, PreviousReport, Study

__all__ = ["Desk"]

_log = logging.getLogger(__name__)


class Desk:
    """Implements `pneumo_monai.ledger.Work`.

    Parameters
    ----------
    records : Records
        The ledger's tables.
    spool : Spool
        Films and reports on disk.
    destinations : sequence of Destination
        Who gets every report.
    calling_ae_title : str
        How we name ourselves to them.
    read : callable
        Passes one study through the graph: `pneumo_monai.graph.ResidentGraph.read`.
    """

    def __init__(
        self,
        *,
        records: Records,
        spool: Spool,
        destinations: Sequence[Destination],
        calling_ae_title: str,
        read: Callable[[Study], Study],
    ) -> None:
        self._records = records
        self._spool = spool
        self._peers = {destination.name: destination for destination in destinations}
        self._calling_ae_title = calling_ae_title
        self._read = read
        self.destinations: Sequence[str] = tuple(self._peers)

    def analyse(self, study_instance_uid: str) -> str | None:
        """Read all films of a study; store, then enter, a report that says something new."""
        # A refusal is final for the bytes it was given to: they are not read again.
        films = [film for film in self._records.films(study_instance_uid) if film.state is not FilmState.REFUSED]
        previous = self._records.latest_report(study_instance_uid)
        study = self._read(
            Study(
                study_instance_uid=study_instance_uid,
                films=tuple(Film(path=self._spool.path(film.path), key=film.id) for film in films),
                previous=None
                if previous is None
                else PreviousReport(
                    revision=previous.revision,
                    fingerprint=previous.fingerprint,
                    path=self._spool.path(previous.path),
                ),
            )
        )
        if any(film.again for film in study.films):
            raise OutOfResources("a film could not be read for want of resources")
        self._records.answer([_answer(film) for film in study.films], self._store(study), self.destinations)
        return self._records.undelivered(study_instance_uid)

    def give_up(self, study_instance_uid: str, why: str) -> None:
        """Enter as failed what is still in progress of a study."""
        open_films = [f for f in self._records.films(study_instance_uid) if f.state is FilmState.IN_PROGRESS]
        answers = [
            FilmAnswer(film_id=film.id, state=FilmState.FAILED, reason=INTERNAL, detail=why) for film in open_films
        ]
        self._records.answer(answers, None, ())

    def deliver(self, report: str, destination: str) -> None:
        """Send the stored bytes of a report, and enter what came of it."""
        peer = self._peers.get(destination)
        if peer is None:
            raise KeyError(f"destination {destination!r} is no longer in the configuration")
        try:
            send_files(
                [self._spool.path(self._records.report(report).path)],
                host=peer.host,
                port=peer.port,
                called_ae_title=peer.ae_title,
                calling_ae_title=self._calling_ae_title,
                tls=peer.tls,
            )
        except DeliveryError as error:
            self._note_failure(report, destination, str(error))
            raise
        self._records.set_delivery(report, destination, DeliveryState.DELIVERED)

    def _note_failure(self, report: str, destination: str, why: str) -> None:
        (known,) = [d for d in self._records.deliveries([report]) if d.destination == destination]
        if known.detail != why:
            # Once, not at each attempt: an outage of a night has thousands.
            _log.warning("report %s waits for %s: %s", report, destination, why)
            self._records.set_delivery(report, destination, DeliveryState.PENDING, why)

    def undeliverable(self, report: str, destination: str, why: str) -> None:
        """Enter that a report was not taken for as long as it was tried."""
        self._records.set_delivery(report, destination, DeliveryState.UNDELIVERABLE, why)

    def _store(self, study: Study) -> ReportRecord | None:
        if study.report is None:
            return None
        new = study.report
        path = self._spool.keep_report(study.study_instance_uid, new.sop_instance_uid, new.encoded)
        return ReportRecord(
            sop_instance_uid=new.sop_instance_uid,
            study_instance_uid=study.study_instance_uid,
            revision=new.revision,
            fingerprint=new.fingerprint,
            path=path,
            created_at=time.time(),
        )


def _answer(film: Film) -> FilmAnswer:
    if film.refused is not None:
        return FilmAnswer(
            film_id=film.key, state=FilmState.REFUSED, reason=film.refused.reason, detail=film.refused.detail
        )
    if film.failed is not None:
        return FilmAnswer(film_id=film.key, state=FilmState.FAILED, reason=INTERNAL, detail=film.failed)
    return FilmAnswer(film_id=film.key, state=FilmState.ANALYSED)
