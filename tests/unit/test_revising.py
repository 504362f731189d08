"""What a person asks of the ledger while no worker runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pneumo_monai.entries import DeliveryState, Errand
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.ledger import prepare
from pneumo_monai.revising import ask_for_another_attempt
from pneumo_monai.settings import Destination, Settings
from tests.ledgers import Book

UNDELIVERABLE, PENDING, DELIVERED = DeliveryState.UNDELIVERABLE, DeliveryState.PENDING, DeliveryState.DELIVERED


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    opened = Book(tmp_path / "data")
    prepare(str(opened.records.engine.url)).dispose()
    yield opened
    opened.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    peers = tuple(Destination(name=name, ae_title="PEER", host="127.0.0.1", port=1) for name in ("pacs", "other"))
    return Settings(data_dir=tmp_path / "data", destinations=peers)


def asked(book: Book) -> list[tuple[str, str]]:
    """Return queue and state of all attempts that are asked for."""
    with book.records.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT queue_name, status FROM workflow_status ORDER BY workflow_uuid"))
        return [(queue, status) for queue, status in rows]


def test_what_was_given_up_waits_again_and_an_attempt_is_asked_for_once(book: Book, settings: Settings) -> None:
    study = book.film(1)
    book.report(study, [("pacs", UNDELIVERABLE), ("other", DELIVERED)])
    for what in ("is revived", "does not wait any longer"):
        lines = ask_for_another_attempt(settings)
        assert lines == [f"{study}: revision 1 for pacs {what}", "1 are tried as soon as a worker runs"]
        assert book.records.not_delivered() == {Errand(study, 1, "pacs"): PENDING}
        assert asked(book) == [("deliver-4-pacs", "ENQUEUED")]


def test_a_destination_or_a_study_narrows_it(book: Book, settings: Settings) -> None:
    first, second = book.film(1), book.film(2)
    for study in (first, second):
        book.report(study, [("pacs", UNDELIVERABLE), ("other", UNDELIVERABLE)])
    ask_for_another_attempt(settings, destination="pacs", study=first)
    left = book.records.not_delivered()
    assert [errand for errand, state in left.items() if state is PENDING] == [Errand(first, 1, "pacs")]
    assert ask_for_another_attempt(settings, study=second)[-1].startswith("2 are tried")


def test_a_result_that_was_superseded_is_not_revived(book: Book, settings: Settings) -> None:
    study = book.film(1)
    book.report(study, [("pacs", UNDELIVERABLE)])
    book.report(study, [("pacs", DELIVERED)])
    assert ask_for_another_attempt(settings) == ["nothing is to be tried again"]
    assert asked(book) == []


def test_a_destination_that_is_no_longer_in_the_configuration_is_named_and_not_asked_for(
    book: Book, settings: Settings
) -> None:
    study = book.film(1)
    book.report(study, [("gone", UNDELIVERABLE)])
    for lines in (ask_for_another_attempt(settings), ask_for_another_attempt(settings, destination="gone")):
        assert lines == [
            "gone: 1 not delivered, and `destinations` has no such name any more; put it back and ask again",
            "nothing is to be tried again",
        ]
    assert asked(book) == []


def test_an_unknown_destination_or_study_says_what_there_is(book: Book, settings: Settings) -> None:
    book.film(1)
    with pytest.raises(ConfigurationError, match="'pcas' is no destination; the configuration has other, pacs"):
        ask_for_another_attempt(settings, destination="pcas")
    with pytest.raises(ConfigurationError, match=r"1\.2\.9: nothing was received of it"):
        ask_for_another_attempt(settings, study="1.2.9")
