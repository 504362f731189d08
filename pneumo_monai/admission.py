"""Who is let in: titles, addresses and numbers, each refused with its reason of PS3.8 9.3.4."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ

from pneumo_monai.connections import Limits, Peer
from pneumo_monai.priority import Priority

__all__ = [
    "CALLED_AE_TITLE_NOT_RECOGNIZED",
    "CALLING_AE_TITLE_NOT_RECOGNIZED",
    "LOCAL_LIMIT_EXCEEDED",
    "PROTOCOL_VERSION_NOT_SUPPORTED",
    "Admission",
    "Rejection",
    "Seats",
    "abort",
]


@dataclass(frozen=True)
class Rejection:
    """One row of PS3.8 table 9-21: the three fields of an A-ASSOCIATE-RJ, and their meaning."""

    result: int
    source: int
    diagnostic: int
    meaning: str

    def encode(self) -> bytes:
        """Return the A-ASSOCIATE-RJ PDU."""
        pdu = A_ASSOCIATE_RJ()
        pdu.result, pdu.source, pdu.reason_diagnostic = self.result, self.source, self.diagnostic
        return bytes(pdu.encode())


CALLING_AE_TITLE_NOT_RECOGNIZED = Rejection(1, 1, 3, "calling AE title not recognized")
CALLED_AE_TITLE_NOT_RECOGNIZED = Rejection(1, 1, 7, "called AE title not recognized")
PROTOCOL_VERSION_NOT_SUPPORTED = Rejection(1, 2, 2, "protocol version not supported")
LOCAL_LIMIT_EXCEEDED = Rejection(2, 3, 2, "local limit exceeded")


def abort(reason: int) -> bytes:
    """Return an A-ABORT PDU of the service provider with a reason of PS3.8 table 9-26."""
    pdu = A_ABORT_RQ()
    pdu.source, pdu.reason_diagnostic = 2, reason
    return bytes(pdu.encode())


class Admission:
    """The rules for one request.

    Parameters
    ----------
    peers : sequence of Peer
        Who may call; none: everybody.
    called_ae_title : str or None
        The title that must be called; None: any.
    """

    def __init__(self, peers: Sequence[Peer], called_ae_title: str | None) -> None:
        self._peers = [(peer, [ip_network(entry) for entry in peer.addresses]) for peer in peers]
        self._called_ae_title = called_ae_title

    def refuse(self, request: A_ASSOCIATE_RQ, address: str) -> Rejection | None:
        """Return why a request from an address is rejected; None when it may come in."""
        if request.protocol_version != 1:
            return PROTOCOL_VERSION_NOT_SUPPORTED
        # An address that may not use a title gets the same answer as a title that nobody may use.
        if self._peers and self._peer(str(request.calling_ae_title).strip(), address) is None:
            return CALLING_AE_TITLE_NOT_RECOGNIZED
        if self._called_ae_title is not None and str(request.called_ae_title).strip() != self._called_ae_title:
            return CALLED_AE_TITLE_NOT_RECOGNIZED
        return None

    def priority(self, title: str, address: str) -> Priority | None:
        """Return the priority that the rules give to the films of a title at an address; None: they say nothing."""
        peer = self._peer(title, address)
        return None if peer is None else peer.priority

    def _peer(self, title: str, address: str) -> Peer | None:
        """Return the first rule that lets a title in from an address."""
        plain = _plain(address)
        for peer, ranges in self._peers:
            if peer.ae_title in (None, title) and (not ranges or any(plain in range_ for range_ in ranges)):
                return peer
        return None


class Seats:
    """Counts what is open: a seat is taken before its association starts, and is free once its thread has ended."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._taken: dict[object, tuple[str, threading.Thread | None]] = {}

    def take(self, address: str) -> object | None:
        """Return a seat for an address, None when all, or all of that address, are taken."""
        with self._lock:
            self._taken = {
                seat: (holder, thread)
                for seat, (holder, thread) in self._taken.items()
                if thread is None or thread.is_alive()
            }
            counts = Counter(holder for holder, _ in self._taken.values())
            most = self._limits.associations_per_address
            if counts.total() >= self._limits.associations or (most is not None and counts[address] >= most):
                return None
            seat = object()
            self._taken[seat] = (address, None)
            return seat

    def occupy(self, seat: object, association: threading.Thread) -> None:
        """Tie a seat to the running thread of its association."""
        with self._lock:
            address, _ = self._taken[seat]
            self._taken[seat] = (address, association)

    def free(self, seat: object) -> None:
        """Give back a seat whose association never started."""
        with self._lock:
            self._taken.pop(seat, None)


def _plain(address: str) -> IPv4Address | IPv6Address:
    parsed = ip_address(address)
    # Where an IPv6 socket also hears IPv4, an address reads ::ffff:10.1.2.3.
    return getattr(parsed, "ipv4_mapped", None) or parsed
