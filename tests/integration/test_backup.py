"""A backup that is taken while films come in holds every film that was answered before, and is enough to go on with."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import ComputedRadiographyImageStorage

from pneumo_monai.backup import back_up
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.listener import ListenerProcess
from pneumo_monai.settings import Settings, load_settings
from pneumo_monai.spool import Spool, identify
from tests.films import make_film
from tests.peers import PostgreSql, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    content = {"data_dir": str(tmp_path / "data"), "listener": {"port": 0}}
    if request.param == "postgresql":
        server: PostgreSql = request.getfixturevalue("postgres")
        content["ledger"] = {"url": server.database()}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    (tmp_path / "data").mkdir()
    return load_settings(config)


@contextmanager
def listening(settings: Settings) -> Iterator[ListenerProcess]:
    inbox = Inbox(prepare(settings.ledger_url))
    process = ListenerProcess(settings.listener, Spool(settings.data_dir), inbox)
    process.start()
    try:
        yield process
    finally:
        process.stop()
        inbox.records.engine.dispose()


def send(port: int, films: list[Dataset], answered: list[str], stop: threading.Event | None = None) -> None:
    """Send films one after the other, and note those that were answered 0x0000."""
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(ComputedRadiographyImageStorage)
    association = entity.associate("127.0.0.1", port)
    for film in films:
        if stop is not None and stop.is_set():
            break
        if association.send_c_store(film).Status == 0x0000:
            answered.append(str(film.SOPInstanceUID))
    association.release()


def held(settings: Settings) -> dict[str, str]:
    """Return SOP Instance UID and digest of what a ledger names, once the file of each was found to be whole."""
    inbox = Inbox(prepare(settings.ledger_url))
    try:
        films = inbox.records.films(*inbox.records.newest_studies(10_000))
        for film in films:
            assert identify((settings.data_dir / film.path).read_bytes()).digest == film.digest
        assert len({film.sop_instance_uid for film in films}) == len(films)
        return {film.sop_instance_uid: film.digest for film in films}
    finally:
        inbox.close()
        inbox.records.engine.dispose()


def restore(settings: Settings, folder: Path, postgres: PostgreSql | None) -> Settings:
    """Lose the data folder and the database, and put back what a backup holds."""
    shutil.rmtree(settings.data_dir)
    settings.data_dir.mkdir()
    shutil.copytree(folder / "spool", settings.data_dir / "spool")
    if postgres is None:
        shutil.copy(folder / "ledger.sqlite", settings.data_dir)
        return settings
    url = postgres.database()
    # The server's own user reads it.
    dump = Path(shutil.copy(folder / "ledger.dump", postgres.folder))
    dump.chmod(0o644)
    postgres.run("pg_restore", "--dbname", url.rpartition("/")[2], str(dump))
    return settings.model_copy(update={"ledger": settings.ledger.model_copy(update={"url": url})})


def test_what_was_answered_before_a_backup_is_in_it_and_a_resend_adds_only_what_came_after(
    settings: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, stop = tmp_path / "backup", threading.Event()
    films, answered = [make_film() for _ in range(400)], list[str]()
    with listening(settings) as process:
        sender = threading.Thread(target=send, args=(process.port, films, answered, stop))
        sender.start()
        for least in (10, 30):
            wait_until("films came", lambda least=least: len(answered) >= least)
            before = list(answered)
            made = back_up(settings, folder)
            assert not made.missing
            assert made.named >= len(before)
            assert made.copied > 0
        wait_until("more came after it", lambda: len(answered) > len(before))
        stop.set()
        sender.join()
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]
    postgres = request.getfixturevalue("postgres") if settings.ledger.url else None
    restored = restore(settings, folder, postgres)
    there = held(restored)
    assert set(before) <= set(there)
    assert len(there) < len(answered)
    again: list[str] = []
    with listening(restored) as process:
        send(process.port, films[: len(answered)], again)
    assert again == answered
    assert {uid: digest for uid, digest in held(restored).items() if uid in there} == there
    assert set(held(restored)) == set(answered)


def test_a_file_that_is_not_there_is_said_to_be_missing(settings: Settings, tmp_path: Path) -> None:
    with listening(settings) as process:
        send(process.port, [make_film(), make_film()], [])
    lost, kept = sorted((settings.data_dir / "spool").rglob("*.dcm"))
    lost.unlink()
    made = back_up(settings, tmp_path / "backup")
    assert made.missing == (str(lost.relative_to(settings.data_dir)),)
    assert (made.named, made.copied) == (2, 1)
    assert back_up(settings, tmp_path / "backup").copied == 0
    # What the retention takes away leaves its header, and is not missed.
    Spool(settings.data_dir).keep_header(lost.parent.name, lost.name, b"header")
    made = back_up(settings, tmp_path / "backup")
    assert (made.missing, made.copied) == ((), 1)
    copy = tmp_path / "backup" / kept.relative_to(settings.data_dir)
    assert copy.read_bytes() == kept.read_bytes()
    with pytest.raises(ConfigurationError, match="lies in data_dir"):
        back_up(settings, settings.data_dir / "backup")
