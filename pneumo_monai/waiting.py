"""How the two threads of an association wait: for what is for them, not for the next millisecond.

pynetdicom's threads look around a thousand times a second each: some hundred associations, most of them silent, take a
core by that.
"""

import os
import queue
import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from pynetdicom.association import Association

__all__ = ["Bell", "wait_for_the_peer", "wait_without_looking"]

_LONGEST_SECONDS = 0.05
"""How late a time-out, or the end of the listener, is seen."""


class Bell:
    """Wakes the thread that waits for a connection, for there is something to do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        self.close()

    def ring(self) -> None:
        """Wake the thread, or keep it from waiting the next time."""
        with self._lock:
            if self._descriptor is not None:
                os.eventfd_write(self._descriptor, 1)

    def wait(self, connection: socket.socket | None) -> None:
        """Wait a moment: until the bell rings, or something arrives on the connection, if one is given."""
        descriptor = self._descriptor
        if descriptor is None or (connection is not None and connection.fileno() < 0):
            return
        # poll, not select: descriptors above 1023 are as good as others.
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        if connection is not None:
            poller.register(connection, select.POLLIN)
        rung = any(found == descriptor for found, _ in poller.poll(1000 * _LONGEST_SECONDS))
        with self._lock:
            # Under the lock: a number that was closed meanwhile may be another file's.
            if rung and self._descriptor is not None:
                os.eventfd_read(self._descriptor)

    def close(self) -> None:
        """Let go of the descriptor."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def _ring_for(waiting: "queue.Queue[Any]", ring: Callable[[], None]) -> None:
    """Have a queue say when something was put into it."""
    put = waiting.put

    def ringing(item: Any, block: bool = True, timeout: float | None = None) -> None:
        put(item, block, timeout)
        ring()

    waiting.put = ringing  # type: ignore[method-assign] # whoever puts something has this very queue


def wait_without_looking(association: Association, bell: Bell) -> None:
    """Have an association that has not begun wake its threads when there is something for them.

    Parameters
    ----------
    association : pynetdicom.association.Association
        In the role of the acceptor. The thread that serves messages then waits for one, or for the end of the
        association.
    bell : Bell
        Rings when there is something for the thread of the connection to send, or room for what it receives.
    """
    dul, messages = association.dul, association.dimse.msg_queue
    get_message = association.dimse.get_msg

    def get(block: bool = False) -> Any:
        if block:
            return get_message(block=True)
        try:
            message = messages.get(timeout=_LONGEST_SECONDS)
        except queue.Empty:
            return None, None
        # There is room for the next one.
        bell.ring()
        return message

    association.dimse.get_msg = get  # type: ignore[method-assign]
    _ring_for(dul.to_provider_queue, bell.ring)
    # No message: pynetdicom itself says so when an association was aborted.
    _ring_for(dul.to_user_queue, lambda: messages.put((None, None)))


def wait_for_the_peer(association: Association) -> Bell:
    """Have the thread of a connection that was opened wait for the peer, or for something to send.

    Parameters
    ----------
    association : pynetdicom.association.Association
        In the role of the requestor.

    Returns
    -------
    Bell
        To be closed with the connection.
    """
    bell, dul = Bell(), association.dul
    look = dul._is_transport_event

    def wait() -> bool:
        connection = dul.socket.socket if dul.socket is not None else None
        # In Sta13 nobody waits for the peer: pynetdicom closes the connection when nothing more is there.
        if connection is not None and dul.state_machine.current_state != "Sta13" and not dul.event_queue.qsize():
            # What TLS has deciphered already does not arrive again.
            if not (isinstance(connection, ssl.SSLSocket) and connection.pending()):
                bell.wait(connection)
            if dul._process_recv_primitive():
                return True
        return look()

    dul._is_transport_event = wait  # type: ignore[method-assign]
    _ring_for(dul.to_provider_queue, bell.ring)
    return bell
