"""The ledger's tables: idempotent, and every object in exactly one state."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from pneumo_monai.errors import Reason, Retryable
from pneumo_monai.overview import overview
from pneumo_monai.records import DeliveryState, FilmAnswer, FilmState, Records, ReportRecord, connect
from pneumo_monai.spool import Identity


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    engine = connect(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield Records(engine)
    engine.dispose()


def identity(number: int = 1, *, content: int = 0, study: str = "1.2") -> Identity:
    return Identity(
        study_instance_uid=study, sop_instance_uid=f"{study}.{number}", sop_class_uid="1.9", digest=f"{content:064x}"
    )


def report(revision: int, study: str = "1.2") -> ReportRecord:
    return ReportRecord(
        sop_instance_uid=f"{study}.9.{revision}",
        study_instance_uid=study,
        revision=revision,
        fingerprint=str(revision),
        path="r",
        created_at=float(revision),
    )


def test_sqlite_survives_a_power_cut_and_readers_do_not_stop_the_listener(records: Records) -> None:
    with records.engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2


def test_the_same_object_is_entered_once(records: Records) -> None:
    assert records.receive(identity(), "p", "AE")
    assert not records.receive(identity(), "p", "AE")
    assert sum(records.counts().values()) == 1


def test_the_same_object_on_several_associations_at_once_is_entered_once(records: Records) -> None:
    with ThreadPoolExecutor(8) as pool:
        entered = list(pool.map(lambda _: records.receive(identity(), "p", "AE"), range(16)))
    assert entered.count(True) == 1


def test_other_content_under_a_known_uid_is_refused_and_counted(records: Records) -> None:
    records.receive(identity(), "p", "AE")
    assert records.receive(identity(content=1), "q", "AE")
    first, second = records.films("1.2")
    assert first.state is FilmState.IN_PROGRESS
    assert (second.state, second.reason) == (FilmState.REFUSED, Reason.CONFLICTING_CONTENT)


def test_an_answer_given_twice_changes_nothing_more(records: Records) -> None:
    records.receive(identity(), "p", "AE")
    answers = [FilmAnswer(film_id=1, state=FilmState.ANALYSED)]
    records.answer(answers, report(1), ["pacs"])
    records.answer(answers, None, [])
    assert records.counts()[FilmState.ANALYSED] == 1
    assert records.latest_report("1.2") == report(1)


def test_a_revision_that_another_worker_entered_first_is_read_again(records: Records) -> None:
    records.receive(identity(), "p", "AE")
    records.answer([], report(1), ["pacs"])
    with pytest.raises(Retryable):
        records.answer([FilmAnswer(film_id=1, state=FilmState.FAILED)], report(1), ["pacs"])
    assert records.films("1.2")[0].state is FilmState.IN_PROGRESS


def test_the_overview_says_where_each_study_stands(records: Records) -> None:
    for number, study in enumerate(["1.1", "1.2", "1.3", "1.4", "1.5", "1.6"], start=1):
        records.receive(identity(number, study=study), "p", "AE")
    analysed = FilmState.ANALYSED
    records.answer([FilmAnswer(film_id=2, state=FilmState.REFUSED, reason="view", detail="d")], None, [])
    records.answer([FilmAnswer(film_id=3, state=FilmState.FAILED, reason="internal", detail="d")], None, [])
    for film_id, study in ((4, "1.4"), (5, "1.5"), (6, "1.6")):
        records.answer([FilmAnswer(film_id=film_id, state=analysed)], report(1, study), ["pacs"])
    records.set_delivery("1.5.9.1", "pacs", DeliveryState.DELIVERED)
    records.set_delivery("1.6.9.1", "pacs", DeliveryState.UNDELIVERABLE, "why")
    states = {study.study_instance_uid: study.state for study in overview(records, 10)}
    assert states == {
        "1.1": "in progress",
        "1.2": "refused",
        "1.3": "failed",
        "1.4": "waiting for delivery",
        "1.5": "reported",
        "1.6": "undeliverable",
    }
    assert [study.study_instance_uid for study in overview(records, 2)] == ["1.6", "1.5"]
    assert records.open_studies() == ["1.1"]


def test_different_content_under_one_uid_at_the_same_time_is_told_apart(records: Records) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: records.receive(identity(content=content), "p", "AE"), range(8)))
    states = [film.state for film in records.films("1.2")]
    assert states.count(FilmState.IN_PROGRESS) == 1
    assert states.count(FilmState.REFUSED) == 7


def test_an_object_that_failed_is_taken_up_again_when_it_is_sent_again(records: Records) -> None:
    records.receive(identity(), "p", "AE")
    records.answer([FilmAnswer(film_id=1, state=FilmState.FAILED, reason="internal", detail="d")], None, [])
    assert records.receive(identity(), "p", "AE")
    (film,) = records.films("1.2")
    assert (film.state, film.reason) == (FilmState.IN_PROGRESS, None)
