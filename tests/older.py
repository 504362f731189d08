"""``python -m tests.older CODE FOLDER``: ledgers and spools as an older version leaves them when it is killed.

CODE is a checkout of that version (``git archive COMMIT | tar x -C CODE``), whose tables have a number; FOLDER gets
``ledger-NUMBER-sqlite.zip`` and ``ledger-NUMBER-postgresql.zip``: the database as SQL, and the spool as it is. They
hold drawn gradients of nobody, sent to a service that

- reported one study (`Studies.reported`), and delivered it,
- reported another (`waiting`) whose destination is away,
- refused a third (`refused`),
- was killed while it read a fourth (`interrupted`), and had taken a fifth that no worker saw (`unseen`).
"""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
import yaml
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tests.films import make_film
from tests.peers import COMPREHENSIVE_3D_SR, PostgreSql, free_port, storage_scp, wait_until

__all__ = ["Studies", "films", "unpack"]

_ROOT = "2.25.77"


@dataclass(frozen=True)
class Studies:
    """Study Instance UIDs of what stands in each ledger."""

    reported: str = f"{_ROOT}.1"
    waiting: str = f"{_ROOT}.2"
    refused: str = f"{_ROOT}.3"
    interrupted: str = f"{_ROOT}.4"
    unseen: str = f"{_ROOT}.5"


def films() -> dict[str, Dataset]:
    """Return the film of each study, alike whenever they are made."""
    made = {}
    for number, field in enumerate(fields(Studies), 1):
        study = f"{_ROOT}.{number}"
        more: dict[str, Any] = {"ViewPosition": "LL"} if field.name == "refused" else {}
        if field.name == "interrupted":
            # Few bytes that take their time: it is killed meanwhile.
            more = {"pixels": np.zeros((4000, 4000), np.uint16), "bits_stored": 12}
            more["transfer_syntax"] = DeflatedExplicitVRLittleEndian
        made[field.name] = make_film(
            StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", SOPInstanceUID=f"{study}.1.1", **more
        )
    return made


def unpack(archive: Path, folder: Path, url: str, server: PostgreSql | None) -> None:
    """Put a ledger and its spool where a service finds them."""
    with zipfile.ZipFile(archive) as packed:
        for name in packed.namelist():
            if name.startswith("spool/"):
                packed.extract(name, folder)
        sql = packed.read("ledger.sql").decode()
    if server is None:
        connection = sqlite3.connect(folder / "ledger.sqlite")
        connection.executescript(sql)
        connection.close()
    else:
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(sql)
            script.flush()
            Path(script.name).chmod(0o644)
            server.run("psql", "--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", script.name)


@contextmanager
def _running(code: Path, config: Path, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
    line = [sys.executable, "-m", "pneumo_monai", *command, "--config", str(config)]
    with (config.parent / "log").open("ab") as log:
        process = subprocess.Popen(line, cwd=code, env={**os.environ, "PYTHONPATH": str(code)}, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _send(port: int, folder: Path, film: Dataset) -> None:
    file = folder / f"{film.SOPInstanceUID}.dcm"
    film.save_as(file, enforce_file_format=True)
    done = subprocess.run(
        ["dcmsend", "-aet", "SCANNER", "-aec", "PNEUMO", "127.0.0.1", str(port), str(file)], check=False
    )
    assert done.returncode == 0


def _rows(url: str, query: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg") if "postgres" in url else url)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]
    except sa.exc.DBAPIError:
        return []
    finally:
        engine.dispose()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _fill(code: Path, folder: Path, url: str, statuses: str) -> None:
    """Run the older version, and kill it in the middle."""
    listening, peer_port, sent = free_port(), free_port(), films()
    config = folder / "config.yaml"
    destination = {"name": "pacs", "ae_title": "PEER", "host": "127.0.0.1", "port": peer_port}
    content = {
        "data_dir": str(folder / "data"),
        "listener": {"port": listening},
        "destinations": [destination],
        "model": {"device": "cpu"},
        "intended_use": {"unlike_chest": "accept", "inverted": "accept"},
        "ledger": {"url": url},
    }
    config.write_text(yaml.safe_dump(content))

    def until(query: str, number: int) -> None:
        look: Callable[[], bool] = lambda: len(_rows(url, query)) >= number  # noqa: E731
        wait_until(f"{query}; {(folder / 'log').read_text()[-2000:]}", look, 300)

    with _running(code, config, "listener"):
        wait_until("it listens", lambda: _listens(listening), 60)
        with _running(code, config, "worker", "--slot", "worker-0") as worker:
            with storage_scp(COMPREHENSIVE_3D_SR, port=peer_port):
                _send(listening, folder, sent["reported"])
                until("SELECT 1 FROM deliveries WHERE state = 'delivered'", 1)
            _send(listening, folder, sent["waiting"])
            until("SELECT 1 FROM deliveries WHERE state = 'pending' AND detail IS NOT NULL", 1)
            _send(listening, folder, sent["refused"])
            until("SELECT 1 FROM films WHERE state = 'refused'", 1)
            _send(listening, folder, sent["interrupted"])
            pending = f"SELECT 1 FROM {statuses} WHERE workflow_uuid LIKE '%{_ROOT}.4%' AND status = 'PENDING'"
            while not _rows(url, pending):
                time.sleep(0.01)
            worker.send_signal(signal.SIGKILL)
        _send(listening, folder, sent["unseen"])
        until(f"SELECT 1 FROM {statuses} WHERE workflow_uuid LIKE '%{_ROOT}.5%' AND status = 'ENQUEUED'", 1)
    states = dict(_rows(url, "SELECT study_instance_uid, state FROM films"))
    assert [states[f"{_ROOT}.{number}"] for number in (4, 5)] == ["in progress"] * 2, states


def _pack(archive: Path, folder: Path, sql: str) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        packed.writestr("ledger.sql", sql)
        for path in sorted((folder / "data" / "spool").rglob("*.dcm")):
            packed.write(path, path.relative_to(folder / "data"))


def main(code: Path, output: Path) -> None:
    """Make both ledgers of a version."""
    with tempfile.TemporaryDirectory(prefix="older-") as name:
        folder = Path(name) / "sqlite"
        folder.mkdir()
        file = folder / "data" / "ledger.sqlite"
        url = f"sqlite:///{file}"
        _fill(code, folder, url, "workflow_status")
        versions = _rows(url, "SELECT version FROM schema_version")
        number = versions[0][0] if versions else 1
        connection = sqlite3.connect(file)
        _pack(output / f"ledger-{number}-sqlite.zip", folder, "\n".join(connection.iterdump()))
        connection.close()
        (Path(name) / "server" / "data").mkdir(parents=True)
        Path(name).chmod(0o755)
        server = PostgreSql(Path(name) / "server" / "data")
        server.start()
        try:
            url, folder = server.database(), Path(name) / "postgresql"
            folder.mkdir()
            _fill(code, folder, url, "dbos.workflow_status")
            sql = server.run("pg_dump", "--no-owner", "--no-privileges", "-d", url)
            _pack(output / f"ledger-{number}-postgresql.zip", folder, sql)
        finally:
            server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
