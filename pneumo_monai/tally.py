"""Counts of what was received, of what became of it, and of what waits, as the ledger stands."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from pneumo_monai.entries import DeliveryState, FilmState
from pneumo_monai.tables import COMMITMENTS, DELIVERIES, FILMS, REPORTS

__all__ = ["Backlog", "Received", "Tally"]

_SAMPLE = 1000
"""How many of the newest films or deliveries a distribution of durations is drawn from."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """Received objects, counted twice: all of them, and by state and reason."""

    total: int
    by_outcome: Mapping[tuple[str, str | None], int]

    def count(self, state: FilmState) -> int:
        """Return how many are in a state."""
        return sum(number for (known, _), number in self.by_outcome.items() if known == state)

    def reasons(self, state: FilmState) -> dict[str, int]:
        """Return how many are in a state for each reason."""
        return {reason: n for (known, reason), n in self.by_outcome.items() if known == state and reason}

    @property
    def holds(self) -> bool:
        """Whether received = analysed + refused + failed + in progress."""
        return self.total == sum(self.count(state) for state in FilmState)


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What waits.

    Attributes
    ----------
    films, studies : int
        Objects in progress, and the studies they belong to.
    reports : Mapping of str to int
        Revisions that wait for each destination.
    oldest_film : float or None
        When the oldest object in progress was received, seconds since the epoch.
    oldest_report : Mapping of str to float
        When the oldest revision that waits for each destination was made.
    """

    films: int
    studies: int
    oldest_film: float | None
    reports: Mapping[str, int] = field(default_factory=dict)
    oldest_report: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Objects and revisions together."""
        return self.films + sum(self.reports.values())


class Tally:
    """Reads counts.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        From `pneumo_monai.tables.connect`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def received(self, since: float = 0.0, until: float = float("inf")) -> Received:
        """Count the objects that were received in a span of time."""
        within = (FILMS.c.received_at >= since, FILMS.c.received_at < min(until, 1e12))
        # Both counts in one statement: between two of them a film may come.
        total = sa.select(sa.func.count()).select_from(FILMS).where(*within).scalar_subquery()
        query = sa.select(total, FILMS.c.state, FILMS.c.reason, sa.func.count()).where(*within)
        with self._engine.connect() as connection:
            rows = connection.execute(query.group_by(FILMS.c.state, FILMS.c.reason)).all()
        found = {(str(state), reason): int(number) for _, state, reason, number in rows}
        return Received(total=int(rows[0][0]) if rows else 0, by_outcome=found)

    def deliveries(self, since: float = 0.0, until: float = float("inf")) -> dict[tuple[str, str], int]:
        """Count slots by destination and state: those of the current results of studies that received something."""
        return self._of_current_results(DELIVERIES, since, until)

    def commitments(self, since: float = 0.0, until: float = float("inf")) -> dict[tuple[str, str], int]:
        """Count storage commitments by destination and state, of the same results as `deliveries`."""
        return self._of_current_results(COMMITMENTS, since, until)

    def _of_current_results(self, table: sa.Table, since: float, until: float) -> dict[tuple[str, str], int]:
        within = (FILMS.c.received_at >= since, FILMS.c.received_at < min(until, 1e12))
        studies = sa.select(FILMS.c.study_instance_uid).where(*within)
        current = (
            sa.select(REPORTS.c.study_instance_uid, sa.func.max(REPORTS.c.revision).label("revision"))
            .where(REPORTS.c.study_instance_uid.in_(studies))
            .group_by(REPORTS.c.study_instance_uid)
            .subquery()
        )
        same = sa.and_(
            table.c.study_instance_uid == current.c.study_instance_uid,
            table.c.revision == current.c.revision,
        )
        query = sa.select(table.c.destination, table.c.state, sa.func.count()).join(current, same)
        with self._engine.connect() as connection:
            rows = connection.execute(query.group_by(table.c.destination, table.c.state)).all()
        return {(name, state): int(number) for name, state, number in rows}

    def backlog(self) -> Backlog:
        """Return what waits now."""
        study = FILMS.c.study_instance_uid
        films = sa.select(sa.func.count(), sa.func.count(study.distinct()), sa.func.min(FILMS.c.received_at)).where(
            FILMS.c.state == FilmState.IN_PROGRESS
        )
        revision = (DELIVERIES.c.study_instance_uid, DELIVERIES.c.revision, DELIVERIES.c.destination)
        same = sa.and_(
            DELIVERIES.c.study_instance_uid == REPORTS.c.study_instance_uid,
            DELIVERIES.c.revision == REPORTS.c.revision,
        )
        waiting = (
            sa.select(*revision, REPORTS.c.created_at)
            .join(REPORTS, same)
            .where(DELIVERIES.c.state == DeliveryState.PENDING)
            .distinct()
        )
        with self._engine.connect() as connection:
            number, studies, oldest = connection.execute(films).one()
            rows = connection.execute(waiting).all()
        reports = Counter(row.destination for row in rows)
        return Backlog(
            films=int(number),
            studies=int(studies),
            oldest_film=oldest,
            reports=dict(reports),
            oldest_report={name: min(r.created_at for r in rows if r.destination == name) for name in reports},
        )

    def last_film_at(self) -> float | None:
        """Return when the newest object was received, seconds since the epoch."""
        with self._engine.connect() as connection:
            newest: float | None = connection.execute(sa.select(sa.func.max(FILMS.c.received_at))).scalar()
        return newest

    def durations(self, since: float) -> dict[str, list[float]]:
        """Return seconds of what was done since a moment, ascending: a film's until it was answered (``answer``),
        a revision's until a destination had a slot of it (``delivery``)."""
        answered = (
            sa.select(FILMS.c.answered_at - FILMS.c.received_at)
            .where(FILMS.c.answered_at >= since, FILMS.c.received_at <= FILMS.c.answered_at)
            .order_by(FILMS.c.id.desc())
        )
        same = sa.and_(
            DELIVERIES.c.study_instance_uid == REPORTS.c.study_instance_uid,
            DELIVERIES.c.revision == REPORTS.c.revision,
        )
        delivered = (
            sa.select(DELIVERIES.c.updated_at - REPORTS.c.created_at)
            .join(REPORTS, same)
            .where(DELIVERIES.c.state == DeliveryState.DELIVERED, DELIVERIES.c.updated_at >= since)
            .order_by(DELIVERIES.c.updated_at.desc())
        )
        with self._engine.connect() as connection:
            return {
                stage: sorted(connection.execute(query.limit(_SAMPLE)).scalars())
                for stage, query in (("answer", answered), ("delivery", delivered))
            }
