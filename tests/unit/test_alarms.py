"""Silence and a growing backlog, over a real ledger, with a real receiver of webhooks."""

import json
import logging
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pneumo_monai.alarms import Watch, watching
from pneumo_monai.entries import FilmState
from pneumo_monai.monitoring import Alarms
from pneumo_monai.settings import Settings
from pneumo_monai.tables import FILMS
from pneumo_monai.tally import Tally
from tests.ledgers import Book
from tests.peers import wait_until

MINUTE = 60.0
WEDNESDAY = datetime(2026, 11, 25, 7, 0).astimezone().timestamp()


class Receiver:
    """Takes what is posted, and answers a status."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.status = 204
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if receiver.status < 300:
                    receiver.posts.append(body)
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?key=MARKED"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


class Clock:
    """A ledger and a watch, and what time it is for both."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.book = Book(folder)
        self.now = WEDNESDAY
        tally = Tally(self.book.records.engine)
        self.watch = Watch(Alarms(**settings), lambda: tally, source="PNEUMO", clock=lambda: self.now)

    def film(self, number: int) -> None:
        """Receive a film now."""
        self.book.film(number)
        with self.book.records.engine.begin() as connection:
            connection.execute(sa.update(FILMS).where(FILMS.c.id == number).values(received_at=self.now))

    def after(self, minutes: float) -> dict[str, bool]:
        """Look some minutes later."""
        self.now += minutes * MINUTE
        self.watch.look()
        return dict(self.watch.states)


@pytest.fixture
def clock(tmp_path: Path, receiver: Receiver) -> Iterator[Clock]:
    clock = Clock(tmp_path, silence_minutes=30, backlog=3, backlog_minutes=10, webhook=receiver.url)
    yield clock
    clock.book.close()


def test_silence_is_counted_from_the_begin_of_the_hours_and_ended_by_a_film(
    clock: Clock, receiver: Receiver, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    assert not clock.after(59)["silence"]
    assert not clock.after(25)["silence"]
    assert clock.after(6)["silence"]
    assert clock.after(10)["silence"]
    clock.film(1)
    assert not clock.after(1)["silence"]
    assert [(post["alarm"], post["state"], post["source"]) for post in receiver.posts] == [
        ("silence", "raised", "PNEUMO"),
        ("silence", "cleared", "PNEUMO"),
    ]
    assert "alarm silence: no film for" in caplog.text
    assert "alarm silence is over" in caplog.text
    assert "MARKED" not in caplog.text


def test_nights_and_weekends_are_no_silence_and_end_none(clock: Clock):
    clock.film(1)
    assert not clock.after(1)["silence"]
    assert clock.after(9 * 60)["silence"]
    assert clock.after(10 * 60)["silence"]
    clock.film(2)
    assert not clock.after(1)["silence"]
    # Saturday at noon, Wednesday being day 0.
    clock.now = WEDNESDAY + (3 * 24 + 5) * 60 * MINUTE
    assert not clock.after(0)["silence"]


def test_a_backlog_is_an_alarm_when_it_lasts_and_does_not_sink(clock: Clock, receiver: Receiver):
    for number in (1, 2, 3):
        clock.film(number)
    assert not clock.after(0)["backlog"]
    assert not clock.after(9)["backlog"]
    clock.film(4)
    assert clock.after(2)["backlog"]
    for state in (FilmState.ANALYSED, FilmState.FAILED):
        with clock.book.records.engine.begin() as connection:
            oldest = sa.select(sa.func.min(FILMS.c.id)).where(FILMS.c.state == FilmState.IN_PROGRESS).scalar_subquery()
            connection.execute(sa.update(FILMS).where(FILMS.c.id == oldest).values(state=state))
    assert not clock.after(1)["backlog"]
    assert [post["detail"] for post in receiver.posts] == ["4 films and reports wait", "2 films and reports wait"]


def test_a_backlog_that_sinks_is_none(clock: Clock):
    for number in range(1, 8):
        clock.film(number)
    clock.after(0)
    with clock.book.records.engine.begin() as connection:
        connection.execute(sa.update(FILMS).where(FILMS.c.id == 1).values(state=FilmState.ANALYSED))
    assert not clock.after(11)["backlog"]


def test_what_a_webhook_does_not_take_is_sent_again_in_order(
    clock: Clock, receiver: Receiver, caplog: pytest.LogCaptureFixture
):
    receiver.status = 503
    assert clock.after(95)["silence"]
    clock.now += 1
    clock.film(1)
    clock.after(1)
    assert not receiver.posts
    assert "MARKED" not in caplog.text
    receiver.status = 200
    clock.after(1)
    assert [post["state"] for post in receiver.posts] == ["raised", "cleared"]


def test_a_thread_looks_until_the_service_ends(tmp_path: Path, receiver: Receiver):
    book = Book(tmp_path)
    for number in (1, 2):
        book.film(number, age=60)
    alarms = {"backlog": 2, "backlog_minutes": 0.0001, "webhook": receiver.url}
    with watching(Settings(data_dir=tmp_path, alarms=alarms), interval=0.05) as watch:
        wait_until("the alarm is raised", lambda: watch.states["backlog"])
        wait_until("the receiver knows", lambda: receiver.posts)
    book.close()


@pytest.mark.parametrize(
    "wrong", [{"hours": "18:00-08:00"}, {"hours": "8-18"}, {"weekdays": ["monday"]}, {"webhook": "file:///etc/passwd"}]
)
def test_a_setting_that_means_nothing_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Alarms(**wrong)
