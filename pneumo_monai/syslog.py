"""Messages to a syslog server: RFC 5424 over UDP (RFC 5426) or TCP with octet counting (RFC 6587 3.4.1).

A server that is slow or away holds up nobody: messages wait in a bounded queue, and what does not fit is said.
"""

import logging
import os
import queue
import socket
import threading
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

__all__ = ["Syslog"]

_log = logging.getLogger(__name__)

_PRIORITY = 10 * 8 + 5
"""Facility 10 (security), severity 5 (normal but significant): PS3.15 A.6 leaves it open, IHE ATNA takes these."""

_WAITING = 10_000
_TIMEOUT_SECONDS = 5.0
_ATTEMPTS = 3


class Syslog:
    """Sends messages from a thread.

    Parameters
    ----------
    address : str
        ``udp://host:port`` or ``tcp://host:port``.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._is_udp = parts.scheme == "udp"
        self._peer = (str(parts.hostname), int(parts.port or 514))
        self._hostname = socket.gethostname() or "-"
        self._queue: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="syslog", daemon=True)
        self._thread.start()

    def send(self, message_id: str, text: str) -> None:
        """Queue one message."""
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        head = f"<{_PRIORITY}>1 {when} {self._hostname} pneumo-monai {os.getpid()} {message_id} - "
        # RFC 5424 6.4: text in UTF-8 begins with a byte order mark.
        try:
            self._queue.put_nowait(head.encode("ascii", "replace") + b"\xef\xbb\xbf" + text.encode())
        except queue.Full:
            _log.error("audit.syslog does not keep up: a message is lost there")

    def close(self, seconds: float = _TIMEOUT_SECONDS) -> None:
        """Send what waits, for some seconds at the most."""
        try:
            self._queue.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            for attempt in range(_ATTEMPTS):
                try:
                    self._transmit(message)
                    break
                except OSError as error:
                    self._hang_up()
                    if attempt == _ATTEMPTS - 1:
                        _log.error("audit.syslog cannot be reached, a message is lost there (%s)", type(error).__name__)
                    else:
                        time.sleep(0.1 * 2**attempt)
        self._hang_up()

    def _transmit(self, message: bytes) -> None:
        if self._connection is None:
            if self._is_udp:
                family, kind, protocol, _, address = socket.getaddrinfo(*self._peer, type=socket.SOCK_DGRAM)[0]
                self._connection = socket.socket(family, kind, protocol)
                self._connection.connect(address)
            else:
                self._connection = socket.create_connection(self._peer, timeout=_TIMEOUT_SECONDS)
        self._connection.sendall(message if self._is_udp else b"%d " % len(message) + message)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
