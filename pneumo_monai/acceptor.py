"""The listening socket: TLS, the association request and the rules, before an association is made.

pynetdicom starts two threads for each connection and copies every presentation context; here that is done for those
alone who are let in. A connection that says nothing, such as a load balancer's probe, costs one thread until it closes
or its time is up, and no line of the log.
"""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from pneumo_monai.admission import LOCAL_LIMIT_EXCEEDED, Admission, Seats, abort
from pneumo_monai.connections import Limits
from pneumo_monai.tls import reason_of
from pneumo_monai.transport import BoundedSocket, EnduringStateMachine, PduStream, Progress, close

__all__ = ["AcceptorServer"]

_log = logging.getLogger(__name__)

_WAITING = 512
"""Connections that have not yet asked for an association; one more is closed."""

_REQUEST_BYTES = 256 * 1024
"""An A-ASSOCIATE-RQ has at most 128 presentation contexts; with 40 transfer syntaxes each it is half of this."""

_ASSOCIATE_RQ = 0x01
_UNRECOGNIZED_PDU, _UNEXPECTED_PDU, _INVALID_PARAMETER_VALUE = 1, 2, 6
"""PS3.8 table 9-26, reasons of an A-ABORT of the service provider."""


class _Handler(RequestHandler):
    """Makes and starts the association of one connection; `request` is its `PduStream`."""

    server: "AcceptorServer"

    def handle(self) -> None:
        self.association = self._create_association()
        evt.trigger(self.association, evt.EVT_CONN_OPEN, {"address": self.client_address})
        self.association.start()

    def _create_association(self) -> Association:
        association = super()._create_association()
        # pynetdicom has tied a socket of its own to it, and announced it: ours takes its place.
        association.dul.event_queue.get_nowait()
        association.dul.state_machine = EnduringStateMachine(association.dul)
        association.dul.socket = BoundedSocket(association, cast("PduStream", self.request), self.server.limits)
        return association


@dataclass
class _Arrival:
    """A connection that has no association yet."""

    connection: socket.socket
    address: str


class AcceptorServer(ThreadedAssociationServer):
    """An association server that knows whom it lets in.

    Parameters
    ----------
    *arguments, **options
        As `pynetdicom.transport.AssociationServer` has them.
    admission : Admission
        The rules.
    limits : Limits
        Numbers, bytes and seconds.
    tls : ssl.SSLContext or None
        Wraps every connection; not pynetdicom's `ssl_context`, whose handshake would hold up all others.
    on_rejection : callable or None
        Is told calling AE title (empty before it is known), address and why, of everybody who is not let in.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        *arguments: Any,
        admission: Admission,
        limits: Limits,
        tls: ssl.SSLContext | None,
        on_rejection: Callable[[str, str, str], None] | None = None,
        **options: Any,
    ) -> None:
        self._on_rejection = on_rejection or (lambda *_: None)
        self.limits = limits
        self._admission = admission
        self._tls = tls
        self._seats = Seats(limits)
        self._waiting: dict[socket.socket, _Arrival] = {}
        self._lock = threading.Lock()
        super().__init__(*arguments, **options | {"request_handler": _Handler})

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Count a new connection among those that wait; False when there are too many."""
        address = str(client_address[0])
        most = self.limits.associations_per_address
        with self._lock:
            same = sum(arrival.address == address for arrival in self._waiting.values())
            # Twice as many as may be open: the excess is told why it is rejected.
            if len(self._waiting) >= _WAITING or (most is not None and same >= 2 * most):
                return False
            self._waiting[request] = _Arrival(request, address)
        return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Take a connection from its first byte to its association, or close it."""
        arrival = self._waiting[request]
        is_associated = False
        try:
            deadline = time.monotonic() + self.limits.artim_timeout
            if self._tls is None or self._secure(arrival, self._tls, deadline):
                is_associated = self._receive(PduStream(arrival.connection, _REQUEST_BYTES), client_address, deadline)
        except Exception as error:  # noqa: BLE001 - one connection must not end the others, nor quote what it sent
            _log.warning("a connection from %s is closed (%s)", arrival.address, type(error).__name__)
        finally:
            with self._lock:
                self._waiting.pop(request, None)
            if not is_associated:
                close(arrival.connection)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, also where its peer was faster."""
        with self._lock:
            self._waiting.pop(request, None)
        close(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the base class has it
        """Say that a connection could not be served; the base class prints a traceback."""
        _log.error("a connection from %s could not be served: no thread can be started for it", client_address[0])

    def shutdown(self) -> None:
        """Stop to listen, and end what has no association yet; associations go on."""
        BaseServer.shutdown(self)
        self.server_close()
        with self._lock:
            for arrival in self._waiting.values():
                # Wakes its thread, which closes it.
                with suppress(OSError):
                    arrival.connection.shutdown(socket.SHUT_RDWR)

    def _secure(self, arrival: _Arrival, tls: ssl.SSLContext, deadline: float) -> bool:
        """Shake hands; False when the peer said nothing, or not what TLS needs."""
        plain = arrival.connection
        plain.settimeout(self.limits.artim_timeout)
        try:
            if not plain.recv(1, socket.MSG_PEEK):
                return False
            secured = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        except OSError:
            # A handshake that never began is no failure: a probe says nothing.
            return False
        arrival.connection = secured
        try:
            secured.settimeout(max(0.001, deadline - time.monotonic()))
            secured.do_handshake()
        except OSError as error:
            _log.warning("a TLS handshake with %s failed: %s", arrival.address, reason_of(error))
            self._on_rejection("", arrival.address, f"TLS handshake failed: {reason_of(error)}")
            return False
        return True

    def _receive(self, stream: PduStream, client_address: Any, deadline: float) -> bool:
        """Read the request, and start its association; False when there is none."""
        progress = stream.wait(deadline)
        if progress is not Progress.WHOLE or stream.pdu_type != _ASSOCIATE_RQ:
            if progress is Progress.INVALID:
                self._answer(stream, abort(_UNRECOGNIZED_PDU), deadline)
            elif progress is Progress.WHOLE:
                self._answer(stream, abort(_UNEXPECTED_PDU), deadline)
            return False
        address = str(client_address[0])
        request = A_ASSOCIATE_RQ()
        try:
            request.decode(stream.pdu)
            request.to_primitive()
        except Exception as error:  # noqa: BLE001 - whatever pynetdicom trips over, it is no request
            _log.warning("%s sent no association request that can be read (%s)", address, type(error).__name__)
            self._answer(stream, abort(_INVALID_PARAMETER_VALUE), deadline)
            return False
        rejection = self._admission.refuse(request, address)
        seat = None if rejection else self._seats.take(address)
        if seat is not None:
            return self._associate(stream, client_address, seat)
        rejection = rejection or LOCAL_LIMIT_EXCEEDED
        calling, called = request.calling_ae_title, request.called_ae_title
        _log.warning("%s at %s, which calls %s, is rejected: %s", calling, address, called, rejection.meaning)
        self._on_rejection(str(calling), address, rejection.meaning)
        self._answer(stream, rejection.encode(), deadline)
        return False

    def _associate(self, stream: PduStream, client_address: Any, seat: object) -> bool:
        try:
            handler = _Handler(cast("Any", stream), client_address, self)
        except BaseException:
            self._seats.free(seat)
            raise
        self._seats.occupy(seat, handler.association)
        return True

    def _answer(self, stream: PduStream, pdu: bytes, deadline: float) -> None:
        """Send a last PDU, and let the peer close the connection: closing first could take the PDU from it."""
        try:
            stream.send(pdu, max(0.0, deadline - time.monotonic()))
            stream.connection.shutdown(socket.SHUT_WR)
            stream.drain(deadline)
        except OSError:
            return
