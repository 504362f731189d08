"""Ledger and spool as an older version left them when it was killed: this version opens them, and goes on.

tests/data/README.md says how they were made.
"""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from pneumo_monai.backup import back_up
from pneumo_monai.entries import FilmState
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.processes import EX_CONFIG
from pneumo_monai.tables import SCHEMA_VERSION, found_version
from tests.films import make_film
from tests.older import Studies, films, unpack
from tests.peers import (
    COMPREHENSIVE_3D_SR,
    KEY_OBJECTS,
    PostgreSql,
    Service,
    dcmsend,
    running_service,
    storage_scp,
    wait_until,
    write,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SECONDS = 240.0
DATA = Path(__file__).parents[1] / "data"
LEDGERS = sorted(DATA.glob("ledger-*.zip"))
STUDIES = Studies()


def opened(archive: Path, folder: Path, request: pytest.FixtureRequest) -> str:
    """Unpack a ledger, and return its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    server: PostgreSql | None = request.getfixturevalue("postgres") if "postgresql" in archive.name else None
    url = server.database() if server else f"sqlite:///{folder / 'ledger.sqlite'}"
    unpack(archive, folder, url, server)
    return url


@pytest.mark.parametrize("archive", LEDGERS, ids=lambda archive: archive.stem)
def test_an_older_ledger_is_brought_up_with_all_that_it_holds(
    archive: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = opened(archive, tmp_path, request)
    engine = prepare(url)
    inbox = Inbox(engine)
    with engine.connect() as connection:
        assert found_version(connection) == SCHEMA_VERSION
    records = inbox.records
    states = {study: records.films(study)[0].state for study in vars(STUDIES).values()}
    assert states == {
        STUDIES.reported: FilmState.ANALYSED,
        STUDIES.waiting: FilmState.ANALYSED,
        STUDIES.refused: FilmState.REFUSED,
        STUDIES.interrupted: FilmState.IN_PROGRESS,
        STUDIES.unseen: FilmState.IN_PROGRESS,
    }
    assert [(slot.study_instance_uid, slot.destination) for slot in records.waiting()] == [(STUDIES.waiting, "pacs")]
    for study in (STUDIES.reported, STUDIES.waiting):
        (document,) = records.documents([study])
        assert (tmp_path / document.path).is_file()
    # What the older version was reading is asked for again: its own workflows are nobody's.
    assert inbox.sweep() == 2
    inbox.close()
    engine.dispose()


def command(service: Service, *arguments: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "pneumo_monai", *arguments, "--config", str(service.config)]
    return subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)


def resend(service: Service, folder: Path) -> str:
    """Send the film of each study again, and one of a study of its own, which is read after what they might cause."""
    last = make_film()
    wait_until("films are taken", lambda: service.process_ready("listener"), SECONDS)
    dcmsend(service, *(write(film, folder) for film in films().values()))
    dcmsend(service, write(last, folder))
    service.wait_for(str(last.StudyInstanceUID), "reported", seconds=SECONDS)
    return str(last.StudyInstanceUID)


@pytest.mark.parametrize(
    "archive", [path for path in LEDGERS if "sqlite" in path.name], ids=lambda archive: archive.stem
)
def test_the_service_goes_on_where_an_older_version_was_killed_and_once_more_from_a_backup(
    archive: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, backup = tmp_path / "service", tmp_path / "backup"
    opened(archive, folder / "data", request)
    with storage_scp(COMPREHENSIVE_3D_SR, KEY_OBJECTS) as peer:

        def instances() -> Counter[str]:
            assert max(Counter(instance.SOPInstanceUID for instance in peer.received).values()) == 1
            return Counter(str(instance.StudyInstanceUID) for instance in peer.received)

        destination = {"name": "pacs", "ae_title": "PEER", "host": "127.0.0.1", "port": peer.port}
        sections = {"intended_use": {"unlike_chest": "accept", "inverted": "accept"}}
        with running_service(folder, None, [destination], **sections) as service:
            for study in (STUDIES.waiting, STUDIES.interrupted, STUDIES.unseen):
                service.wait_for(study, "reported", seconds=SECONDS)
            once = Counter({STUDIES.waiting: 1, STUDIES.interrupted: 1, STUDIES.unseen: 1})
            assert instances() == once
            assert STUDIES.refused in command(service, "status").stdout
            once[resend(service, tmp_path)] = 1
            assert instances() == once
            done = command(service, "retract", STUDIES.reported, "--cause", "quality", "--why", "A test.")
            assert done.returncode == 0, done.stderr
            service.wait_for(STUDIES.reported, "retracted", seconds=SECONDS)
            # What supersedes the older version's report, and the note that rejects that.
            once[STUDIES.reported] = 2
            assert instances() == once
            assert not back_up(service.settings, backup).missing
        shutil.rmtree(folder / "data")
        shutil.copytree(backup, folder / "data")
        with running_service(folder, None, [destination], **sections) as service:
            once[resend(service, tmp_path)] = 1
            assert instances() == once
            states = {study: overview.state for study, overview in service.studies().items()}
            assert [states[study] for study in vars(STUDIES).values()] == [
                "retracted",
                "reported",
                "refused",
                "reported",
                "reported",
            ]
        engine = sa.create_engine(service.settings.ledger_url)
        with engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}"))
        engine.dispose()
        refused = command(service, "serve")
        assert refused.returncode == EX_CONFIG
        assert "written by a later version" in refused.stderr
