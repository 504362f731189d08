"""The upper layer's socket, bounded: no PDU larger than we said, no peer that takes for ever (PS3.8 9.1).

pynetdicom reads as many bytes as a PDU declares, and waits for each without a deadline. Here a PDU is gathered from a
socket that never blocks, and is handed over once it is whole; until then timers run and nothing larger was allocated.
"""

import logging
import select
import socket
import ssl
import time
from contextlib import suppress
from enum import Enum

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.fsm import TRANSITION_TABLE, StateMachine
from pynetdicom.transport import AssociationSocket

from pneumo_monai.connections import Limits
from pneumo_monai.waiting import Bell, wait_without_looking

__all__ = ["BoundedSocket", "EnduringStateMachine", "PduStream", "Progress", "close"]

_log = logging.getLogger(__name__)

_HEADER_BYTES = 6
_CHUNK_BYTES = 64 * 1024
_PDU_TYPES = range(1, 8)
_INVALID_PDU = "Evt19"
"""PS3.8 table 9-10: unrecognized or invalid PDU, which is answered with an A-ABORT."""
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Progress(Enum):
    """How far a PDU has come."""

    WAITING = "waiting"
    WHOLE = "whole"
    CLOSED = "closed"
    INVALID = "invalid"


class PduStream:
    """Gathers one PDU at a time from a socket, which it makes non-blocking.

    Parameters
    ----------
    connection : socket.socket
        Connected; over TLS, after the handshake.
    limit : int
        Bytes that a PDU may declare (PS3.8 table 9-11 and its kin: PDU-length).
    """

    def __init__(self, connection: socket.socket, limit: int) -> None:
        connection.setblocking(False)
        _set_for_tcp(connection, socket.TCP_NODELAY)
        self.connection = connection
        self.limit = limit
        self._gathered = bytearray()
        self._progress = Progress.WAITING

    @property
    def pdu_type(self) -> int | None:
        """The first byte of the PDU; None before it is there."""
        return self._gathered[0] if self._gathered else None

    def __len__(self) -> int:
        return len(self._gathered)

    @property
    def pdu(self) -> bytes:
        """What was gathered of the PDU."""
        return bytes(self._gathered)

    def fill(self) -> Progress:
        """Read what has arrived of this PDU, and no byte of the next."""
        # DCMTK writes a PDU in two parts, and holds the second back until the first is acknowledged. The kernel forgets
        # that it is to do that at once.
        _set_for_tcp(self.connection, socket.TCP_QUICKACK)
        try:
            while self._progress is Progress.WAITING and (missing := self._missing()):
                arrived = self.connection.recv(min(missing, _CHUNK_BYTES))
                if not arrived:
                    self._end(Progress.CLOSED)
                self._gathered += arrived
        except _WOULD_BLOCK:
            pass
        except OSError:
            self._end(Progress.CLOSED)
        return self._progress

    def wait(self, deadline: float) -> Progress:
        """Fill until the PDU is whole or can never be, or the monotonic clock passes the deadline."""
        while self.fill() is Progress.WAITING and (left := deadline - time.monotonic()) > 0:
            _wait(self.connection, select.POLLIN, left)
        return self._progress

    def take(self, count: int) -> bytearray:
        """Hand over bytes of a whole PDU; with its last one the next begins."""
        taken = self._gathered[:count]
        del self._gathered[:count]
        if not self._gathered and self._progress is Progress.WHOLE:
            self._progress = Progress.WAITING
        return taken

    def send(self, content: bytes, timeout: float) -> None:
        """Send all bytes.

        Raises
        ------
        OSError
            The connection is closed, or the peer did not take them in time.
        """
        deadline = time.monotonic() + timeout
        left = memoryview(content)
        while left:
            try:
                left = left[self.connection.send(left) :]
            except _WOULD_BLOCK as error:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError("the peer takes nothing") from None
                wanted = select.POLLIN if isinstance(error, ssl.SSLWantReadError) else select.POLLOUT
                _wait(self.connection, wanted, remaining)

    def drain(self, deadline: float) -> None:
        """Throw away what still comes, until the peer closes, has sent too much, or the deadline passes."""
        left = self.limit
        while left > 0 and (seconds := deadline - time.monotonic()) > 0:
            try:
                if not (arrived := self.connection.recv(_CHUNK_BYTES)):
                    return
                left -= len(arrived)
            except _WOULD_BLOCK:
                _wait(self.connection, select.POLLIN, seconds)

    def _missing(self) -> int:
        if len(self._gathered) < _HEADER_BYTES:
            return _HEADER_BYTES - len(self._gathered)
        declared = int.from_bytes(self._gathered[2:_HEADER_BYTES], "big")
        if self._gathered[0] not in _PDU_TYPES or declared > self.limit:
            self._end(Progress.INVALID)
            return 0
        missing = _HEADER_BYTES + declared - len(self._gathered)
        if not missing:
            self._progress = Progress.WHOLE
        return missing

    def _end(self, progress: Progress) -> None:
        self._progress = progress
        self._gathered.clear()


def _set_for_tcp(connection: socket.socket, option: int) -> None:
    # A connection that was closed meanwhile is seen by whoever reads from it.
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, option, 1)


def close(connection: socket.socket) -> None:
    """Close a socket, also where its peer was faster or it is closed already."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _wait(connection: socket.socket, events: int, seconds: float) -> None:
    # poll, not select: descriptors above 1023 are as good as others.
    poller = select.poll()
    poller.register(connection, events)
    poller.poll(max(1, int(seconds * 1000)))


class EnduringStateMachine(StateMachine):
    """The state machine of PS3.8 9.2, which no peer can end.

    pynetdicom's own raises where its table has no row, and where a message trips its parser: its thread ends with a
    traceback, and the association stands, deaf, until the network time-out.
    """

    def do_action(self, event: str) -> None:
        """Do what the table says; abort the association where that cannot be done."""
        if (event, self.current_state) not in TRANSITION_TABLE:
            # Two threads may end an association at once: one asks for an abort where the other has sent its own (Evt7
            # in Sta13). The first stands, and timers end what would go on.
            return
        try:
            super().do_action(event)
        except Exception as error:
            if event == _INVALID_PDU:
                raise
            title, what = str(self.dul.assoc.requestor.ae_title).strip(), type(error).__name__
            _log.warning("the association with %s is aborted: what it sent is no message (%s)", title, what)
            # pynetdicom has told its thread to end: the peer would get no answer.
            self.dul._kill_thread = False
            self.dul.event_queue.put(_INVALID_PDU)


class BoundedSocket(AssociationSocket):
    """An association's socket that holds its peer to the limits.

    Parameters
    ----------
    association : Association
        Of pynetdicom, in the role of the acceptor.
    stream : PduStream
        Whose first PDU, the A-ASSOCIATE-RQ, may be gathered already.
    limits : Limits
        Bytes and seconds.
    """

    def __init__(self, association: Association, stream: PduStream, limits: Limits) -> None:
        super().__init__(association, client_socket=stream.connection)
        self._stream = stream
        self._bell = Bell()
        wait_without_looking(association, self._bell)
        self._limits = limits
        self._failed = False
        self._pdu_begun: float | None = None
        self._message_begun = 0.0
        self._message_bytes = 0

    @property
    def ready(self) -> bool:
        """Whether a whole PDU, or the end of the connection, can be read without waiting; waits a moment for it."""
        if self.socket is None or not self._is_connected or self._failed:
            return False
        if self.assoc.dimse.msg_queue.qsize() and self.assoc.is_established:
            # One message is served at a time: what a peer sends ahead waits in its own buffers, not in our memory.
            # Once the association is aborted nothing is served, and the end of the connection must be seen.
            self._pdu_begun = None
            self._wait(None)
            return False
        progress = self._stream.fill()
        if progress is Progress.WAITING and self._wait(self._stream.connection):
            progress = self._stream.fill()
        if progress is Progress.INVALID:
            self._fail(f"it sent a PDU that is none, or has more than {self._stream.limit} bytes")
        elif progress is not Progress.CLOSED:
            self._hold_to_limits(is_whole=progress is Progress.WHOLE)
        return not self._failed and progress in (Progress.WHOLE, Progress.CLOSED)

    def _wait(self, connection: socket.socket | None) -> bool:
        """Wait a moment, unless there is something to do already; tell whether it was waited."""
        # Whoever asks takes an event each time.
        if self.event_queue.qsize():
            return False
        self._bell.wait(connection)
        return True

    def recv(self, nr_bytes: int) -> bytearray:
        """Return bytes of the PDU that `ready` announced; none at the end of the connection."""
        # What follows the A-ASSOCIATE-RQ is held to the length that its answer promises.
        self._stream.limit = self._limits.pdu_bytes
        return self._stream.take(nr_bytes)

    def send(self, bytestream: bytes) -> None:
        """Send a PDU, within the network time-out."""
        try:
            self._stream.send(bytestream, self._limits.network_timeout)
        except (OSError, ValueError):
            # Evt17: transport connection closed (PS3.8 table 9-10)
            self.event_queue.put("Evt17")
            return
        # A peer that waited for us was not idle.
        self.assoc.dul._idle_timer.restart()
        evt.trigger(self.assoc, evt.EVT_DATA_SENT, {"data": bytestream})

    def _hold_to_limits(self, *, is_whole: bool) -> None:
        """Count the seconds and bytes of the message that is coming in; a PDU between messages begins one."""
        now = time.monotonic()
        goes_on = self.assoc.dimse.message is not None
        if self._stream.pdu_type is not None and self._pdu_begun is None:
            self._pdu_begun = now
        if not goes_on:
            self._message_begun, self._message_bytes = self._pdu_begun or now, 0
        if is_whole:
            self._message_bytes += len(self._stream)
            self._pdu_begun = None
        if now - self._message_begun > self._limits.dimse_timeout:
            self._fail(f"a message took more than {self._limits.dimse_timeout:g} s (listener.limits.dimse_timeout)")
        elif self._message_bytes > self._limits.message_bytes:
            self._fail(f"a message has more than {self._limits.message_bytes} bytes (listener.limits.message_bytes)")

    def _fail(self, why: str) -> None:
        self._failed = True
        title = str(self.assoc.requestor.ae_title).strip()
        _log.warning("the association with %s is aborted: %s", title, why)
        self.event_queue.put(_INVALID_PDU)

    def _shutdown_socket(self) -> None:
        close(self._stream.connection)
        self._bell.close()
