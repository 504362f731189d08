"""What was found, one row a study: how often the finding is present is worth watching, and a report's row does not say.

The table stands apart from the ledger's others: nothing is decided by it, and older ledgers get it as it is needed.
"""

import time

import sqlalchemy as sa

from pneumo_monai.findings import Outcome, StudyFindings

__all__ = ["Readings"]

_READINGS = sa.Table(
    "readings",
    sa.MetaData(),
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("positive", sa.Boolean, nullable=False),
    sa.Column("read_at", sa.Float, nullable=False, index=True),
)


class Readings:
    """Reads and writes of the table.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        From `pneumo_monai.tables.connect`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateTable(_READINGS, if_not_exists=True))
            for index in _READINGS.indexes:
                connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))

    def keep(self, connection: sa.Connection, outcome: Outcome) -> None:
        """Enter what a study's newest revision found, in the transaction that enters the revision.

        A refusal or a retraction takes its row away.
        """
        study = outcome.study_instance_uid
        connection.execute(_READINGS.delete().where(_READINGS.c.study_instance_uid == study))
        if isinstance(outcome, StudyFindings):
            positive = any(film.present for film in outcome.films)
            connection.execute(
                _READINGS.insert().values(study_instance_uid=study, positive=positive, read_at=time.time())
            )

    def forget(self, connection: sa.Connection, study_instance_uid: str) -> None:
        """Take a study's row away, in a transaction that takes away all else that is known of it."""
        connection.execute(_READINGS.delete().where(_READINGS.c.study_instance_uid == study_instance_uid))

    def since(self, moment: float) -> tuple[int, int]:
        """Return how many studies were read since a moment, and in how many of them the finding is present."""
        positive = sa.func.coalesce(sa.func.sum(sa.cast(_READINGS.c.positive, sa.Integer)), 0)
        query = sa.select(sa.func.count(), positive).where(_READINGS.c.read_at >= moment)
        with self._engine.connect() as connection:
            read, found = connection.execute(query).one()
        return int(read), int(found)
