"""Attempts at deliveries that wait: since when they count, when the next one is, and how long it is worth trying."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from pneumo_monai.entries import Errand
from pneumo_monai.sections import Delivery
from pneumo_monai.tables import ATTEMPTS, REPORTS

__all__ = ["AttemptRecord", "Attempts", "is_spent", "pause"]

_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class AttemptRecord:
    """How it stands with the attempts at bringing a revision to a destination.

    Attributes
    ----------
    since : float
        From when its age counts: when the revision was entered, or when a person last asked for it.
    number : int
        How many attempts failed, over all; the next one bears the number after it.
    tried_at, next_at : float or None
        When the last one failed, and when the next one is due. None: there was none, there is none.
    """

    study_instance_uid: str
    revision: int
    destination: str
    since: float
    number: int = 0
    tried_at: float | None = None
    next_at: float | None = None

    @property
    def errand(self) -> Errand:
        """What is to be delivered where."""
        return Errand(self.study_instance_uid, self.revision, self.destination)

    @property
    def summary(self) -> str:
        """One line for people; the time is that of this machine."""
        if self.next_at is None:
            return f"{self.destination}: no further attempt"
        due = datetime.fromtimestamp(self.next_at, UTC).astimezone()
        return f"{self.destination}: attempt {self.number + 1} at {due:%Y-%m-%d %H:%M:%S}"


def pause(patience: Delivery, which: str, age: float) -> float:
    """Return the seconds until the next attempt at something that has waited for `age` seconds.

    It waits as long as it has waited already, so pauses double, and a part of that between a half and the whole, so
    that what failed together does not come back together. The part is drawn from the id of the attempt that failed: a
    workflow that is taken up after a crash asks for the same pause again, and nothing needs to be kept for it.
    """
    drawn = int.from_bytes(hashlib.sha256(which.encode()).digest()[:8]) / 2**64
    return min(max(patience.first_pause, age), patience.longest_pause) * (1.0 + drawn) / 2.0


def is_spent(patience: Delivery, attempts: AttemptRecord, now: float) -> bool:
    """Tell whether an attempt that failed now was the last one.

    It was when the one before it was too old already: a clock that jumps ahead, or a service that was down for
    long, gives nothing up before two attempts, a pause apart, have found it so.
    """
    if attempts.tried_at is None:
        return False
    # Times that lie ahead of the clock were written before it was set back.
    return min(attempts.tried_at, now) - attempts.since >= patience.give_up_after_hours * _SECONDS_PER_HOUR


class Attempts:
    """Reads and writes of the table.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        From `pneumo_monai.tables.connect`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def of(self, errand: Errand) -> AttemptRecord:
        """Return how it stands; before the first attempt failed, the age counts from when the revision was entered."""
        entered = sa.select(REPORTS.c.created_at).where(
            REPORTS.c.study_instance_uid == errand.study_instance_uid, REPORTS.c.revision == errand.revision
        )
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(ATTEMPTS).where(*_is(errand))).mappings().one_or_none()
            since = None if row else connection.execute(entered).scalar()
        if row is not None:
            return AttemptRecord(**row)
        return AttemptRecord(**errand._asdict(), since=time.time() if since is None else since)

    def of_studies(self, study_instance_uids: Iterable[str]) -> list[AttemptRecord]:
        """Return those of some studies that have a next attempt."""
        query = sa.select(ATTEMPTS).where(
            ATTEMPTS.c.study_instance_uid.in_(list(study_instance_uids)), ATTEMPTS.c.next_at.is_not(None)
        )
        return self._read(query)

    def ahead_of(self, moment: float) -> list[AttemptRecord]:
        """Return those whose next attempt lies beyond a moment."""
        return self._read(sa.select(ATTEMPTS).where(ATTEMPTS.c.next_at > moment))

    def failed(self, errand: Errand, number: int, *, since: float, tried_at: float, next_at: float) -> None:
        """Enter an attempt that failed, and when the next one is due."""
        self._enter(errand, number=number, since=since, tried_at=tried_at, next_at=next_at)

    def begin_again(self, errand: Errand) -> None:
        """Let the age count from now, and the next attempt be due."""
        now = time.time()
        self._enter(errand, since=now, next_at=now)

    def is_due(self, errand: Errand) -> None:
        """Enter that the next attempt is due."""
        self._update(errand, next_at=time.time())

    def end(self, errand: Errand) -> None:
        """Enter that there is no next attempt."""
        # Most deliveries end with the first attempt, of which nothing was entered: to look costs less than to write.
        if self._read(sa.select(ATTEMPTS).where(*_is(errand), ATTEMPTS.c.next_at.is_not(None))):
            self._update(errand, next_at=None)

    def _read(self, query: sa.Select[Any]) -> list[AttemptRecord]:
        with self._engine.connect() as connection:
            return [AttemptRecord(**row) for row in connection.execute(query).mappings()]

    def _update(self, errand: Errand, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(ATTEMPTS.update().where(*_is(errand)).values(**values))

    def _enter(self, errand: Errand, **values: Any) -> None:
        with self._engine.begin() as connection:
            if not connection.execute(ATTEMPTS.update().where(*_is(errand)).values(**values)).rowcount:
                connection.execute(ATTEMPTS.insert().values(**{"number": 0, **errand._asdict(), **values}))


def _is(errand: Errand) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        ATTEMPTS.c.study_instance_uid == errand.study_instance_uid,
        ATTEMPTS.c.revision == errand.revision,
        ATTEMPTS.c.destination == errand.destination,
    )
