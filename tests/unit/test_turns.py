"""Writers to one SQLite file take turns: nobody is told that the database is locked, and nobody sleeps."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pneumo_monai.tables import connect
from pneumo_monai.turns import TakingTurns


def opened(path: Path) -> sqlite3.Connection:
    """Open a connection that SQLite lets wait for nobody: who is not in turn gets an error."""
    return sqlite3.connect(
        str(path), timeout=0.0, isolation_level="IMMEDIATE", check_same_thread=False, factory=TakingTurns
    )


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "ledger.sqlite"
    with closing(opened(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, writer INTEGER)")
        # It stays open: whoever opens a log that nobody has open locks all others out for a moment.
        yield file


@pytest.fixture
def two(path: Path) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    with closing(opened(path)) as first, closing(opened(path)) as second:
        yield first, second


def write_elsewhere(path: Path) -> threading.Thread:
    """Write a row from another thread, which ends when it is written."""

    def write() -> None:
        with closing(opened(path)) as connection:
            connection.execute("INSERT INTO t (writer) VALUES (9)")
            connection.commit()

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def rows(path: Path) -> int:
    with closing(opened(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def test_writers_wait_for_each_other_and_sqlite_for_none(path: Path) -> None:
    problems: list[Exception] = []
    connections = [opened(path) for _ in range(8)]
    for connection in connections:
        # The first look at a file is a lock of its own.
        connection.execute("SELECT count(*) FROM t").fetchone()

    def write(writer: int) -> None:
        connection = connections[writer]
        try:
            for number in range(40):
                connection.execute("INSERT INTO t (writer) VALUES (?)", (writer,))
                connection.executemany("UPDATE t SET writer = ? WHERE n = ?", [(writer, 1), (writer, 2)])
                if number % 4:
                    connection.commit()
                else:
                    connection.rollback()
        except sqlite3.Error as error:
            problems.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert rows(path) == 8 * 30
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    "begin",
    [
        "INSERT INTO t (writer) VALUES (1)",
        " update t set writer = 2",
        "DELETE FROM t",
        "REPLACE INTO t (n) VALUES (1)",
        "BEGIN IMMEDIATE",
    ],
)
@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_a_turn_lasts_as_long_as_the_transaction(path: Path, begin: str, end: str) -> None:
    first = opened(path)
    first.execute(begin)
    other = write_elsewhere(path)
    other.join(0.2)
    assert other.is_alive()
    getattr(first, end)()
    other.join(20)
    assert not other.is_alive()
    first.close()


def test_readers_wait_for_nobody(path: Path, two: tuple[sqlite3.Connection, sqlite3.Connection]) -> None:
    writer, reader = two
    writer.execute("INSERT INTO t (writer) VALUES (1)")
    assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
    writer.commit()
    assert rows(path) == 1


@pytest.mark.parametrize("statement", ["INSERT INTO nowhere VALUES (1)", "INSERT INTO t VALUES (1, 2, 3)"])
def test_what_could_not_begin_takes_no_turn(
    path: Path, two: tuple[sqlite3.Connection, sqlite3.Connection], statement: str
) -> None:
    with pytest.raises(sqlite3.OperationalError):
        two[0].execute(statement)
    other = write_elsewhere(path)
    other.join(20)
    assert not other.is_alive()


def test_a_statement_that_fails_within_a_transaction_leaves_it_open(
    path: Path, two: tuple[sqlite3.Connection, sqlite3.Connection]
) -> None:
    two[0].execute("INSERT INTO t (n) VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError):
        two[0].execute("INSERT INTO t (n) VALUES (1)")
    other = write_elsewhere(path)
    other.join(0.2)
    assert other.is_alive()
    two[0].rollback()
    other.join(20)
    assert not other.is_alive()
    assert rows(path) == 1


def test_who_waited_for_too_long_leaves_it_to_sqlite(
    path: Path, two: tuple[sqlite3.Connection, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pneumo_monai.turns._PATIENCE_SECONDS", 0.05)
    two[0].execute("INSERT INTO t (writer) VALUES (1)")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        two[1].execute("INSERT INTO t (writer) VALUES (2)")
    # It had no turn to give: the first still has its own.
    two[1].rollback()
    other = write_elsewhere(path)
    other.join(0.01)
    two[0].commit()
    other.join(20)
    assert not other.is_alive()


def test_what_would_end_a_transaction_unseen_is_refused(two: tuple[sqlite3.Connection, sqlite3.Connection]) -> None:
    with pytest.raises(NotImplementedError):
        two[0].executescript("SELECT 1")
    with pytest.raises(NotImplementedError), two[0]:
        pass


def test_the_ledger_is_reached_by_such_connections(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with engine.connect() as connection:
        assert isinstance(connection.connection.dbapi_connection, TakingTurns)
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    engine.dispose()
