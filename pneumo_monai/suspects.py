"""Films that were at hand when a worker died. Whoever reads one next reads it in a process of its own.

The table stands apart from the ledger's others, as that of `pneumo_monai.readings` does: older ledgers get it as it is
needed.
"""

import time
from collections.abc import Collection

import sqlalchemy as sa

__all__ = ["Suspects"]

_SUSPECTS = sa.Table(
    "suspects",
    sa.MetaData(),
    sa.Column("film_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("since", sa.Float, nullable=False),
)


class Suspects:
    """Reads and writes of the table.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        From `pneumo_monai.tables.connect`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateTable(_SUSPECTS, if_not_exists=True))

    def suspect(self, film_ids: Collection[int]) -> None:
        """Enter films that were at hand; a repeat changes nothing."""
        with self._engine.begin() as connection:
            connection.execute(_SUSPECTS.delete().where(_SUSPECTS.c.film_id.in_(film_ids)))
            if film_ids:
                now = time.time()
                connection.execute(_SUSPECTS.insert(), [{"film_id": film, "since": now} for film in film_ids])

    def among(self, film_ids: Collection[int]) -> frozenset[int]:
        """Return which of some films are suspected."""
        query = sa.select(_SUSPECTS.c.film_id).where(_SUSPECTS.c.film_id.in_(film_ids))
        with self._engine.connect() as connection:
            return frozenset(connection.execute(query).scalars())

    def clear(self, film_ids: Collection[int]) -> None:
        """Lift the suspicion from films that were read alone, and ended nothing."""
        with self._engine.begin() as connection:
            connection.execute(_SUSPECTS.delete().where(_SUSPECTS.c.film_id.in_(film_ids)))
