"""Who is let in, over raw sockets and real associations, and what a peer can make us hold."""

import logging
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError
from pynetdicom import AE
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import ComputedRadiographyImageStorage, Verification
from pynetdicom.transport import AddressInformation

from pneumo_monai.admission import (
    CALLED_AE_TITLE_NOT_RECOGNIZED,
    CALLING_AE_TITLE_NOT_RECOGNIZED,
    LOCAL_LIMIT_EXCEEDED,
    PROTOCOL_VERSION_NOT_SUPPORTED,
    Admission,
    Rejection,
    Seats,
    is_loopback,
)
from pneumo_monai.connections import Limits, Peer
from pneumo_monai.equipment import IMPLEMENTATION_CLASS_UID
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.listener import ListenerProcess
from pneumo_monai.settings import Listener
from pneumo_monai.spool import Spool
from tests.films import make_film
from tests.peers import wait_until

RELEASE = struct.pack(">BBLL", 5, 0, 4, 0)


def request(calling: str = "SCANNER", called: str = "PNEUMO") -> A_ASSOCIATE_RQ:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    here = AddressInformation("127.0.0.1", 104)
    primitive.calling_presentation_address = primitive.called_presentation_address = here
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16382
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    primitive.user_information = [length, implementation]
    contexts = [build_context(Verification), build_context(ComputedRadiographyImageStorage)]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    primitive.presentation_context_definition_list = contexts
    return A_ASSOCIATE_RQ(primitive)


@contextmanager
def listening(folder: Path, **settings: object) -> Iterator[ListenerProcess]:
    engine = prepare(f"sqlite:///{folder / 'ledger.sqlite'}")
    process = ListenerProcess(Listener.model_validate({"port": 0, **settings}), Spool(folder), Inbox(engine))
    process.start()
    try:
        yield process
    finally:
        process.stop(grace_seconds=0.0)
        engine.dispose()


@contextmanager
def connected(process: ListenerProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", process.port), timeout=20) as connection:
        yield connection


def answer(connection: socket.socket) -> bytes:
    """Return everything until the connection ends."""
    answered = b""
    try:
        while part := connection.recv(4096):
            answered += part
    except ConnectionResetError:
        pass
    return answered


def accepted(connection: socket.socket, **titles: str) -> None:
    """Open an association, and read the whole A-ASSOCIATE-AC."""
    connection.sendall(request(**titles).encode())
    header = connection.recv(6, socket.MSG_WAITALL)
    assert header[0] == 2, header
    connection.recv(int.from_bytes(header[2:], "big"), socket.MSG_WAITALL)


def fragment(content: bytes, *, is_last: bool) -> bytes:
    """Return a P-DATA-TF with a fragment of a command."""
    value = struct.pack(">LBB", len(content) + 2, 1, 3 if is_last else 1) + content
    return struct.pack(">BBL", 4, 0, len(value)) + value


def sends_until_closed(connection: socket.socket, parts: Iterable[bytes], pause: float = 0.0) -> bool:
    """Send without listening; whether it was ended, or nothing more was taken, before all parts were gone."""
    try:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
    except OSError:
        return True
    return False


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.is_alive()}


def rejected(process: ListenerProcess, **titles: str) -> tuple[int, ...]:
    with connected(process) as connection:
        connection.sendall(request(**titles).encode())
        return tuple(answer(connection))


def reasons(rejection: Rejection) -> tuple[int, ...]:
    return (3, 0, 0, 0, 0, 4, 0, rejection.result, rejection.source, rejection.diagnostic)


def test_the_reasons_are_those_of_the_standard():
    # PS3.8 table 9-21
    assert reasons(CALLING_AE_TITLE_NOT_RECOGNIZED)[7:] == (1, 1, 3)
    assert reasons(CALLED_AE_TITLE_NOT_RECOGNIZED)[7:] == (1, 1, 7)
    assert reasons(PROTOCOL_VERSION_NOT_SUPPORTED)[7:] == (1, 2, 2)
    assert reasons(LOCAL_LIMIT_EXCEEDED)[7:] == (2, 3, 2)
    assert tuple(LOCAL_LIMIT_EXCEEDED.encode()) == reasons(LOCAL_LIMIT_EXCEEDED)


@pytest.mark.parametrize(
    ("title", "address", "is_known"),
    [
        ("CT1", "203.0.113.9", True),
        ("CT1", "2001:db8::9", True),
        ("CR1", "10.1.2.3", True),
        ("CR1", "::ffff:10.1.2.3", True),
        ("CR1", "10.1.3.3", False),
        ("CR1", "fe80::1%eth0", False),
        ("DX1", "10.9.9.9", True),
        ("DX1", "2001:db8::1", True),
        ("DX1", "10.9.9.8", False),
        ("ANY", "192.0.2.200", True),
        ("ANY", "192.0.3.1", False),
        ("ct1", "10.1.2.3", False),
        ("CT11", "10.1.2.3", False),
    ],
)
def test_titles_and_addresses_go_together(title: str, address: str, is_known: bool):
    peers = (
        Peer(ae_title="CT1"),
        Peer(ae_title="CR1", addresses=("10.1.2.0/24",)),
        Peer(ae_title="DX1", addresses=("10.9.9.9", "2001:db8::/32")),
        Peer(addresses=("192.0.2.0/24",)),
    )
    refused = Admission(peers, None).refuse(request(calling=title), address)
    assert refused is (None if is_known else CALLING_AE_TITLE_NOT_RECOGNIZED)


def test_without_rules_everybody_may_come_in():
    assert Admission((), None).refuse(request(calling="ANYBODY", called="ANYTHING"), "203.0.113.9") is None


def test_another_protocol_version_is_refused():
    newer = request()
    newer.protocol_version = 2
    assert Admission((), None).refuse(newer, "127.0.0.1") is PROTOCOL_VERSION_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"ae_title": "CT1", "addresses": ["10.1.2.3/24"]}, "host bits"),
        ({"ae_title": "CT1", "addresses": ["scanner.example.org"]}, "write an address such as"),
        ({}, "set ae_title, addresses or both"),
    ],
)
def test_a_peer_that_cannot_be_is_explained(wrong: dict[str, object], remedy: str):
    with pytest.raises(ValidationError, match=remedy):
        Peer.model_validate(wrong)


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("pacs", False)]
)
def test_loopback_is_known(host: str, expected: bool):
    assert is_loopback(host) is expected


def test_a_seat_is_free_again_when_its_association_has_ended():
    seats = Seats(Limits(associations=3, associations_per_address=2))
    ended = threading.Event()
    guests = [threading.Thread(target=ended.wait) for _ in range(2)]
    for guest in guests:
        guest.start()
        seat = seats.take("10.0.0.1")
        assert seat is not None
        seats.occupy(seat, guest)
    assert seats.take("10.0.0.1") is None
    other = seats.take("10.0.0.2")
    assert other is not None
    assert seats.take("10.0.0.3") is None
    seats.free(other)
    ended.set()
    for guest in guests:
        guest.join()
    assert all(seats.take("10.0.0.1") for _ in range(2))


def test_who_is_not_known_is_rejected_and_who_is_gets_in(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    peers = [{"ae_title": "SCANNER"}, {"ae_title": "FAR", "addresses": ["192.0.2.0/24"]}]
    with listening(tmp_path, peers=peers, require_called_ae_title=True) as process:
        assert rejected(process, calling="STRANGER") == reasons(CALLING_AE_TITLE_NOT_RECOGNIZED)
        assert rejected(process, calling="FAR") == reasons(CALLING_AE_TITLE_NOT_RECOGNIZED)
        assert rejected(process, called="OTHER") == reasons(CALLED_AE_TITLE_NOT_RECOGNIZED)
        assert "STRANGER at 127.0.0.1, which calls PNEUMO, is rejected: calling AE title not recognized" in caplog.text
        with connected(process) as connection:
            accepted(connection)


def test_without_settings_any_title_is_taken_and_any_may_be_called(tmp_path: Path):
    with listening(tmp_path) as process, connected(process) as connection:
        accepted(connection, calling="WHOEVER", called="WHATEVER")


def test_one_association_too_many_is_rejected_until_another_ends(tmp_path: Path):
    with listening(tmp_path, limits={"associations": 1}) as process:
        with connected(process) as first:
            accepted(first)
            assert rejected(process) == reasons(LOCAL_LIMIT_EXCEEDED)
            first.sendall(RELEASE)
            assert answer(first)[0] == 6
        wait_until("a seat is free", lambda: rejected_or_in(process) == "in", 20)


def test_one_too_many_of_an_address_is_rejected(tmp_path: Path):
    limits = {"associations": 10, "associations_per_address": 1}
    with listening(tmp_path, limits=limits) as process, connected(process) as first:
        accepted(first)
        assert rejected(process) == reasons(LOCAL_LIMIT_EXCEEDED)


def rejected_or_in(process: ListenerProcess) -> str:
    with connected(process) as connection:
        connection.sendall(request().encode())
        return "in" if connection.recv(1) == b"\x02" else "out"


def test_probes_leave_no_thread_and_no_line(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    with listening(tmp_path) as process:
        before = threads()
        for _ in range(20):
            with connected(process):
                pass
        with connected(process) as hasty:
            hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with connected(process) as half:
            half.sendall(request().encode()[:40])
        wait_until("the threads have ended", lambda: threads() <= before, 10)
    assert not [record for record in caplog.records if record.name.startswith(("pneumo_monai", "pynetdicom"))]


def test_a_connection_that_does_not_ask_in_time_is_closed(tmp_path: Path):
    begun = time.monotonic()
    limits = {"artim_timeout": 0.5}
    with listening(tmp_path, limits=limits) as process, connected(process) as silent, connected(process) as slow:
        assert sends_until_closed(slow, (bytes([byte]) for byte in request().encode()), pause=0.05)
        assert answer(silent) == b""
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize(
    ("first", "source_and_reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", (2, 1)),
        (struct.pack(">BBL", 1, 0, 0xFFFFFFFF), (2, 1)),
        (RELEASE, (2, 2)),
        (struct.pack(">BBL", 1, 0, 4) + b"none", (2, 6)),
    ],
    ids=["http", "four-gigabytes", "release", "garbage"],
)
def test_what_is_no_request_is_aborted(tmp_path: Path, first: bytes, source_and_reason: tuple[int, int]):
    with listening(tmp_path) as process, connected(process) as connection:
        before = threads()
        connection.sendall(first)
        answered = answer(connection)
        assert answered[0] == 7
        assert tuple(answered[8:10]) == source_and_reason
        connection.close()
        wait_until("the thread has ended", lambda: threads() <= before, 10)


def test_a_pdu_longer_than_we_said_is_refused_before_it_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with listening(tmp_path, limits={"pdu_bytes": 4096}) as process:
        for declared in (4097, 0xFFFFFFFF):
            with connected(process) as connection:
                accepted(connection)
                connection.sendall(struct.pack(">BBL", 4, 0, declared))
                answered = answer(connection)
                assert answered[0] == 7
                assert answered[8] == 2
    said = "the association with SCANNER is aborted: it sent a PDU that is none, or has more than 4096 bytes"
    assert caplog.text.count(said) == 2


def test_a_peer_is_told_the_length_that_it_is_held_to(tmp_path: Path):
    with listening(tmp_path, limits={"pdu_bytes": 5000}) as process:
        entity = AE(ae_title="SCANNER")
        entity.add_requested_context(ComputedRadiographyImageStorage)
        association = entity.associate("127.0.0.1", process.port)
        assert association.acceptor.maximum_length == 5000
        assert association.send_c_store(make_film()).Status == 0x0000
        association.release()


def test_one_byte_after_the_other_does_not_hold_an_association(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with listening(tmp_path, limits={"dimse_timeout": 0.6, "network_timeout": 30}) as process:
        before = threads()
        with connected(process) as connection:
            accepted(connection)
            # Whole PDUs, so that no silence ends it.
            assert sends_until_closed(connection, [fragment(b"\x00", is_last=False)] * 400, pause=0.05)
        wait_until("the threads have ended", lambda: threads() <= before, 10)
    assert "a message took more than 0.6 s (listener.limits.dimse_timeout)" in caplog.text


def test_half_a_pdu_does_not_hold_an_association(tmp_path: Path):
    with listening(tmp_path, limits={"network_timeout": 0.5}) as process:
        before = threads()
        with connected(process) as connection:
            accepted(connection)
            connection.sendall(fragment(bytes(1000), is_last=False)[:500])
            assert answer(connection)[0] == 7
        wait_until("the threads have ended", lambda: threads() <= before, 10)


def test_a_message_without_end_is_aborted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with listening(tmp_path, limits={"message_bytes": 1 << 20}) as process, connected(process) as connection:
        accepted(connection)
        assert sends_until_closed(connection, [fragment(bytes(100_000), is_last=False)] * 1000)
    assert "a message has more than 1048576 bytes (listener.limits.message_bytes)" in caplog.text


def test_slow_peers_do_not_keep_others_out(tmp_path: Path):
    with listening(tmp_path, limits={"associations": 2}) as process:
        slow = [socket.create_connection(("127.0.0.1", process.port)) for _ in range(60)]
        for connection in slow:
            connection.sendall(b"\x01")
        with connected(process) as connection:
            begun = time.monotonic()
            accepted(connection)
            assert time.monotonic() - begun < 10
        for connection in slow:
            connection.close()


def test_stopping_ends_what_waits(tmp_path: Path):
    before = threads()
    with listening(tmp_path) as process, connected(process) as silent:
        silent.sendall(b"\x01\x00")
        process.stop(grace_seconds=0.0)
        assert answer(silent) == b""
    wait_until("the threads have ended", lambda: threads() <= before, 10)


def test_listening_to_everybody_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with listening(tmp_path, host="0.0.0.0") as process:
        assert f"whoever reaches 0.0.0.0:{process.port} may send: set listener.peers or listener.tls" in caplog.text
