"""Which destinations committed to keep what they got: reads and writes of two tables of the ledger.

A commitment is owed from the moment that a revision is entered. Each request for it is a transaction of its own, and
is entered before it goes: the answer may come to another process, and before the request itself has returned.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from pneumo_monai.entries import (
    CommitmentRecord,
    CommitmentReport,
    CommitmentState,
    DeliveryState,
    Transaction,
)
from pneumo_monai.forms import Form
from pneumo_monai.tables import COMMITMENTS, DELIVERIES, TRANSACTIONS

__all__ = ["RETRY_SECONDS", "Commitments"]

RETRY_SECONDS = 5.0
"""Pause after a turn that failed; it doubles with each turn."""

_OPEN = (CommitmentState.PENDING, CommitmentState.UNCOMMITTED)
"""An answer that comes late is as good as one in time."""


class Commitments:
    """Reads and writes of the tables; every write is idempotent.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        From `pneumo_monai.tables.connect`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def of(self, study_instance_uids: Iterable[str]) -> list[CommitmentRecord]:
        """Return the commitments to all revisions of some studies' results, those of a study in order."""
        return self._records(COMMITMENTS.c.study_instance_uid.in_(list(study_instance_uids)))

    def get(self, study_instance_uid: str, revision: int, destination: str) -> CommitmentRecord | None:
        """Return the commitment of one destination to one revision; None: none is owed."""
        found = self._records(*_key(COMMITMENTS, study_instance_uid, revision, destination))
        return found[0] if found else None

    def pending(self) -> list[CommitmentRecord]:
        """Return all commitments that are owed still."""
        return self._records(COMMITMENTS.c.state == CommitmentState.PENDING)

    def counts(self) -> dict[tuple[str, str], int]:
        """Count commitments by destination and state."""
        columns = (COMMITMENTS.c.destination, COMMITMENTS.c.state)
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns)).all()
        return {(destination, state): int(number) for destination, state, number in rows}

    def transactions(self, record: CommitmentRecord) -> list[Transaction]:
        """Return the requests for a commitment, in order."""
        where = _key(TRANSACTIONS, record.study_instance_uid, record.revision, record.destination)
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(TRANSACTIONS).where(*where).order_by(TRANSACTIONS.c.turn)).mappings()
            return [_transaction(row) for row in rows]

    def begin(self, transaction: Transaction) -> None:
        """Enter a request that is about to go; one that was entered before a crash stays as it is."""
        key = _key(COMMITMENTS, transaction.study_instance_uid, transaction.revision, transaction.destination)
        same = TRANSACTIONS.c.transaction_uid == transaction.transaction_uid
        with self._engine.begin() as connection:
            if connection.execute(sa.select(TRANSACTIONS.c.turn).where(same)).first() is None:
                connection.execute(TRANSACTIONS.insert().values(asdict(transaction)))
            connection.execute(
                COMMITMENTS.update()
                .where(*key)
                .values(
                    turn=transaction.turn,
                    began_at=sa.func.coalesce(COMMITMENTS.c.began_at, transaction.asked_at),
                    updated_at=time.time(),
                )
            )

    def enter(self, report: CommitmentReport) -> Transaction | None:
        """Enter what a destination answered, and return the request it belongs to; None: there was no such request.

        What is neither committed to nor failed is failed: files are deleted for what is entered here. The first answer
        to a request counts. A commitment is there once all that was asked for is committed to, unless a later request
        was told otherwise.
        """
        same = TRANSACTIONS.c.transaction_uid == report.transaction_uid
        with self._engine.begin() as connection:
            row = connection.execute(sa.select(TRANSACTIONS).where(same)).mappings().first()
            if row is None:
                return None
            asked = _transaction(row)
            if asked.answered_at is not None:
                return asked
            failures = {
                uid: report.failures.get(uid, 0)
                for uid in asked.instances
                if uid in report.failures or uid not in report.committed
            }
            connection.execute(TRANSACTIONS.update().where(same).values(answered_at=time.time(), failures=failures))
            self._conclude(connection, asked, failures)
            return _transaction(connection.execute(sa.select(TRANSACTIONS).where(same)).mappings().one())

    def _conclude(self, connection: sa.Connection, asked: Transaction, failures: Mapping[str, int]) -> None:
        later = connection.execute(
            sa.select(TRANSACTIONS.c.failures).where(
                *_key(TRANSACTIONS, asked.study_instance_uid, asked.revision, asked.destination),
                TRANSACTIONS.c.turn > asked.turn,
                TRANSACTIONS.c.answered_at.is_not(None),
            )
        ).scalars()
        if any(later):
            return
        values: dict[str, Any] = {"state": CommitmentState.COMMITTED, "detail": None}
        if failures:
            reasons = ", ".join(sorted({f"0x{reason:04X}" for reason in failures.values()}))
            values = {"detail": f"{len(failures)} of {len(asked.instances)} instances failed, reason {reasons}"}
        connection.execute(
            COMMITMENTS.update()
            .where(
                *_key(COMMITMENTS, asked.study_instance_uid, asked.revision, asked.destination),
                COMMITMENTS.c.state.in_(_OPEN),
            )
            .values(updated_at=time.time(), **values)
        )

    def reopen(self, record: CommitmentRecord, forms: Iterable[Form], lost_at: float) -> None:
        """Let what was delivered in some forms before a moment be sent again, unless the result was withdrawn."""
        is_owed = sa.exists().where(
            *_key(COMMITMENTS, record.study_instance_uid, record.revision, record.destination),
            COMMITMENTS.c.state == CommitmentState.PENDING,
        )
        with self._engine.begin() as connection:
            connection.execute(
                DELIVERIES.update()
                .where(
                    *_key(DELIVERIES, record.study_instance_uid, record.revision, record.destination),
                    DELIVERIES.c.state == DeliveryState.DELIVERED,
                    DELIVERIES.c.form.in_(list(forms)),
                    DELIVERIES.c.updated_at < lost_at,
                    is_owed,
                )
                .values(state=DeliveryState.PENDING, detail="sent again: not committed to", updated_at=time.time())
            )

    def resume(self, record: CommitmentRecord) -> None:
        """Owe a commitment once more, for something was sent after it was there or was given up."""
        self._set(record, (*_OPEN, CommitmentState.COMMITTED), state=CommitmentState.PENDING)

    def explain(self, record: CommitmentRecord, detail: str) -> None:
        """Enter why a commitment is not there yet."""
        self._set(record, (CommitmentState.PENDING,), detail=detail)

    def give_up(self, record: CommitmentRecord, detail: str) -> None:
        """Enter that a commitment is not asked for any more."""
        self._set(record, (CommitmentState.PENDING,), state=CommitmentState.UNCOMMITTED, detail=detail)

    def _set(self, record: CommitmentRecord, states: Iterable[CommitmentState], **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                COMMITMENTS.update()
                .where(
                    *_key(COMMITMENTS, record.study_instance_uid, record.revision, record.destination),
                    COMMITMENTS.c.state.in_(list(states)),
                )
                .values(updated_at=time.time(), **values)
            )

    def _records(self, *where: sa.ColumnElement[bool]) -> list[CommitmentRecord]:
        order = (COMMITMENTS.c.study_instance_uid, COMMITMENTS.c.revision, COMMITMENTS.c.destination)
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(COMMITMENTS).where(*where).order_by(*order)).mappings()
            return [CommitmentRecord(**{**row, "state": CommitmentState(row["state"])}) for row in rows]


def _key(
    table: sa.Table, study_instance_uid: str, revision: int, destination: str
) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        table.c.study_instance_uid == study_instance_uid,
        table.c.revision == revision,
        table.c.destination == destination,
    )


def _transaction(row: sa.RowMapping) -> Transaction:
    return Transaction(**{**row, "instances": tuple(row["instances"])})
