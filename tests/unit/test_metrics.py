"""What Prometheus reads, over a real ledger: every figure, and nothing of a patient."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from pneumo_monai.entries import DeliveryState, FilmState
from pneumo_monai.metrics import Metrics
from pneumo_monai.processes import ProcessState
from pneumo_monai.readings import Readings
from pneumo_monai.records import Records
from pneumo_monai.reserve import Reserve
from pneumo_monai.web.app import make_app
from tests.ledgers import Book

ROOT = Path(__file__).parents[2]
PROCESSES = [ProcessState(name="listener", ready=True, pid=1, starts=3, status="fine")]

Samples = dict[tuple[str, str], float]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    book = Book(tmp_path)
    yield book
    book.close()


def samples(text: str) -> Samples:
    """Return values by name and labels, these in alphabetical order."""
    return {
        (sample.name.removeprefix("pneumo_monai_"), ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def measure(book: Book) -> Samples:
    reserve = Reserve(ROOT, 12345)
    metrics = Metrics(lambda: book.records, lambda: PROCESSES, lambda: {"silence": True}, ["pacs", "ris"], reserve)
    return samples(metrics.text().decode())


def read(book: Book, study: str, *, positive: bool) -> None:
    """Enter that a study was read."""
    Readings(book.records.engine)
    with book.records.engine.begin() as connection:
        values = {"study": study, "positive": positive}
        connection.execute(sa.text("INSERT INTO readings VALUES (:study, :positive, strftime('%s'))"), values)


def test_every_figure_stands_for_what_the_ledger_holds(book: Book):
    book.report(book.film(1, FilmState.ANALYSED, age=10), [("pacs", DeliveryState.DELIVERED)], age=5)
    book.report(book.film(2, FilmState.ANALYSED), [("pacs", DeliveryState.PENDING)], age=90)
    book.film(3, FilmState.REFUSED, "view")
    book.film(4, age=40)
    for study, positive in (("1.2.1", True), ("1.2.2", False)):
        read(book, study, positive=positive)
    found = measure(book)
    expected = {
        ("films", "analysed,"): 2,
        ("films", "refused,view"): 1,
        ("films", "failed,"): 0,
        ("films", "in progress,"): 1,
        ("deliveries", "pacs,delivered"): 1,
        ("deliveries", "pacs,pending"): 1,
        ("deliveries", "ris,undeliverable"): 0,
        ("queue_depth", "films"): 1,
        ("queue_depth", "studies"): 1,
        ("queue_depth", "deliver-pacs"): 1,
        ("queue_depth", "deliver-ris"): 0,
        ("oldest_delivery_age_seconds", "ris"): 0,
        ("studies_read", "7"): 2,
        ("positive_ratio", "7"): 0.5,
        ("process_starts_total", "listener"): 3,
        ("process_ready", "listener"): 1,
        ("alarm", "silence"): 1,
        ("ledger_up", ""): 1,
        ("disk_reserve_bytes", ""): 12345,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found["disk_free_bytes", ""] > 0
    assert 90 <= found["oldest_delivery_age_seconds", "pacs"] < 150
    assert 40 <= found["oldest_film_age_seconds", ""] < 100
    assert 0 <= found["last_film_age_seconds", ""] < 60
    assert 9 <= found["stage_seconds", "1.0,answer"] < 70
    assert 5 <= found["stage_seconds", "0.5,delivery"] < 65


def test_no_uid_and_no_path_is_among_the_labels(book: Book):
    book.report(book.film(1, FilmState.ANALYSED), [("pacs", DeliveryState.DELIVERED)])
    text = Metrics(lambda: book.records, lambda: PROCESSES, dict, []).text().decode()
    assert "1.2.1" not in text
    assert "SCANNER" not in text


def test_an_empty_ledger_has_every_row_and_none_of_a_film(book: Book):
    found = measure(book)
    assert found["films", "analysed,"] == found["oldest_film_age_seconds", ""] == found["queue_depth", "films"] == 0
    assert ("last_film_age_seconds", "") not in found
    assert ("positive_ratio", "7") not in found


def test_a_ledger_that_cannot_be_read_is_a_figure_too():
    def broken() -> Records:
        raise sa.exc.OperationalError("select", None, Exception("down"))

    answer = TestClient(make_app(broken, lambda: PROCESSES)).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = samples(answer.text)
    assert found["ledger_up", ""] == 0
    assert found["process_starts_total", "listener"] == 3


def test_every_metric_has_its_row(book: Book):
    book.report(book.film(1, FilmState.ANALYSED), [("pacs", DeliveryState.DELIVERED)])
    read(book, "1.2.1", positive=True)
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert {name for name, _ in measure(book) if f"| `pneumo_monai_{name}` |" not in page} == set()
