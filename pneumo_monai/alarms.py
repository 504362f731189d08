"""Silence and a growing backlog: seen in the ledger, said in the log, the metrics, and to a webhook.

An alarm is raised once and cleared once. What a webhook did not take is sent again at the next look, in order.
"""

import json
import logging
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from pneumo_monai import __version__
from pneumo_monai.monitoring import WEEKDAYS
from pneumo_monai.monitoring import Alarms as AlarmSettings
from pneumo_monai.settings import Settings
from pneumo_monai.tables import connect
from pneumo_monai.tally import Tally

__all__ = ["Watch", "watching"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 15.0
_WEBHOOK_SECONDS = 10.0
_MOST_UNSENT = 100


class Watch:
    """Looks at the ledger from time to time.

    Parameters
    ----------
    settings : Alarms
        What is an alarm.
    tally : callable
        Returns the ledger's counts; may raise `sqlalchemy.exc.SQLAlchemyError`.
    source : str
        Names us to the webhook: our AE title.
    clock : callable
        Seconds since the epoch.
    """

    def __init__(
        self,
        settings: AlarmSettings,
        tally: Callable[[], Tally],
        *,
        source: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._tally = tally
        self._source = source
        self._clock = clock
        # What came while nothing listened is not waited for.
        self._begun = clock()
        self._raised: dict[str, float] = {}
        self._totals: deque[tuple[float, int]] = deque()
        self._unsent: deque[dict[str, Any]] = deque(maxlen=_MOST_UNSENT)

    @property
    def states(self) -> Mapping[str, bool]:
        """Whether each alarm is raised."""
        return {name: name in self._raised for name in ("silence", "backlog")}

    def look(self) -> None:
        """Look once, and say what changed."""
        now = self._clock()
        try:
            tally = self._tally()
            last, waiting = tally.last_film_at(), tally.backlog().total
        except sa.exc.SQLAlchemyError as error:
            _log.warning("the ledger cannot be looked at for alarms (%s)", type(error).__name__)
        else:
            quiet = max(last or 0.0, self._begun)
            self._set("silence", self._is_silent(now, quiet), f"no film for {(now - quiet) / 60:.0f} minutes", now)
            self._set("backlog", self._is_growing(now, waiting), f"{waiting} films and reports wait", now)
        self._call_webhook()

    def _is_silent(self, now: float, quiet: float) -> bool:
        limit = self._settings.silence_minutes
        if limit is None:
            return False
        if "silence" in self._raised and quiet <= self._raised["silence"]:
            # The end of the hours ends no silence; only a film does.
            return True
        local = datetime.fromtimestamp(now, UTC).astimezone()
        begin, end = self._settings.span
        if WEEKDAYS[local.weekday()] not in self._settings.weekdays:
            return False
        if not begin <= local.hour * 60 + local.minute < end:
            return False
        opened = local.replace(hour=begin // 60, minute=begin % 60, second=0, microsecond=0).timestamp()
        return now - max(quiet, opened) >= limit * 60

    def _is_growing(self, now: float, waiting: int) -> bool:
        least = self._settings.backlog
        if least is None:
            return False
        before = now - self._settings.backlog_minutes * 60
        self._totals.append((now, waiting))
        while len(self._totals) > 1 and self._totals[1][0] <= before:
            self._totals.popleft()
        if "backlog" in self._raised:
            return waiting >= least
        moment, then = self._totals[0]
        return moment <= before and least <= then <= waiting

    def _set(self, alarm: str, is_on: bool, detail: str, now: float) -> None:
        if is_on == (alarm in self._raised):
            return
        if is_on:
            self._raised[alarm] = now
            _log.error("alarm %s: %s", alarm, detail)
        else:
            del self._raised[alarm]
            _log.warning("alarm %s is over: %s", alarm, detail)
        self._unsent.append(
            {
                "alarm": alarm,
                "state": "raised" if is_on else "cleared",
                "detail": detail,
                "at": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
                "source": self._source,
                "version": __version__,
            }
        )

    def _call_webhook(self) -> None:
        if self._settings.webhook is None:
            self._unsent.clear()
            return
        while self._unsent:
            request = urllib.request.Request(  # noqa: S310 - the settings let only http and https through
                self._settings.webhook.get_secret_value(),
                data=json.dumps(self._unsent[0]).encode(),
                headers={"Content-Type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=_WEBHOOK_SECONDS):  # noqa: S310 - as above
                    self._unsent.popleft()
            except (OSError, ValueError) as error:
                # Its address is not repeated: it may hold a secret.
                _log.warning("alarms.webhook did not take an alarm (%s), it is called again", type(error).__name__)
                return


@contextmanager
def watching(settings: Settings, interval: float = _LOOK_SECONDS) -> Iterator[Watch]:
    """Look at the ledger from a thread, until the context ends."""

    @cache
    def tally() -> Tally:
        return Tally(connect(settings.ledger_url))

    watch = Watch(settings.alarms, tally, source=settings.listener.ae_title)
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(interval):
            try:
                watch.look()
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                _log.error("alarms could not be looked at (%s)", type(error).__name__)

    thread = threading.Thread(target=run, name="alarms", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join(1)
