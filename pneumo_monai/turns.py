"""Connections to SQLite whose writers take turns within a process.

SQLite lets one write at a time and has the others ask again and again, with pauses of up to a tenth of a second and in
no order: threads that write a millisecond each sleep for most of the time, and under a load some for longer than a
modality waits. Here a thread that wants to write waits for the one before it and is woken. Between processes SQLite
decides.
"""

import re
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Self

__all__ = ["TakingTurns"]

_WRITES = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|REPLACE|BEGIN\s+IMMEDIATE)\b", re.IGNORECASE)
"""What begins a transaction that writes: before each of the first four, Python's sqlite3 says ``BEGIN IMMEDIATE``."""

_PATIENCE_SECONDS = 10.0
"""How long a thread waits for its turn; then SQLite has to decide, which has patience of its own."""

_turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""By what `sqlite3.connect` was given."""


class TakingTurns(sqlite3.Connection):
    """A connection that has its turn from the first statement that writes to the end of the transaction.

    Pass it to `sqlite3.connect` as `factory`; `isolation_level` has to be ``IMMEDIATE``. A transaction ends with
    `commit`, `rollback` or `close`; what ends one unseen, a script or the connection as a context, is refused.
    """

    def __init__(self, database: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(database, *args, **kwargs)
        self._turn = _turns[str(database)]
        self._has_turn = False

    def cursor(self, *_: object) -> sqlite3.Cursor:  # type: ignore[override] # whoever wants another kind asks elsewhere
        """Return a cursor that takes a turn before it writes."""
        return super().cursor(_Cursor)

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Execute a statement with a cursor of its own."""
        return self.cursor().execute(statement, parameters)

    def executemany(self, statement: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """Execute a statement several times with a cursor of its own."""
        return self.cursor().executemany(statement, parameters)

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        """Raise NotImplementedError: a script commits by itself."""
        raise NotImplementedError("execute one statement after the other")

    def __enter__(self) -> Self:
        raise NotImplementedError("call commit or rollback")

    def begin(self, statement: str) -> None:
        """Wait for the turn, if a statement needs one that is not there yet."""
        if not self._has_turn and not self.in_transaction and _WRITES.match(statement):
            self._has_turn = self._turn.acquire(timeout=_PATIENCE_SECONDS)

    def commit(self) -> None:
        """Commit; the turn is the next one's. One that fails keeps it until it is rolled back."""
        super().commit()
        self.end()

    def rollback(self) -> None:
        """Roll back; the turn is the next one's."""
        try:
            super().rollback()
        finally:
            self.end()

    def close(self) -> None:
        """Close, which rolls back what was not committed."""
        try:
            super().close()
        finally:
            self._let_go()

    def end(self) -> None:
        """Give the turn to the next one, unless a transaction is open."""
        if not self.in_transaction:
            self._let_go()

    def _let_go(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._turn.release()


class _Cursor(sqlite3.Cursor):
    def execute(self, statement: str, parameters: Any = (), /) -> Self:
        connection: TakingTurns = self.connection  # type: ignore[assignment] # only that makes it
        connection.begin(statement)
        try:
            return super().execute(statement, parameters)
        finally:
            # Where it could not even begin.
            connection.end()

    def executemany(self, statement: str, parameters: Iterable[Any], /) -> Self:
        connection: TakingTurns = self.connection  # type: ignore[assignment]
        connection.begin(statement)
        try:
            return super().executemany(statement, parameters)
        finally:
            connection.end()
