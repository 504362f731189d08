"""The ledger's tables: idempotent, and every object in exactly one state."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pneumo_monai.entries import (
    DeliveryRecord,
    DeliveryState,
    DocumentRecord,
    FilmAnswer,
    FilmState,
    OutcomeKind,
    ReportRecord,
    Revision,
)
from pneumo_monai.errors import Reason, Retryable
from pneumo_monai.forms import Form
from pneumo_monai.overview import overview
from pneumo_monai.records import Records
from pneumo_monai.spool import Identity
from pneumo_monai.tables import connect
from tests.reports import MODEL, OPERATING_POINT

ALTERNATIVES = (Form.SR_COMPREHENSIVE_3D, Form.SR_COMPREHENSIVE)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    engine = connect(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield Records(engine)
    engine.dispose()


def identity(number: int = 1, *, content: int = 0, study: str = "1.2") -> Identity:
    return Identity(
        study_instance_uid=study, sop_instance_uid=f"{study}.{number}", sop_class_uid="1.9", digest=f"{content:064x}"
    )


def report(revision: int, study: str = "1.2", outcome: OutcomeKind = OutcomeKind.FINDINGS) -> ReportRecord:
    return ReportRecord(
        study_instance_uid=study,
        revision=revision,
        fingerprint=str(revision),
        outcome=outcome,
        reasons=("age",) if outcome is OutcomeKind.REFUSAL else (),
        films=(f"{study}.1",),
        model=MODEL,
        operating_point=OPERATING_POINT,
        created_at=float(revision),
    )


def slot(revision: int = 1, study: str = "1.2", **more: Any) -> DeliveryRecord:
    values = {"destination": "pacs", "slot": 0, "alternatives": ALTERNATIVES, "updated_at": 1.0, **more}
    return DeliveryRecord(study_instance_uid=study, revision=revision, **values)


def document(revision: int = 1, study: str = "1.2", **more: Any) -> DocumentRecord:
    values = {"form": Form.SR_COMPREHENSIVE, "sop_class_uid": "1.9", "path": "r", **more}
    return DocumentRecord(
        sop_instance_uid=f"{study}.9.{revision}", study_instance_uid=study, revision=revision, **values
    )


def enter(records: Records, *answers: FilmAnswer, revision: int = 1, study: str = "1.2", **more: Any) -> None:
    """Enter a revision with one document and one slot."""
    entry = Revision(
        report=report(revision, study, **more),
        documents=(document(revision, study),),
        deliveries=(slot(revision, study),),
    )
    records.answer(answers, entry)


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
    enter(records, *answers)
    records.answer(answers)
    assert records.counts()[FilmState.ANALYSED] == 1
    assert records.latest_report("1.2") == report(1)
    assert records.documents(["1.2"]) == [document(1)]
    assert records.deliveries(["1.2"]) == records.waiting() == records.slots("1.2", 1, "pacs") == [slot()]


def test_a_revision_that_another_worker_entered_first_is_read_again(records: Records) -> None:
    records.receive(identity(), "p", "AE")
    enter(records)
    with pytest.raises(Retryable):
        enter(records, FilmAnswer(film_id=1, state=FilmState.FAILED))
    assert records.films("1.2")[0].state is FilmState.IN_PROGRESS


def test_the_overview_says_where_each_study_stands(records: Records) -> None:
    for number in range(1, 10):
        records.receive(identity(number, study=f"1.{number}"), "p", "AE")

    def refused(film_id: int, reason: str = "view") -> FilmAnswer:
        return FilmAnswer(film_id=film_id, state=FilmState.REFUSED, reason=reason, detail="d")

    records.answer([refused(2)])
    records.answer([FilmAnswer(film_id=3, state=FilmState.FAILED, reason="internal", detail="d")])
    for number in (4, 5, 6):
        enter(records, FilmAnswer(film_id=number, state=FilmState.ANALYSED), study=f"1.{number}")
    enter(records, refused(7, "age"), study="1.7", outcome=OutcomeKind.REFUSAL)
    enter(records, refused(8, "retracted"), study="1.8", outcome=OutcomeKind.RETRACTION)
    enter(records, FilmAnswer(film_id=9, state=FilmState.ANALYSED), study="1.9")
    for number, state in ((5, "delivered"), (6, "undeliverable"), (7, "delivered"), (8, "delivered"), (9, "withdrawn")):
        records.settle(slot(study=f"1.{number}"), DeliveryState(state), "why")
    states = {study.study_instance_uid: study.state for study in overview(records, 10)}
    assert states == {
        "1.1": "in progress",
        "1.2": "refused",
        "1.3": "failed",
        "1.4": "waiting for delivery",
        "1.5": "reported",
        "1.6": "undeliverable",
        "1.7": "refused",
        "1.8": "retracted",
        "1.9": "withdrawn",
    }
    assert [study.study_instance_uid for study in overview(records, 2)] == ["1.9", "1.8"]
    assert records.open_studies() == ["1.1"]


def test_the_overview_is_of_the_current_revision(records: Records) -> None:
    records.receive(identity(), "p", "AE")
    for revision in (1, 2):
        enter(records, revision=revision)
    (study,) = overview(records, 10)
    assert study.report == report(2)
    assert (study.documents, study.deliveries) == ((document(2),), (slot(2),))


def test_a_slot_is_sent_once_and_says_in_which_form(records: Records) -> None:
    enter(records)
    assert records.begin_sending(slot(), Form.SR_COMPREHENSIVE)
    records.settle(slot(), DeliveryState.DELIVERED, "sr-comprehensive sent: sr-comprehensive-3d not accepted")
    assert not records.begin_sending(slot(), Form.SR_COMPREHENSIVE_3D)
    records.settle(slot(), DeliveryState.PENDING, "too late")
    (settled,) = records.deliveries(["1.2"])
    assert settled.summary == (
        "pacs: sr-comprehensive delivered (sr-comprehensive sent: sr-comprehensive-3d not accepted)"
    )
    assert records.waiting() == []


def test_what_else_is_entered_with_an_answer_is_entered_with_it_or_not_at_all(records: Records) -> None:
    records.receive(identity(), "p", "SCANNER")
    answer, entry = FilmAnswer(film_id=1, state=FilmState.ANALYSED), Revision(report=report(1))

    def fail(_: sa.Connection) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        records.answer([answer], entry, also=fail)
    assert records.latest_report("1.2") is None
    assert [film.state for film in records.films("1.2")] == [FilmState.IN_PROGRESS]
    seen: list[int] = []
    records.answer([answer], entry, also=lambda c: seen.append(len(c.execute(sa.text("SELECT 1 FROM reports")).all())))
    assert seen == [1]
    assert records.latest_report("1.2") is not None


def test_what_waits_is_withdrawn_and_what_is_under_way_says_so(records: Records) -> None:
    entry = Revision(report=report(1), deliveries=(slot(), slot(slot=1), slot(slot=2)))
    records.answer([], entry)
    records.settle(slot(slot=2), DeliveryState.DELIVERED)
    assert records.begin_sending(slot(slot=1), Form.SR_COMPREHENSIVE)
    records.withdraw("1.2")
    assert not records.begin_sending(slot(), Form.SR_COMPREHENSIVE)
    records.settle(slot(slot=1), DeliveryState.DELIVERED)
    first, second, third = records.deliveries(["1.2"])
    assert (first.state, first.form) == (DeliveryState.WITHDRAWN, None)
    assert (second.state, second.form) == (DeliveryState.DELIVERED, Form.SR_COMPREHENSIVE)
    assert second.detail == "was under way when the result was retracted"
    assert (third.state, third.detail) == (DeliveryState.DELIVERED, None)


def test_different_content_under_one_uid_at_the_same_time_is_told_apart(records: Records) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: records.receive(identity(content=content), "p", "AE"), range(8)))
    states = [film.state for film in records.films("1.2")]
    assert states.count(FilmState.IN_PROGRESS) == 1
    assert states.count(FilmState.REFUSED) == 7


def test_an_object_that_failed_is_taken_up_again_when_it_is_sent_again(records: Records) -> None:
    records.receive(identity(), "p", "AE")
    records.answer([FilmAnswer(film_id=1, state=FilmState.FAILED, reason="internal", detail="d")])
    assert records.receive(identity(), "p", "AE")
    (film,) = records.films("1.2")
    assert (film.state, film.reason) == (FilmState.IN_PROGRESS, None)
