"""A day's films accounted for, over real ledgers."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pneumo_monai.cli import app
from pneumo_monai.entries import DeliveryState, FilmState
from tests.ledgers import Book

DAY_SECONDS = 86_400
NOON = datetime.now(UTC).astimezone().replace(hour=12, minute=0)
TODAY = NOON.date()

Ask = Callable[..., Result]


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it be noon, as long as a test takes: at midnight a film would be of another day than its test."""
    monkeypatch.setattr("time.time", NOON.timestamp)


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    config = tmp_path / "config.yaml"
    config.write_text(f"data_dir: {tmp_path / 'data'}\n")

    def ask(*options: str, day: str = TODAY.isoformat()) -> Result:
        return CliRunner().invoke(app, ["reconcile", "--config", str(config), "--day", day, *options])

    return ask


def test_a_day_is_accounted_for_by_outcome_reason_and_destination(tmp_path: Path, ask: Ask):
    book = Book(tmp_path / "data")
    book.report(book.film(1, FilmState.ANALYSED), [("pacs", DeliveryState.DELIVERED), ("ris", DeliveryState.PENDING)])
    book.film(2, FilmState.REFUSED, "view")
    book.film(3, FilmState.FAILED, "internal")
    book.film(4)
    book.film(5, FilmState.ANALYSED, age=3 * DAY_SECONDS)
    done = ask()
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        f"{TODAY}: 4 received = 1 analysed + 1 refused + 1 failed + 1 in progress",
        "refused: 1 view",
        "failed: 1 internal",
        "delivery to pacs: 1 delivered",
        "delivery to ris: 1 pending",
    ]
    body = json.loads(ask("--json").output)
    assert body == {
        "day": TODAY.isoformat(),
        "received": 4,
        "holds": True,
        "counts": {"in progress": 1, "analysed": 1, "refused": 1, "failed": 1},
        "reasons": {"refused": {"view": 1}, "failed": {"internal": 1}},
        "deliveries": {"pacs": {"delivered": 1}, "ris": {"pending": 1}},
        "undeliverable": 0,
        "commitments": {},
        "uncommitted": 0,
        "ok": True,
    }
    book.close()


def test_another_day_is_another_account(tmp_path: Path, ask: Ask):
    book = Book(tmp_path / "data")
    book.film(1, FilmState.ANALYSED, age=3 * DAY_SECONDS)
    book.close()
    before = json.loads(ask("--json", day=(TODAY - timedelta(days=3)).isoformat()).output)
    assert (before["received"], json.loads(ask("--json").output)["received"]) == (1, 0)


def test_what_is_undeliverable_is_an_exit_status_until_a_later_revision_is_delivered(tmp_path: Path, ask: Ask):
    book = Book(tmp_path / "data")
    study = book.film(1, FilmState.ANALYSED)
    book.report(study, [("pacs", DeliveryState.UNDELIVERABLE)])
    assert ask().exit_code == 1
    assert json.loads(ask("--json").output)["undeliverable"] == 1
    book.report(study, [("pacs", DeliveryState.DELIVERED)])
    assert ask().exit_code == 0
    book.close()


def test_a_sum_that_does_not_hold_is_an_exit_status(tmp_path: Path, ask: Ask):
    book = Book(tmp_path / "data")
    book.film(1)
    book.film(2)
    book.corrupt()
    book.close()
    done = ask()
    assert done.exit_code == 1
    assert "2 received != 0 analysed + 0 refused + 0 failed + 1 in progress" in done.output
    assert "does not know: lost" in done.output


def test_without_a_ledger_there_is_nothing_to_account_for(ask: Ask):
    assert "holds no ledger yet" in str(ask().exception)
    assert ask(day="yesterday").exit_code == 2
