"""`pneumo-monai backup`: the ledger as it stood at one moment, and every file that it names, while the service goes on.

The ledger is taken first and the spool after it. A film's file is there before its row, so what the older ledger names,
the newer spool holds; the other way round, films that were answered 0x0000 meanwhile would have a row and no file.
"""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from pneumo_monai.durable import rename_durably, write_durably
from pneumo_monai.errors import Broken, ConfigurationError
from pneumo_monai.settings import Settings
from pneumo_monai.spool import Spool
from pneumo_monai.tables import DOCUMENTS, FILMS, look_at

__all__ = ["Backup", "back_up"]


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a backup holds.

    `named`: files that the ledger names. `copied`: files that no earlier backup had put there. `missing`: paths that
    the ledger names and the spool does not hold.
    """

    named: int
    copied: int
    missing: tuple[str, ...]


def back_up(settings: Settings, folder: Path) -> Backup:
    """Bring a folder up to date; what it holds stays a whole backup at every moment.

    Raises
    ------
    ConfigurationError
        The folder lies in `data_dir`, or `pg_dump` is missing.
    Broken
        The copy of the ledger is not sound.
    OSError
        A file cannot be read or written.
    sqlalchemy.exc.SQLAlchemyError
        The ledger cannot be read.
    """
    data_dir = settings.data_dir.resolve()
    if data_dir in (folder.resolve(), *folder.resolve().parents):
        raise ConfigurationError(f"{folder} lies in data_dir; name a folder on another disk")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_sqlite = sa.make_url(settings.ledger_url).drivername == "sqlite"
    ledger = folder / ("ledger.sqlite" if is_sqlite else "ledger.dump")
    # Not under its name before the files are there that it names.
    taken = ledger.with_name(f".{ledger.name}.part")
    taken.unlink(missing_ok=True)
    (_copy_sqlite if is_sqlite else _dump_postgresql)(settings.ledger_url, taken)
    named = _named(settings.ledger_url)
    copied = sum(_copy(data_dir / path, folder / path) for path in _files(data_dir))
    rename_durably(taken, ledger)
    # Of what was removed on purpose, its header is there.
    missing = tuple(path for path in named if not Spool(folder).header_path(path).is_file())
    return Backup(named=len(named), copied=copied, missing=missing)


def _copy_sqlite(url: str, target: Path) -> None:
    source = f"file:{sa.make_url(url).database}?mode=ro"
    with closing(sqlite3.connect(source, uri=True)) as ledger, closing(sqlite3.connect(target)) as copy:
        ledger.backup(copy)
        # One file, without a log beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
        (found,) = copy.execute("PRAGMA integrity_check").fetchone()
    if found != "ok":
        raise Broken("the copy of the ledger is not sound (PRAGMA integrity_check): look at the disk, and try again")


def _dump_postgresql(url: str, target: Path) -> None:
    parsed = sa.make_url(url)
    # In the environment, for arguments are seen by every user of the machine.
    parts = {"HOST": parsed.host, "PORT": parsed.port, "USER": parsed.username, "PASSWORD": parsed.password}
    environment = {**os.environ, **{f"PG{name}": str(value) for name, value in parts.items() if value is not None}}
    command = ["pg_dump", "--format=custom", "--file", str(target), "--dbname", str(parsed.database)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own command line
    except FileNotFoundError:
        raise ConfigurationError("pg_dump is not installed: it is PostgreSQL's own (postgresql-client)") from None
    if done.returncode != 0:
        raise Broken(f"pg_dump ended with status {done.returncode}: {done.stderr.strip()}")


def _named(url: str) -> list[str]:
    """Return every path that the ledger names now: what it named when it was copied is among them."""
    engine = look_at(url)
    try:
        with engine.connect() as connection:
            return [
                path
                for table in (FILMS, DOCUMENTS)
                for path in connection.execute(sa.select(table.c.path).order_by(table.c.path)).scalars()
            ]
    finally:
        engine.dispose()


def _files(data_dir: Path) -> Iterator[Path]:
    """Yield whole files of spool and quarantine, as paths below `data_dir`."""
    for folder in ("spool", "quarantine"):
        for path in (data_dir / folder).rglob("*.dcm"):
            if not path.name.startswith("."):
                yield path.relative_to(data_dir)


def _copy(source: Path, target: Path) -> bool:
    """Copy a file that is not there yet, or is older there; False when nothing was to be copied."""
    try:
        there = source.stat()
        if target.is_file() and (found := target.stat()).st_size == there.st_size and found.st_mtime >= there.st_mtime:
            return False
        content = source.read_bytes()
    except FileNotFoundError:
        # Taken away meanwhile: if the ledger names it, it is said to be missing.
        return False
    write_durably(target, content)
    return True
