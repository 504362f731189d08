"""One PDU at a time from a real socket, and never more than was promised."""

import socket
import struct
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from pneumo_monai.transport import PduStream, Progress, close

LIMIT = 100_000


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    close(ours)
    close(theirs)


def pdu(content: bytes, kind: int = 4) -> bytes:
    return struct.pack(">BBL", kind, 0, len(content)) + content


def test_bytes_become_pdus_however_they_arrive(pair: tuple[socket.socket, socket.socket]):
    ours, theirs = pair
    stream = PduStream(ours, LIMIT)
    sent = [b"", b"one", bytes(range(256)) * 300]
    for byte in b"".join(pdu(content) for content in sent[:2]):
        theirs.sendall(bytes([byte]))
    theirs.sendall(pdu(sent[2])[:-1])
    for content in sent[:2]:
        assert stream.fill() is Progress.WHOLE
        assert stream.pdu_type == 4
        assert stream.take(6) == pdu(content)[:6]
        assert stream.take(len(content)) == content
    assert stream.fill() is Progress.WAITING
    theirs.sendall(pdu(sent[2])[-1:] + b"\x05")
    assert stream.fill() is Progress.WHOLE
    assert stream.pdu == pdu(sent[2])


def test_nothing_is_read_beyond_the_pdu(pair: tuple[socket.socket, socket.socket]):
    ours, theirs = pair
    stream = PduStream(ours, LIMIT)
    theirs.sendall(pdu(b"first") + pdu(b"second"))
    assert stream.fill() is Progress.WHOLE
    assert len(stream) == len(pdu(b"first"))
    assert ours.recv(100) == pdu(b"second")


@pytest.mark.parametrize("declared", [LIMIT + 1, 1 << 31, 0xFFFFFFFF])
def test_what_declares_too_much_is_not_allocated(pair: tuple[socket.socket, socket.socket], declared: int):
    ours, theirs = pair
    stream = PduStream(ours, LIMIT)
    theirs.sendall(struct.pack(">BBL", 4, 0, declared) + bytes(1000))
    tracemalloc.start()
    assert stream.fill() is Progress.INVALID
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000
    assert len(stream) == 0


@pytest.mark.parametrize("kind", [0, 8, 0x16, 0xFF])
def test_what_is_no_pdu_is_told_by_its_type(pair: tuple[socket.socket, socket.socket], kind: int):
    ours, theirs = pair
    theirs.sendall(pdu(b"", kind))
    assert PduStream(ours, LIMIT).fill() is Progress.INVALID


def test_the_largest_pdu_is_taken(pair: tuple[socket.socket, socket.socket]):
    ours, theirs = pair
    theirs.sendall(pdu(bytes(LIMIT)))
    assert PduStream(ours, LIMIT).wait(time.monotonic() + 10) is Progress.WHOLE


def test_the_end_of_a_connection_is_seen_in_the_middle_of_a_pdu(pair: tuple[socket.socket, socket.socket]):
    ours, theirs = pair
    theirs.sendall(pdu(b"half")[:8])
    theirs.close()
    stream = PduStream(ours, LIMIT)
    assert stream.wait(time.monotonic() + 10) is Progress.CLOSED
    assert stream.take(6) == b""


def test_waiting_ends_at_the_deadline(pair: tuple[socket.socket, socket.socket]):
    ours, theirs = pair
    theirs.sendall(b"\x04")
    begun = time.monotonic()
    assert PduStream(ours, LIMIT).wait(begun + 0.2) is Progress.WAITING
    assert 0.2 <= time.monotonic() - begun < 10


def test_a_peer_that_takes_nothing_does_not_hold_us(pair: tuple[socket.socket, socket.socket]):
    ours, _ = pair
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        PduStream(ours, LIMIT).send(bytes(1 << 24), timeout=0.2)
    assert time.monotonic() - begun < 10


def test_what_is_sent_arrives_whole(pair: tuple[socket.socket, socket.socket]):
    ours, theirs = pair
    content = bytes(range(256)) * 100
    PduStream(ours, LIMIT).send(content, timeout=10)
    assert theirs.recv(len(content), socket.MSG_WAITALL) == content
