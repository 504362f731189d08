"""Tables that an older version made are brought up; those of a later one are left alone."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from pneumo_monai.attempts import Attempts
from pneumo_monai.commitments import Commitments
from pneumo_monai.entries import DeliveryState, FilmState, OutcomeKind
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.forms import Form
from pneumo_monai.priority import Priority
from pneumo_monai.records import Records
from pneumo_monai.tables import SCHEMA_VERSION, connect, found_version

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
VERSION_1 = """
CREATE TABLE films (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, sop_instance_uid VARCHAR(64) NOT NULL, digest VARCHAR(64) NOT NULL,
    study_instance_uid VARCHAR(64) NOT NULL, calling_ae_title VARCHAR(16) NOT NULL, path TEXT NOT NULL,
    received_at FLOAT NOT NULL, state VARCHAR(16) NOT NULL, reason VARCHAR(32), detail TEXT, answered_at FLOAT,
    UNIQUE (sop_instance_uid, digest));
CREATE INDEX ix_films_state ON films (state);
CREATE INDEX ix_films_study_instance_uid ON films (study_instance_uid);
CREATE TABLE reports (
    sop_instance_uid VARCHAR(64) NOT NULL PRIMARY KEY, study_instance_uid VARCHAR(64) NOT NULL,
    revision INTEGER NOT NULL, fingerprint VARCHAR(64) NOT NULL, path TEXT NOT NULL, created_at FLOAT NOT NULL,
    UNIQUE (study_instance_uid, revision));
CREATE TABLE deliveries (
    report_sop_instance_uid VARCHAR(64) NOT NULL, destination VARCHAR(32) NOT NULL, state VARCHAR(16) NOT NULL,
    detail TEXT, updated_at FLOAT NOT NULL, PRIMARY KEY (report_sop_instance_uid, destination));
CREATE INDEX ix_deliveries_state ON deliveries (state);
INSERT INTO films VALUES (1, '1.2.1', 'a', '1.2', 'AE', 'p', 1.0, 'analysed', NULL, NULL, 2.0);
INSERT INTO films VALUES (2, '1.2.2', 'b', '1.2', 'AE', 'p', 1.0, 'refused', 'view', 'd', 2.0);
INSERT INTO reports VALUES ('1.2.9.1', '1.2', 1, 'f1', 'r1', 2.0);
INSERT INTO reports VALUES ('1.2.9.2', '1.2', 2, 'f2', 'r2', 3.0);
INSERT INTO deliveries VALUES ('1.2.9.1', 'pacs', 'delivered', NULL, 4.0);
INSERT INTO deliveries VALUES ('1.2.9.2', 'pacs', 'pending', 'it was down', 5.0);
INSERT INTO deliveries VALUES ('1.2.9.2', 'other', 'pending', NULL, 5.0);
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


def test_a_ledger_without_a_version_is_brought_up_with_all_that_it_holds(url: str) -> None:
    old = sa.create_engine(url)
    with old.begin() as connection:
        for statement in VERSION_1.split(";"):
            connection.exec_driver_sql(statement)
    old.dispose()
    for _ in range(2):
        records = Records(connect(url))
        assert [film.state for film in records.films("1.2")] == [FilmState.ANALYSED, FilmState.REFUSED]
        first, second = records.reports(["1.2"])
        assert (first.revision, first.fingerprint, first.outcome) == (1, "f1", OutcomeKind.FINDINGS)
        assert (second.films, second.model, second.created_at) == (("1.2.1",), None, 3.0)
        documents = records.documents(["1.2"])
        assert [(d.sop_instance_uid, d.revision, d.path) for d in documents] == [
            ("1.2.9.1", 1, "r1"),
            ("1.2.9.2", 2, "r2"),
        ]
        assert {(d.form, d.sop_class_uid) for d in documents} == {(Form.SR_COMPREHENSIVE_3D, COMPREHENSIVE_3D_SR)}
        deliveries = records.deliveries(["1.2"])
        sr = Form.SR_COMPREHENSIVE_3D
        assert [(d.revision, d.destination, d.state, d.form) for d in deliveries] == [
            (1, "pacs", DeliveryState.DELIVERED, sr),
            (2, "other", DeliveryState.PENDING, None),
            (2, "pacs", DeliveryState.PENDING, sr),
        ]
        assert {d.alternatives for d in deliveries} == {(sr,)}
        records.engine.dispose()


def test_a_ledger_of_version_2_is_brought_up_with_all_that_it_holds(url: str) -> None:
    engine = connect(url)
    with engine.begin() as connection:
        # What this version has and that one had not.
        for statement in (
            "DROP TABLE attempts",
            "ALTER TABLE films DROP COLUMN priority",
            "UPDATE schema_version SET version = 2",
            "INSERT INTO films VALUES (1, '1.2.1', 'a', '1.2', 'AE', 'p', 1.0, 'analysed', NULL, NULL, 2.0)",
        ):
            connection.execute(sa.text(statement))
    engine.dispose()
    for _ in range(2):
        records = Records(connect(url))
        (film,) = records.films("1.2")
        assert (film.calling_ae_title, film.priority) == ("AE", Priority.ROUTINE)
        assert Attempts(records.engine).of_studies(["1.2"]) == []
        with records.engine.connect() as connection:
            assert found_version(connection) == SCHEMA_VERSION
        records.engine.dispose()


def test_a_ledger_of_a_later_version_is_left_alone_and_says_what_to_do(url: str) -> None:
    engine = connect(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_version SET version = 4"))
    engine.dispose()
    with pytest.raises(ConfigurationError, match=r"later version .* 4, this program knows 3.*: install that version"):
        connect(url)


def test_a_ledger_of_version_2_gets_the_tables_that_it_lacks(url: str) -> None:
    engine = connect(url)
    with engine.begin() as connection:
        for table in ("commitments", "transactions"):
            connection.execute(sa.text(f"DROP TABLE {table}"))
        connection.execute(sa.text("ALTER TABLE films DROP COLUMN priority"))
        connection.execute(sa.text("UPDATE schema_version SET version = 2"))
    engine.dispose()
    for _ in range(2):
        engine = connect(url)
        assert Commitments(engine).pending() == []
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT version FROM schema_version")).scalars().all() == [3]
        engine.dispose()
