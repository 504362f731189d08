"""That no film can be taken, said once when it begins and once when it is over, to the log and to who started us."""

import logging
import threading
import time
from collections.abc import Callable

from pneumo_monai.notify import notify
from pneumo_monai.reserve import Reserve

__all__ = ["Shortage"]

_log = logging.getLogger(__name__)

_QUIET_SECONDS = 60.0
"""Senders try again: when none was turned away for so long, what they lacked is there, or nobody sends."""


class Shortage:
    """Whether films are answered 0xA700 for want of disk or ledger, and why.

    Parameters
    ----------
    reserve : Reserve
        A shortage is not over before there is room for the largest film that was turned away.
    clock : callable
        Seconds that never go back.
    """

    def __init__(self, reserve: Reserve, clock: Callable[[], float] = time.monotonic) -> None:
        self._reserve = reserve
        self._clock = clock
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._films = 0
        self._largest = 0
        self._last = 0.0

    def turned_away(self, why: str, size: int) -> None:
        """Take note that a film was answered 0xA700.

        Parameters
        ----------
        why : str
            Alike for all films that lack the same: it is said once.
        size : int
            Bytes of the film.
        """
        with self._lock:
            self._films += 1
            self._largest, self._last = max(self._largest, size), self._clock()
            if why in self._said:
                return
            self._said.add(why)
        _log.error("films are answered 0xA700 from now on: %s", why)
        notify(f"X_READY=0\nSTATUS=films are answered 0xA700: {why}")

    def taken(self) -> None:
        """Take note that a film was taken."""
        if self._said:
            self._end()

    def look(self) -> None:
        """End what is over though nobody sends."""
        if self._said and self._clock() - self._last > _QUIET_SECONDS:
            self._end()

    def _end(self) -> None:
        with self._lock:
            if not self._said or not self._is_over():
                return
            films, self._films, self._largest = self._films, 0, 0
            self._said.clear()
        _log.warning("films are taken again; %d were answered 0xA700", films)
        notify("X_READY=1\nSTATUS=takes films again")

    def _is_over(self) -> bool:
        try:
            # A small film finds its place where a larger one does not.
            return self._reserve.has_room_for(self._largest)
        except OSError:
            # What cannot be looked at takes no film either; whoever asks goes on with other things.
            return False
