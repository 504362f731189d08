"""What leaves the disk and the ledger, and when: films, results, then the rows.

A study is kept as a whole while anything of it is in progress, failed, waits, is undeliverable, or is not committed to
where that is asked for. Then its age counts, since anything last happened to it.

Files go first, rows last. A row whose file is gone is found again by the rule that took the file, and can say so to
whoever asks; a file whose row is gone is found by a search of the disk alone, which is the last resort here too, and
the rule for films that were kept aside: no row names their second name. A row
is not changed when its file goes: the absence of the file is the only mark, so that a film which is sent again is back
without more ado, and no crash leaves two marks that contradict each other.
"""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pneumo_monai.commitments import Commitments
from pneumo_monai.entries import CommitmentState, DeliveryState, FilmState
from pneumo_monai.errors import Reason
from pneumo_monai.instances import encode_header
from pneumo_monai.readings import Readings
from pneumo_monai.records import Records
from pneumo_monai.sections import Retention as RetentionSettings
from pneumo_monai.spool import Spool
from pneumo_monai.suspects import Suspects
from pneumo_monai.tables import ATTEMPTS, COMMITMENTS, DELIVERIES, DOCUMENTS, FILMS, REPORTS, TRANSACTIONS

__all__ = ["Retention"]

_log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400.0
_BITE = 50
"""Studies that are looked at, or removed, before others may use disk and ledger."""

_STRAY_SECONDS = _DAY_SECONDS
"""How old a file must be that no row names: a film is written before its row, a result before its own."""

_FILMS_OPEN = (FilmState.IN_PROGRESS, FilmState.FAILED)
_SLOTS_OPEN = (DeliveryState.PENDING, DeliveryState.UNDELIVERABLE)
_COMMITMENTS_OPEN = (CommitmentState.PENDING, CommitmentState.UNCOMMITTED)


class Retention:
    """Removes what its time has come for.

    Parameters
    ----------
    records : Records
        The ledger's tables.
    spool : Spool
        Films and documents on disk.
    settings : pneumo_monai.sections.Retention
        Days; None: for ever.
    committing : collection of str
        Names of the destinations that are asked to commit: what the others took counts as kept.
    """

    def __init__(
        self, records: Records, spool: Spool, settings: RetentionSettings, committing: Collection[str] = ()
    ) -> None:
        self._records = records
        self._spool = spool
        self._settings = settings
        self._committing = list(committing)
        self._readings = Readings(records.engine)
        self._suspects = Suspects(records.engine)

    def clean(self) -> int:
        """Take one bite, and return of how many studies something was removed; 0: there is nothing left to remove."""
        removed = self._clean_files(self._spool.films, self._settings.films_days)
        removed += self._clean_files(self._spool.documents, self._settings.results_days)
        return removed + self._forget()

    def _clean_files(self, folder: Path, days: float | None) -> int:
        if days is None:
            return 0
        before = time.time() - days * _DAY_SECONDS
        removed = 0
        for studies in _batches(_folders(folder, before), _BITE):
            # Listed before the ledger is asked: of a file that comes in between, nothing is known here.
            listed = {study: [file for file in (folder / study).iterdir() if file.is_file()] for study in studies}
            ages = self._ages(studies)
            for study, files in listed.items():
                last = ages.get(study, 0.0)
                if last is not None and last < before:
                    removed += self._remove(study, files)
                    # A film that comes just now finds no folder, is answered 0xA700, and is sent again.
                    self._spool.drop_folder(folder / study)
            if removed >= _BITE:
                break
        return removed

    def _ages(self, studies: Sequence[str]) -> dict[str, float | None]:
        """Return when anything last happened to each study that the ledger knows; None: it must be kept."""
        ages: dict[str, float | None] = {}
        films, slots = self._records.films(*studies), self._records.deliveries(studies)
        commitments = [c for c in Commitments(self._records.engine).of(studies) if c.destination in self._committing]
        moments = [(film.study_instance_uid, max(film.received_at, film.answered_at or 0.0)) for film in films]
        moments += [(report.study_instance_uid, report.created_at) for report in self._records.reports(studies)]
        moments += [(slot.study_instance_uid, slot.updated_at) for slot in slots]
        moments += [(owed.study_instance_uid, owed.updated_at) for owed in commitments]
        for study, moment in moments:
            ages[study] = max(ages.get(study) or 0.0, moment)
        kept = [film.study_instance_uid for film in films if film.state in _FILMS_OPEN]
        kept += [slot.study_instance_uid for slot in slots if slot.state in _SLOTS_OPEN]
        kept += [owed.study_instance_uid for owed in commitments if owed.state in _COMMITMENTS_OPEN]
        return ages | dict.fromkeys(kept)

    def _remove(self, study: str, files: Iterable[Path]) -> int:
        """Remove files of one study, and return 1 if there were any.

        What a retraction needs of a film or a document that a result speaks of is kept apart: its header.
        """
        named = {self._spool.path(document.path) for document in self._records.documents([study])}
        reported = {uid for report in self._records.reports([study]) for uid in report.films}
        films = {self._spool.path(film.path): film for film in self._records.films(study)}
        subjects = {
            path
            for path, film in films.items()
            if film.sop_instance_uid in reported and film.reason != Reason.CONFLICTING_CONTENT
        }
        removed = 0
        for file in files:
            if file in named or file in subjects:
                if not self._keep_header(study, file):
                    continue
            elif file not in films and file.stat().st_mtime > time.time() - _STRAY_SECONDS:
                continue
            file.unlink(missing_ok=True)
            removed = 1
        return removed

    def _keep_header(self, study: str, file: Path) -> bool:
        try:
            self._spool.keep_header(study, file.name, encode_header(file))
        except Exception as error:  # noqa: BLE001 - of a file that was read before; it stays whole
            _log.warning("a file of study %s stays: its header cannot be kept (%s)", study, type(error).__name__)
            return False
        return True

    def _forget(self) -> int:
        days = self._settings.ledger_days
        if days is None:
            return 0
        before = time.time() - days * _DAY_SECONDS
        self._empty_quarantine(before)
        with self._records.engine.connect() as connection:
            studies = list(connection.execute(self._forgettable(before).limit(_BITE)).scalars())
        for study in studies:
            self._forget_study(study, before)
        return len(studies)

    def _empty_quarantine(self, before: float) -> None:
        """Remove films that were kept aside for somebody to look at, which nobody did for as long as they are known."""
        if self._spool.quarantine.is_dir():
            for file in self._spool.quarantine.iterdir():
                if file.stat().st_mtime < before:
                    file.unlink(missing_ok=True)

    def _forget_study(self, study: str, before: float) -> None:
        films = [film.id for film in self._records.films(study)]
        with self._records.engine.begin() as connection:
            # A film of it may be arriving: it comes before this, and the study is kept, or finds nothing of it.
            self._records.lock_study(connection, study)
            if connection.execute(self._forgettable(before, study)).first() is None:
                return
            self._spool.drop_headers(study)
            for table in (FILMS, REPORTS, DOCUMENTS, DELIVERIES, ATTEMPTS, COMMITMENTS, TRANSACTIONS):
                connection.execute(table.delete().where(table.c.study_instance_uid == study))
            self._readings.forget(connection, study)
        # Their numbers may be given to other films.
        self._suspects.clear(films)

    def _forgettable(self, before: float, study: str | None = None) -> sa.Select[Any]:
        """Return the query for studies of which nothing is open, and to which nothing happened since."""
        uid = FILMS.c.study_instance_uid
        kept = [
            sa.select(uid).where(
                sa.or_(FILMS.c.state.in_(_FILMS_OPEN), FILMS.c.received_at >= before, FILMS.c.answered_at >= before)
            ),
            sa.select(REPORTS.c.study_instance_uid).where(REPORTS.c.created_at >= before),
            sa.select(DELIVERIES.c.study_instance_uid).where(
                sa.or_(DELIVERIES.c.state.in_(_SLOTS_OPEN), DELIVERIES.c.updated_at >= before)
            ),
            sa.select(COMMITMENTS.c.study_instance_uid).where(
                COMMITMENTS.c.destination.in_(self._committing),
                sa.or_(COMMITMENTS.c.state.in_(_COMMITMENTS_OPEN), COMMITMENTS.c.updated_at >= before),
            ),
        ]
        where = [uid.not_in(each) for each in kept] + ([] if study is None else [uid == study])
        return sa.select(uid).where(*where).distinct()


def _folders(folder: Path, before: float) -> Iterator[str]:
    """Yield the names of folders in which nothing was written since: of the others the ledger need not be asked."""
    if folder.is_dir():
        yield from (entry.name for entry in folder.iterdir() if entry.stat().st_mtime < before and entry.is_dir())


def _batches(names: Iterator[str], size: int) -> Iterator[list[str]]:
    while batch := list(islice(names, size)):
        yield batch
