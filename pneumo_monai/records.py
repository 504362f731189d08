"""Reads and writes of the ledger's tables.

Every write is idempotent: a workflow that runs a step again after a crash changes nothing.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pneumo_monai.entries import (
    CommitmentState,
    DeliveryRecord,
    DeliveryState,
    DocumentRecord,
    Errand,
    FilmAnswer,
    FilmRecord,
    FilmState,
    OutcomeKind,
    ReportRecord,
    Revision,
)
from pneumo_monai.errors import Reason, Retryable
from pneumo_monai.findings import ModelIdentity, OperatingPoint
from pneumo_monai.forms import Form
from pneumo_monai.priority import Priority
from pneumo_monai.spool import Identity
from pneumo_monai.tables import COMMITMENTS, DELIVERIES, DOCUMENTS, FILMS, REPORTS

__all__ = ["Records"]


class Records:
    """Reads and writes of the tables.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        From `pneumo_monai.tables.connect`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def receive(
        self, identity: Identity, path: str, calling_ae_title: str, priority: Priority = Priority.ROUTINE
    ) -> bool:
        """Enter a received object; return False when the very same one was there already and did not fail.

        Other content under a SOP Instance UID that is known already is entered as refused: which of the two the sender
        means cannot be told.
        """
        with self.engine.begin() as connection:
            self.lock_study(connection, identity.study_instance_uid)
            same_uid = FILMS.c.sop_instance_uid == identity.sop_instance_uid
            known = connection.execute(sa.select(FILMS.c.digest, FILMS.c.state, FILMS.c.id).where(same_uid)).all()
            for digest, state, film_id in known:
                if digest == identity.digest:
                    return state == FilmState.FAILED and self._take_up_again(connection, film_id)
            digests = {digest for digest, _, _ in known}
            connection.execute(
                FILMS.insert().values(
                    sop_instance_uid=identity.sop_instance_uid,
                    digest=identity.digest,
                    study_instance_uid=identity.study_instance_uid,
                    calling_ae_title=calling_ae_title,
                    priority=priority,
                    path=path,
                    received_at=time.time(),
                    state=FilmState.REFUSED if digests else FilmState.IN_PROGRESS,
                    reason=Reason.CONFLICTING_CONTENT if digests else None,
                    detail="an object with this SOP Instance UID and other content was received before"
                    if digests
                    else None,
                    answered_at=time.time() if digests else None,
                )
            )
        return True

    def lock_study(self, connection: sa.Connection, study_instance_uid: str) -> None:
        """Let one transaction at a time look whether an object of a study is known, and enter it if not."""
        if self.engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(study_instance_uid))))

    def _take_up_again(self, connection: sa.Connection, film_id: int) -> bool:
        """Open an object that failed in us: whoever sends it again asks for another attempt."""
        connection.execute(
            FILMS.update()
            .where(FILMS.c.id == film_id)
            .values(state=FilmState.IN_PROGRESS, reason=None, detail=None, answered_at=None, received_at=time.time())
        )
        return True

    def films(self, *study_instance_uids: str) -> list[FilmRecord]:
        """Return the objects of some studies, oldest first."""
        query = sa.select(FILMS).where(FILMS.c.study_instance_uid.in_(study_instance_uids)).order_by(FILMS.c.id)
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings()
            return [_film(row) for row in rows]

    def priority(self, study_instance_uid: str) -> Priority:
        """Return the priority of a study: that of the first film of it, for good.

        A study stays in one queue so that its revisions are made one after the other.
        """
        query = sa.select(FILMS.c.priority).where(FILMS.c.study_instance_uid == study_instance_uid)
        with self.engine.connect() as connection:
            return Priority(connection.execute(query.order_by(FILMS.c.id).limit(1)).scalar() or Priority.ROUTINE)

    def newest_studies(self, limit: int) -> list[str]:
        """Return the Study Instance UIDs of the studies that last received an object, newest first."""
        newest = sa.func.max(FILMS.c.id)
        query = sa.select(FILMS.c.study_instance_uid).group_by(FILMS.c.study_instance_uid).order_by(newest.desc())
        with self.engine.connect() as connection:
            return list(connection.execute(query.limit(limit)).scalars())

    def open_studies(self) -> list[str]:
        """Return the Study Instance UIDs of the studies with objects in progress."""
        in_progress = sa.select(FILMS.c.study_instance_uid).where(FILMS.c.state == FilmState.IN_PROGRESS)
        with self.engine.connect() as connection:
            return list(connection.execute(in_progress.distinct()).scalars())

    def counts(self) -> dict[FilmState, int]:
        """Count the received objects by state; the sum is what was received."""
        query = sa.select(FILMS.c.state, sa.func.count()).group_by(FILMS.c.state)
        with self.engine.connect() as connection:
            found = {FilmState(state): number for state, number in connection.execute(query)}
        return {state: found.get(state, 0) for state in FilmState}

    def latest_report(self, study_instance_uid: str) -> ReportRecord | None:
        """Return the current revision of a study's result."""
        revisions = self.reports([study_instance_uid])
        return revisions[-1] if revisions else None

    def reports(self, study_instance_uids: Iterable[str]) -> list[ReportRecord]:
        """Return all revisions of some studies' results, those of a study in order."""
        query = sa.select(REPORTS).where(REPORTS.c.study_instance_uid.in_(list(study_instance_uids)))
        with self.engine.connect() as connection:
            return [_report(row) for row in connection.execute(query.order_by(REPORTS.c.revision)).mappings()]

    def documents(self, study_instance_uids: Iterable[str]) -> list[DocumentRecord]:
        """Return the instances of all revisions of some studies' results, those of a study in order."""
        query = sa.select(DOCUMENTS).where(DOCUMENTS.c.study_instance_uid.in_(list(study_instance_uids)))
        ordered = query.order_by(DOCUMENTS.c.revision, DOCUMENTS.c.sop_instance_uid)
        with self.engine.connect() as connection:
            rows = connection.execute(ordered).mappings()
            return [DocumentRecord(**{**row, "form": Form(row["form"])}) for row in rows]

    def answer(
        self,
        answers: Sequence[FilmAnswer],
        revision: Revision | None = None,
        also: Callable[[sa.Connection], None] | None = None,
    ) -> None:
        """Enter in one commit what became of a study's objects, its new revision and the deliveries that it needs.

        Parameters
        ----------
        answers : sequence of FilmAnswer
            One an object.
        revision : Revision or None
            With the deliveries.
        also : callable or None
            Enters something else in the same commit.

        Raises
        ------
        Retryable
            Another worker entered this revision first: read the study again.
        """
        try:
            with self.engine.begin() as connection:
                for answer in answers:
                    connection.execute(
                        FILMS.update()
                        .where(FILMS.c.id == answer.film_id)
                        .values(state=answer.state, reason=answer.reason, detail=answer.detail, answered_at=time.time())
                    )
                if revision is not None:
                    _enter(connection, revision)
                if also is not None:
                    also(connection)
        except IntegrityError as error:
            raise Retryable("another worker entered this revision of the report first") from error

    def deliveries(self, study_instance_uids: Iterable[str]) -> list[DeliveryRecord]:
        """Return the slots of all revisions of some studies' results, in the order they are sent in."""
        return self._deliveries(DELIVERIES.c.study_instance_uid.in_(list(study_instance_uids)))

    def slots(self, study_instance_uid: str, revision: int, destination: str) -> list[DeliveryRecord]:
        """Return the slots of one revision for one destination, in the order they are sent in."""
        return self._deliveries(
            DELIVERIES.c.study_instance_uid == study_instance_uid,
            DELIVERIES.c.revision == revision,
            DELIVERIES.c.destination == destination,
        )

    def waiting(self) -> list[DeliveryRecord]:
        """Return all slots that wait."""
        return self._deliveries(DELIVERIES.c.state == DeliveryState.PENDING)

    def not_delivered(self) -> dict[Errand, DeliveryState]:
        """Return what waits, and what is undeliverable of current results, with the one or the other state."""
        current = sa.select(sa.func.max(REPORTS.c.revision)).where(
            REPORTS.c.study_instance_uid == DELIVERIES.c.study_instance_uid
        )
        undeliverable = self._deliveries(
            DELIVERIES.c.state == DeliveryState.UNDELIVERABLE, DELIVERIES.c.revision == current.scalar_subquery()
        )
        # A revision of which one slot waits and another was given up is both: it is revived.
        return {slot.errand: slot.state for slot in (*self.waiting(), *undeliverable)}

    def _deliveries(self, *where: sa.ColumnElement[bool]) -> list[DeliveryRecord]:
        order = (DELIVERIES.c.study_instance_uid, DELIVERIES.c.revision, DELIVERIES.c.destination, DELIVERIES.c.slot)
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(DELIVERIES).where(*where).order_by(*order)).mappings()
            return [_delivery(row) for row in rows]

    def begin_sending(self, slot: DeliveryRecord, form: Form | None) -> bool:
        """Enter in which form a slot is about to be sent; False when it waits no longer and must not be.

        From here on the destination may have it, whatever becomes of us; None: it has nothing after all.
        """
        return self._set(slot, DELIVERIES.c.state == DeliveryState.PENDING, form=form)

    def settle(self, slot: DeliveryRecord, state: DeliveryState, detail: str | None = None) -> None:
        """Enter where a slot stands. What was under way while its result was retracted says so."""
        is_set = self._set(slot, DELIVERIES.c.state == DeliveryState.PENDING, state=state, detail=detail)
        if not is_set and state is DeliveryState.DELIVERED:
            detail = "was under way when the result was retracted"
            self._set(slot, DELIVERIES.c.state == DeliveryState.WITHDRAWN, state=state, detail=detail)

    def withdraw(self, study_instance_uid: str) -> None:
        """Let nothing more of a study's results be sent, nor asked after."""
        with self.engine.begin() as connection:
            for table, pending, withdrawn in (
                (DELIVERIES, DeliveryState.PENDING, DeliveryState.WITHDRAWN),
                (COMMITMENTS, CommitmentState.PENDING, CommitmentState.WITHDRAWN),
            ):
                connection.execute(
                    table.update()
                    .where(table.c.study_instance_uid == study_instance_uid, table.c.state == pending)
                    .values(state=withdrawn, updated_at=time.time())
                )

    def revive(self, errand: Errand) -> None:
        """Let what was undeliverable of a revision wait for its destination again."""
        with self.engine.begin() as connection:
            connection.execute(
                DELIVERIES.update()
                .where(
                    DELIVERIES.c.study_instance_uid == errand.study_instance_uid,
                    DELIVERIES.c.revision == errand.revision,
                    DELIVERIES.c.destination == errand.destination,
                    DELIVERIES.c.state == DeliveryState.UNDELIVERABLE,
                )
                .values(state=DeliveryState.PENDING, updated_at=time.time())
            )

    def _set(self, slot: DeliveryRecord, condition: sa.ColumnElement[bool], **values: Any) -> bool:
        with self.engine.begin() as connection:
            done = connection.execute(
                DELIVERIES.update()
                .where(
                    DELIVERIES.c.study_instance_uid == slot.study_instance_uid,
                    DELIVERIES.c.revision == slot.revision,
                    DELIVERIES.c.destination == slot.destination,
                    DELIVERIES.c.slot == slot.slot,
                    condition,
                )
                .values(updated_at=time.time(), **values)
            )
            return done.rowcount > 0


def _enter(connection: sa.Connection, revision: Revision) -> None:
    report = revision.report
    model = None if report.model is None else asdict(report.model)
    point = None if report.operating_point is None else asdict(report.operating_point)
    connection.execute(REPORTS.insert().values({**vars(report), "model": model, "operating_point": point}))
    tables = (
        (DOCUMENTS, revision.documents),
        (DELIVERIES, revision.deliveries),
        (COMMITMENTS, revision.commitments),
    )
    for table, rows in tables:
        if rows:
            connection.execute(table.insert(), [dict(vars(row)) for row in rows])


def _film(row: sa.RowMapping) -> FilmRecord:
    return FilmRecord(**{**row, "state": FilmState(row["state"]), "priority": Priority(row["priority"])})


def _report(row: sa.RowMapping) -> ReportRecord:
    model, point = row["model"], row["operating_point"]
    return ReportRecord(
        **{
            **row,
            "outcome": OutcomeKind(row["outcome"]),
            "reasons": tuple(row["reasons"]),
            "films": tuple(row["films"]),
            "model": None if model is None else ModelIdentity(**model),
            "operating_point": None if point is None else OperatingPoint(**point),
        }
    )


def _delivery(row: sa.RowMapping) -> DeliveryRecord:
    return DeliveryRecord(
        **{
            **row,
            "alternatives": tuple(map(Form, row["alternatives"])),
            "state": DeliveryState(row["state"]),
            "form": None if row["form"] is None else Form(row["form"]),
        }
    )
