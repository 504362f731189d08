"""Which films are under the hands of a stage just now, written where the death of the process leaves it.

::

    <data_dir>/hands/<slot>    ids of films, as a JSON list

Nothing is synchronised: a process that dies leaves what it wrote to the kernel, and a power cut is no film's fault.
"""

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

__all__ = ["Hands"]


class Hands:
    """The hands of one worker. Any thread may use them.

    Parameters
    ----------
    data_dir : pathlib.Path
        From the settings.
    slot : str
        Stable name of the worker among its peers.

    Attributes
    ----------
    left : frozenset of int
        Ids of the films that were at hand when the last worker of this slot ended; empty when it put them down.
    """

    def __init__(self, data_dir: Path, slot: str) -> None:
        path = data_dir / "hands" / quote(slot, safe="")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.left = _read(path)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._length = os.fstat(self._file).st_size
        self._held: dict[int, tuple[tuple[int, ...], float]] = {}
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Take note that it is entered elsewhere what was left."""
        with self._lock:
            self._write()

    @contextmanager
    def holding(self, films: Iterable[int]) -> Iterator[None]:
        """Have films at hand while the context lasts."""
        held = tuple(films)
        key = threading.get_ident()
        with self._lock:
            self._held[key] = (held, time.monotonic())
            self._write()
        try:
            yield
        finally:
            with self._lock:
                del self._held[key]
                self._write()

    def longest(self) -> float:
        """Return for how many seconds a film has been at hand; 0.0 when none is."""
        with self._lock:
            since = [begun for _, begun in self._held.values()]
        return time.monotonic() - min(since) if since else 0.0

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _write(self) -> None:
        line = json.dumps(sorted({film for films, _ in self._held.values() for film in films})).encode()
        # One write over what stood there: there is no moment at which the file is empty, or longer than it says.
        self._length = max(self._length, len(line))
        # What cannot be noted on a full disk must not cost a film: being suspected costs time only.
        with suppress(OSError):
            os.pwrite(self._file, line.ljust(self._length), 0)


def _read(path: Path) -> frozenset[int]:
    try:
        films = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return frozenset()
    return frozenset(film for film in films if isinstance(film, int)) if isinstance(films, list) else frozenset()
