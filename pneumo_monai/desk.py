"""A worker's desk: what the workflows ask for, done with records, spool, graph and sender."""

import time
from collections.abc import Callable, Sequence

from pneumo_monai.errors import DeliveryError
from pneumo_monai.records import DeliveryState, FilmAnswer, FilmRecord, FilmState, Records, ReportRecord
from pneumo_monai.sender import send_files
from pneumo_monai.settings import Destination
from pneumo_monai.spool import Spool
from pneumo_monai.study import Film, PreviousReport, Study

__all__ = ["Desk"]


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
        films = [film for film in self._records.films(study_instance_uid) if not _is_conflicting(film)]
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
        report = self._store(study)
        self._records.answer([_answer(film) for film in study.films], report, self.destinations)
        return None if report is None else report.sop_instance_uid

    def give_up(self, study_instance_uid: str, why: str) -> None:
        """Enter as failed what is still in progress of a study."""
        open_films = [f for f in self._records.films(study_instance_uid) if f.state is FilmState.IN_PROGRESS]
        answers = [
            FilmAnswer(film_id=film.id, state=FilmState.FAILED, reason="internal", detail=why) for film in open_films
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
            )
        except DeliveryError as error:
            self._records.set_delivery(report, destination, DeliveryState.PENDING, str(error))
            raise
        self._records.set_delivery(report, destination, DeliveryState.DELIVERED)

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


def _is_conflicting(film: FilmRecord) -> bool:
    return film.state is FilmState.REFUSED and film.reason == "conflicting-content"


def _answer(film: Film) -> FilmAnswer:
    if film.refused is not None:
        return FilmAnswer(
            film_id=film.key, state=FilmState.REFUSED, reason=film.refused.reason, detail=film.refused.detail
        )
    if film.failed is not None:
        return FilmAnswer(film_id=film.key, state=FilmState.FAILED, reason="internal", detail=film.failed)
    return FilmAnswer(film_id=film.key, state=FilmState.ANALYSED)
