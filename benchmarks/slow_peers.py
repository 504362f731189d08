"""Peers that send one byte a second: half of them a request, half of them a message on an association they have."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["SlowPeers"]

_Peer = tuple[socket.socket, bytes]
"""A connection, and what is still to be sent over it."""


class SlowPeers:
    """Runs the peers in a thread of its own while its context lasts.

    Parameters
    ----------
    port : int
        Of the listener.
    count : int
        How many there are.
    pdus : sequence of bytes
        The request, and a message, as a sound peer sends them.
    """

    def __init__(self, port: int, count: int, pdus: Sequence[bytes]) -> None:
        self._port = port
        self._request, self._message = pdus[0], b"".join(pdus[1:-1])
        self._peers: list[_Peer | None] = [None] * count
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slow peers", daemon=True)
        self.ended = 0
        """How many the listener has ended; each comes again."""

    @property
    def connected(self) -> int:
        """How many have a connection now."""
        return sum(peer is not None for peer in self._peers)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for peer in self._peers:
            if peer is not None:
                peer[0].close()

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            for number, peer in enumerate(self._peers):
                if self._stop.is_set():
                    return
                self._peers[number] = self._step(peer, is_associated=number % 2 == 1)

    def _step(self, peer: _Peer | None, *, is_associated: bool) -> _Peer | None:
        """Send one byte; connect where there is no connection."""
        with suppress(OSError):
            if peer is None:
                return self._connect(is_associated=is_associated)
            connection, left = peer
            with suppress(BlockingIOError):
                while connection.recv(4096):
                    pass
                raise ConnectionResetError
            connection.send(left[:1])
            return connection, left[1:] or b"\0"
        if peer is not None:
            peer[0].close()
            self.ended += 1
        return None

    def _connect(self, *, is_associated: bool) -> _Peer:
        connection = socket.create_connection(("127.0.0.1", self._port), 10)
        if is_associated:
            connection.sendall(self._request)
            connection.recv(4096)
        connection.setblocking(False)
        return connection, self._message if is_associated else self._request
