"""What the ledger remembers of films, reports and deliveries.

The tables live in the same database as the workflows. Every write is idempotent: a workflow that runs a step again
after a crash changes nothing.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pneumo_monai.errors import Reason, Retryable
from pneumo_monai.spool import Identity

__all__ = [
    "INTERNAL",
    "DeliveryRecord",
    "DeliveryState",
    "FilmAnswer",
    "FilmRecord",
    "FilmState",
    "Records",
    "ReportRecord",
    "connect",
]


class FilmState(StrEnum):
    """Received = analysed + refused + failed + in progress, always."""

    IN_PROGRESS = "in progress"
    ANALYSED = "analysed"
    REFUSED = "refused"
    FAILED = "failed"


class DeliveryState(StrEnum):
    """Where a report stands on its way to one destination."""

    PENDING = "pending"
    DELIVERED = "delivered"
    UNDELIVERABLE = "undeliverable"


@dataclass(frozen=True, kw_only=True)
class FilmRecord:
    """One received object; times are seconds since the epoch, UTC."""

    id: int
    sop_instance_uid: str
    digest: str
    study_instance_uid: str
    calling_ae_title: str
    path: str
    received_at: float
    state: FilmState
    reason: str | None
    detail: str | None
    answered_at: float | None


@dataclass(frozen=True, kw_only=True)
class FilmAnswer:
    """What became of one received object."""

    film_id: int
    state: FilmState
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReportRecord:
    """One report that was encoded and stored; revisions of a study count from 1."""

    sop_instance_uid: str
    study_instance_uid: str
    revision: int
    fingerprint: str
    path: str
    created_at: float


@dataclass(frozen=True, kw_only=True)
class DeliveryRecord:
    """One report on its way to one destination."""

    report_sop_instance_uid: str
    destination: str
    state: DeliveryState
    detail: str | None
    updated_at: float


INTERNAL = "internal"
"""Reason of what failed in us, beside the `Reason` of what was refused."""

_CREATION_LOCK = 0x706E65756D6F
"""Key of PostgreSQL's advisory lock around the creation of tables."""

_metadata = sa.MetaData()

_films = sa.Table(
    "films",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("sop_instance_uid", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("study_instance_uid", sa.String(64), nullable=False, index=True),
    sa.Column("calling_ae_title", sa.String(16), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("received_at", sa.Float, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("reason", sa.String(32)),
    sa.Column("detail", sa.Text),
    sa.Column("answered_at", sa.Float),
    sa.UniqueConstraint("sop_instance_uid", "digest"),
)
_reports = sa.Table(
    "reports",
    _metadata,
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.UniqueConstraint("study_instance_uid", "revision"),
)
_deliveries = sa.Table(
    "deliveries",
    _metadata,
    sa.Column("report_sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("destination", sa.String(32), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("detail", sa.Text),
    sa.Column("updated_at", sa.Float, nullable=False),
)


def connect(url: str) -> sa.Engine:
    """Open the ledger's database and create the tables that are missing.

    SQLite is set to write-ahead logging with full synchronisation: a commit survives a power cut, and readers do not
    stop the listener.
    """
    if not url.startswith("sqlite"):
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        with engine.begin() as connection:
            # Processes that start together must not create the tables together.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
            _metadata.create_all(connection)
        return engine
    engine = sa.create_engine(url, connect_args={"timeout": 30})

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        # The write lock is taken with the first write, so two writers wait for each other instead of failing.
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA busy_timeout=30000")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    with engine.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        _metadata.create_all(connection)
    return engine


class Records:
    """Reads and writes of the tables.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        From `connect`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def receive(self, identity: Identity, path: str, calling_ae_title: str) -> bool:
        """Enter a received object; return False when the very same one was there already and did not fail.

        Other content under a SOP Instance UID that is known already is entered as refused: which of the two the sender
        means cannot be told.
        """
        with self.engine.begin() as connection:
            self._lock_study(connection, identity.study_instance_uid)
            same_uid = _films.c.sop_instance_uid == identity.sop_instance_uid
            known = connection.execute(sa.select(_films.c.digest, _films.c.state, _films.c.id).where(same_uid)).all()
            for digest, state, film_id in known:
                if digest == identity.digest:
                    return state == FilmState.FAILED and self._take_up_again(connection, film_id)
            digests = {digest for digest, _, _ in known}
            connection.execute(
                _films.insert().values(
                    sop_instance_uid=identity.sop_instance_uid,
                    digest=identity.digest,
                    study_instance_uid=identity.study_instance_uid,
                    calling_ae_title=calling_ae_title,
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

    def _lock_study(self, connection: sa.Connection, study_instance_uid: str) -> None:
        """Let one association at a time look whether an object is known, and enter it if not."""
        if self.engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(study_instance_uid))))

    def _take_up_again(self, connection: sa.Connection, film_id: int) -> bool:
        """Open an object that failed in us: whoever sends it again asks for another attempt."""
        connection.execute(
            _films.update()
            .where(_films.c.id == film_id)
            .values(state=FilmState.IN_PROGRESS, reason=None, detail=None, answered_at=None, received_at=time.time())
        )
        return True

    def films(self, *study_instance_uids: str) -> list[FilmRecord]:
        """Return the objects of some studies, oldest first."""
        query = sa.select(_films).where(_films.c.study_instance_uid.in_(study_instance_uids)).order_by(_films.c.id)
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings()
            return [FilmRecord(**{**row, "state": FilmState(row["state"])}) for row in rows]

    def newest_studies(self, limit: int) -> list[str]:
        """Return the Study Instance UIDs of the studies that last received an object, newest first."""
        newest = sa.func.max(_films.c.id)
        query = sa.select(_films.c.study_instance_uid).group_by(_films.c.study_instance_uid).order_by(newest.desc())
        with self.engine.connect() as connection:
            return list(connection.execute(query.limit(limit)).scalars())

    def open_studies(self) -> list[str]:
        """Return the Study Instance UIDs of the studies with objects in progress."""
        in_progress = sa.select(_films.c.study_instance_uid).where(_films.c.state == FilmState.IN_PROGRESS)
        with self.engine.connect() as connection:
            return list(connection.execute(in_progress.distinct()).scalars())

    def counts(self) -> dict[FilmState, int]:
        """Count the received objects by state; the sum is what was received."""
        query = sa.select(_films.c.state, sa.func.count()).group_by(_films.c.state)
        with self.engine.connect() as connection:
            found = {FilmState(state): number for state, number in connection.execute(query)}
        return {state: found.get(state, 0) for state in FilmState}

    def latest_report(self, study_instance_uid: str) -> ReportRecord | None:
        """Return the current revision of a study's report."""
        query = (
            sa.select(_reports)
            .where(_reports.c.study_instance_uid == study_instance_uid)
            .order_by(_reports.c.revision.desc())
        )
        with self.engine.connect() as connection:
            row = connection.execute(query.limit(1)).mappings().first()
        return None if row is None else ReportRecord(**row)

    def undelivered(self, study_instance_uid: str) -> str | None:
        """Return the SOP Instance UID of a study's current report while it waits for a destination."""
        current = self.latest_report(study_instance_uid)
        if current is None:
            return None
        waits = any(d.state is DeliveryState.PENDING for d in self.deliveries([current.sop_instance_uid]))
        return current.sop_instance_uid if waits else None

    def report(self, sop_instance_uid: str) -> ReportRecord:
        """Return one report."""
        query = sa.select(_reports).where(_reports.c.sop_instance_uid == sop_instance_uid)
        with self.engine.connect() as connection:
            return ReportRecord(**connection.execute(query).mappings().one())

    def reports(self, study_instance_uids: Iterable[str]) -> list[ReportRecord]:
        """Return all revisions of some studies' reports, oldest first."""
        query = sa.select(_reports).where(_reports.c.study_instance_uid.in_(list(study_instance_uids)))
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(_reports.c.created_at)).mappings()
            return [ReportRecord(**row) for row in rows]

    def answer(self, answers: Sequence[FilmAnswer], report: ReportRecord | None, destinations: Sequence[str]) -> None:
        """Enter in one commit what became of a study's objects, its new report and the deliveries it needs.

        Raises
        ------
        Retryable
            Another worker entered this revision first: read the study again.
        """
        try:
            with self.engine.begin() as connection:
                for answer in answers:
                    connection.execute(
                        _films.update()
                        .where(_films.c.id == answer.film_id)
                        .values(state=answer.state, reason=answer.reason, detail=answer.detail, answered_at=time.time())
                    )
                if report is not None:
                    connection.execute(_reports.insert().values(**vars(report)))
                    connection.execute(
                        _deliveries.insert(),
                        [
                            {
                                "report_sop_instance_uid": report.sop_instance_uid,
                                "destination": destination,
                                "state": DeliveryState.PENDING,
                                "updated_at": report.created_at,
                            }
                            for destination in destinations
                        ],
                    ) if destinations else None
        except IntegrityError as error:
            raise Retryable("another worker entered this revision of the report first") from error

    def deliveries(self, report_sop_instance_uids: Iterable[str]) -> list[DeliveryRecord]:
        """Return the deliveries of some reports."""
        query = sa.select(_deliveries).where(_deliveries.c.report_sop_instance_uid.in_(list(report_sop_instance_uids)))
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(_deliveries.c.destination)).mappings()
            return [DeliveryRecord(**{**row, "state": DeliveryState(row["state"])}) for row in rows]

    def set_delivery(self, report: str, destination: str, state: DeliveryState, detail: str | None = None) -> None:
        """Enter where one delivery stands."""
        with self.engine.begin() as connection:
            connection.execute(
                _deliveries.update()
                .where(_deliveries.c.report_sop_instance_uid == report, _deliveries.c.destination == destination)
                .values(state=state, detail=detail, updated_at=time.time())
            )
