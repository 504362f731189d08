"""The ledger's tables, in the same database as the workflows, and the way to them from an older version's."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from pneumo_monai.entries import DeliveryState, FilmState, OutcomeKind
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.forms import Form
from pneumo_monai.priority import Priority
from pneumo_monai.turns import TakingTurns

__all__ = [
    "ATTEMPTS",
    "COMMITMENTS",
    "DELIVERIES",
    "DOCUMENTS",
    "FILMS",
    "REPORTS",
    "SCHEMA_VERSION",
    "TRANSACTIONS",
    "connect",
    "found_version",
    "look_at",
]

SCHEMA_VERSION = 3
_CREATION_LOCK = 0x706E65756D6F
"""Key of PostgreSQL's advisory lock around the creation of tables."""

_metadata = sa.MetaData()

_SCHEMA = sa.Table("schema_version", _metadata, sa.Column("version", sa.Integer, nullable=False))

FILMS = sa.Table(
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
    sa.Column("priority", sa.String(8), nullable=False, server_default=Priority.ROUTINE),
    sa.UniqueConstraint("sop_instance_uid", "digest"),
)
REPORTS = sa.Table(
    "reports",
    _metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("films", sa.JSON, nullable=False),
    sa.Column("model", sa.JSON(none_as_null=True)),
    sa.Column("operating_point", sa.JSON(none_as_null=True)),
    sa.Column("created_at", sa.Float, nullable=False),
)
DOCUMENTS = sa.Table(
    "documents",
    _metadata,
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), nullable=False, index=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("form", sa.String(32), nullable=False),
    sa.Column("destination", sa.String(32)),
    sa.Column("sop_class_uid", sa.String(64), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
)
DELIVERIES = sa.Table(
    "deliveries",
    _metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("destination", sa.String(32), primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("alternatives", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("form", sa.String(32)),
    sa.Column("detail", sa.Text),
    sa.Column("updated_at", sa.Float, nullable=False),
)
ATTEMPTS = sa.Table(
    "attempts",
    _metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("destination", sa.String(32), primary_key=True),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("tried_at", sa.Float),
    sa.Column("next_at", sa.Float, index=True),
)
COMMITMENTS = sa.Table(
    "commitments",
    _metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("destination", sa.String(32), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("began_at", sa.Float),
    sa.Column("detail", sa.Text),
    sa.Column("updated_at", sa.Float, nullable=False),
)
TRANSACTIONS = sa.Table(
    "transactions",
    _metadata,
    sa.Column("transaction_uid", sa.String(64), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), nullable=False, index=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("destination", sa.String(32), nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("instances", sa.JSON, nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False),
    sa.Column("answered_at", sa.Float),
    sa.Column("failures", sa.JSON, nullable=False),
)


def connect(url: str, *, connections: int = 10) -> sa.Engine:
    """Open the ledger's database; create the tables that are missing, and bring older ones up to this version.

    SQLite is set to write-ahead logging with full synchronisation: a commit survives a power cut, and readers do not
    stop the listener. Its writers take turns, see `pneumo_monai.turns`.

    Parameters
    ----------
    url : str
        ``sqlite:///...`` or ``postgresql://...``.
    connections : int
        To SQLite, at most: whoever needs one more waits. Each has open files and a cache of its own.

    Raises
    ------
    ConfigurationError
        The tables are of a later version than this program.
    """
    if not url.startswith("sqlite"):
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        with engine.begin() as connection:
            # Processes that start together must not create the tables together.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
            _bring_up(connection)
        return engine
    engine = sa.create_engine(
        url, connect_args={"timeout": 30, "factory": TakingTurns}, pool_size=connections, max_overflow=0
    )

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        # The write lock is taken with the first write, so two writers wait for each other instead of failing.
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA busy_timeout=30000")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        # The workflows' tables have foreign keys.
        connection.execute("PRAGMA foreign_keys=ON")

    with engine.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        _bring_up(connection)
    return engine


def look_at(url: str) -> sa.Engine:
    """Open the ledger's database to read it as it is: nothing is created, and nothing brought up."""
    parsed = sa.make_url(url)
    if parsed.drivername == "postgresql":
        return sa.create_engine(parsed.set(drivername="postgresql+psycopg"), connect_args={"connect_timeout": 10})
    return sa.create_engine(f"sqlite:///file:{quote(parsed.database or '')}?mode=ro&uri=true")


def _bring_up(connection: sa.Connection) -> None:
    version = found_version(connection)
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"the ledger was written by a later version (its tables have version {version}, this program knows "
            f"{SCHEMA_VERSION}): install that version again, or name another ledger (data_dir, ledger.url)"
        )
    if version == SCHEMA_VERSION:
        return
    if version == 1:
        _bring_up_from_1(connection)
    _metadata.create_all(connection)
    if version in (1, 2):
        _bring_up_from_2(connection)
    connection.execute(_SCHEMA.delete())
    connection.execute(_SCHEMA.insert().values(version=SCHEMA_VERSION))


def found_version(connection: sa.Connection) -> int:
    """Return the version of the tables that are there; 0: none."""
    names = sa.inspect(connection).get_table_names()
    if _SCHEMA.name in names:
        return int(connection.execute(sa.select(_SCHEMA.c.version)).scalar_one())
    return 1 if FILMS.name in names else 0


def _bring_up_from_1(connection: sa.Connection) -> None:
    """Bring up tables without a version: a report was one Comprehensive 3D SR there, a destination got just that."""
    reports, deliveries = (_rows(connection, name) for name in (REPORTS.name, DELIVERIES.name))
    for name in (DELIVERIES.name, REPORTS.name):
        sa.Table(name, sa.MetaData()).drop(connection)
    _metadata.create_all(connection)
    analysed: dict[str, list[str]] = {}
    query = sa.select(FILMS.c.study_instance_uid, FILMS.c.sop_instance_uid).where(FILMS.c.state == FilmState.ANALYSED)
    for study, film in connection.execute(query.order_by(FILMS.c.sop_instance_uid)):
        analysed.setdefault(study, []).append(film)
    keys = {row["sop_instance_uid"]: {k: row[k] for k in ("study_instance_uid", "revision")} for row in reports}
    for row in reports:
        key = keys[row["sop_instance_uid"]]
        connection.execute(
            REPORTS.insert().values(
                **key,
                fingerprint=row["fingerprint"],
                outcome=OutcomeKind.FINDINGS,
                reasons=[],
                films=analysed.get(row["study_instance_uid"], []),
                created_at=row["created_at"],
            )
        )
        connection.execute(
            DOCUMENTS.insert().values(
                **key,
                sop_instance_uid=row["sop_instance_uid"],
                form=Form.SR_COMPREHENSIVE_3D,
                sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
                path=row["path"],
            )
        )
    for row in deliveries:
        delivered = row["state"] == DeliveryState.DELIVERED
        connection.execute(
            DELIVERIES.insert().values(
                **keys[row["report_sop_instance_uid"]],
                destination=row["destination"],
                slot=0,
                alternatives=[Form.SR_COMPREHENSIVE_3D],
                state=row["state"],
                # An attempt that left a detail may have left the report there too.
                form=Form.SR_COMPREHENSIVE_3D if delivered or row["detail"] else None,
                detail=row["detail"],
                updated_at=row["updated_at"],
            )
        )


def _bring_up_from_2(connection: sa.Connection) -> None:
    """Bring up tables that know no priorities; those that are new since are there already."""
    connection.execute(
        sa.text(f"ALTER TABLE films ADD COLUMN priority VARCHAR(8) NOT NULL DEFAULT '{Priority.ROUTINE}'")
    )


def _rows(connection: sa.Connection, table: str) -> Sequence[Mapping[str, Any]]:
    return [dict(row) for row in connection.execute(sa.select(sa.text("*")).select_from(sa.table(table))).mappings()]
