"""How long a delivery waits for its next attempt, and when it is given up, whatever the clock does."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from pneumo_monai.attempts import AttemptRecord, Attempts, is_spent, pause
from pneumo_monai.entries import DeliveryState, Errand
from pneumo_monai.settings import Delivery
from tests.ledgers import Book

DAY = 86_400.0
PATIENCE = Delivery()
WEEK = PATIENCE.give_up_after_hours * 3600


def record(since: float, tried_at: float | None) -> AttemptRecord:
    return AttemptRecord(study_instance_uid="1.2", revision=1, destination="pacs", since=since, tried_at=tried_at)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    opened = Book(tmp_path / "data")
    yield opened
    opened.close()


def test_a_pause_is_as_long_as_it_was_waited_within_bounds_and_up_to_a_half_shorter() -> None:
    for age, longest in ((-DAY, 5.0), (0.0, 5.0), (40.0, 40.0), (599.0, 599.0), (DAY, 600.0)):
        drawn = [pause(PATIENCE, f"attempt {number}", age) for number in range(200)]
        assert longest / 2 <= min(drawn) < 0.6 * longest
        assert 0.9 * longest < max(drawn) <= longest


def test_pauses_grow_to_the_longest_within_minutes_and_a_week_has_no_more_than_a_few_thousand() -> None:
    age, pauses = 0.0, []
    for number in itertools.count():
        pauses.append(pause(PATIENCE, str(number), age))
        age += pauses[-1]
        if age > WEEK:
            break
    first_long = next(number for number, seconds in enumerate(pauses) if seconds > 300)
    assert sum(pauses[:first_long]) < 1800
    assert first_long < 20
    assert len(pauses) < 2100


def test_a_workflow_that_is_taken_up_again_asks_for_the_same_pause_and_another_for_another() -> None:
    assert pause(PATIENCE, "a", 60.0) == pause(PATIENCE, "a", 60.0)
    assert pause(PATIENCE, "a", 60.0) != pause(PATIENCE, "b", 60.0)


def test_it_is_given_up_by_its_age_and_never_by_the_first_attempt_that_finds_it_old() -> None:
    assert not is_spent(PATIENCE, record(0.0, tried_at=None), 2 * WEEK)
    assert not is_spent(PATIENCE, record(0.0, tried_at=WEEK - 1), WEEK + 1)
    assert is_spent(PATIENCE, record(0.0, tried_at=WEEK), WEEK + 600)


def test_a_clock_that_jumps_ahead_and_comes_back_gives_nothing_up() -> None:
    year = 365 * DAY
    # Ahead: the attempt that is made at once is not the last.
    assert not is_spent(PATIENCE, record(0.0, tried_at=60.0), year)
    # Back again, with what was entered meanwhile lying ahead.
    assert not is_spent(PATIENCE, record(0.0, tried_at=year), 120.0)
    assert not is_spent(PATIENCE, record(year, tried_at=year), 120.0)


def test_the_age_counts_from_the_revision_until_somebody_asks(book: Book) -> None:
    study = book.film(1)
    book.report(study, [("pacs", DeliveryState.PENDING)], age=100.0)
    attempts, errand = Attempts(book.records.engine), Errand(study, 1, "pacs")
    made = book.records.reports([study])[0].created_at
    assert attempts.of(errand) == AttemptRecord(**errand._asdict(), since=made)
    attempts.failed(errand, 1, since=made, tried_at=made + 1, next_at=made + 6)
    assert [(a.errand, a.number) for a in attempts.of_studies([study])] == [(errand, 1)]
    assert attempts.ahead_of(made + 5) == attempts.of_studies([study])
    assert attempts.ahead_of(made + 6) == []
    attempts.begin_again(errand)
    again = attempts.of(errand)
    assert again.since > made + 50
    assert again.number == 1
    attempts.end(errand)
    assert attempts.of_studies([study]) == []
