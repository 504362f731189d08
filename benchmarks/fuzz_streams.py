"""PDU streams as a sender sends them, broken; the listener that gets them is a real process."""

import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from benchmarks.fuzz_films import patch_bytes
from benchmarks.listening import AE_TITLE

__all__ = ["Answer", "StreamMutator", "record_streams", "send_stream"]

_ODD_LENGTHS = (0, 1, 2, 5, 0xFF, 0xFFFF, 0x20000, 0x20001, 0x7FFFFFFF, 0xFFFFFFFF)
_FIRST_SECONDS = {True: 10.0, False: 0.3}
"""How long the answer to a sound and to a broken request is waited for, before the rest is sent all the same."""
_LAST_SECONDS = 20.0


def record_streams(port: int, films: Sequence[Dataset]) -> list[list[bytes]]:
    """Record the PDUs of sound associations: an echo, each film alone, all films at once."""
    streams = [_record(port, [])]
    streams += [_record(port, [film]) for film in films]
    return [*streams, _record(port, films)]


def _record(port: int, films: Sequence[Dataset]) -> list[bytes]:
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(Verification)
    for film in films:
        entity.add_requested_context(film.SOPClassUID, film.file_meta.TransferSyntaxUID)
    sent: list[bytes] = []
    recorder = (evt.EVT_DATA_SENT, lambda event: sent.append(bytes(event.data)))
    association = entity.associate("127.0.0.1", port, ae_title=AE_TITLE, evt_handlers=[recorder])
    if not association.is_established:
        raise RuntimeError("the listener took no sound association")
    association.send_c_echo()
    for film in films:
        association.send_c_store(film)
    association.release()
    return sent


class StreamMutator:
    """Draws broken streams.

    Parameters
    ----------
    streams : sequence of list of bytes
        From `record_streams`.
    seed : int
        Names the run.
    """

    def __init__(self, streams: Sequence[list[bytes]], seed: int) -> None:
        self._streams = streams
        self._seed = seed

        self._requests = {stream[0] for stream in streams}

    def begins_sound(self, pdus: Sequence[bytes]) -> bool:
        """Whether a stream begins with a request that is accepted."""
        return pdus[0] in self._requests

    def case(self, number: int) -> list[bytes]:
        """Return the PDUs, or what is left of them."""
        rng = random.Random(f"{self._seed}:{number}")  # noqa: S311 - to be drawn again
        pdus = list(rng.choice(self._streams))
        for _ in range(rng.choice((1, 1, 2, 3))):
            # What comes after the request is reached only where the request is sound.
            at = rng.randrange(len(pdus)) if rng.random() < 0.8 else 0
            match rng.randrange(9):
                case 0:
                    pdus[at] = patch_bytes(rng, pdus[at])
                case 1:
                    pdus[at] = _mended(patch_bytes(rng, pdus[at][6:]), pdus[at][0])
                case 2:
                    pdus[at] = pdus[at][:2] + struct.pack(">L", rng.choice(_ODD_LENGTHS)) + pdus[at][6:]
                case 3:
                    pdus[at] = bytes([rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 0x16, 0xFF))]) + pdus[at][1:]
                case 4:
                    pdus.insert(at, rng.choice(rng.choice(self._streams)))
                case 5 if len(pdus) > 1:
                    del pdus[at]
                case 6:
                    rng.shuffle(pdus)
                case 7:
                    pdus[at] = _break_item(rng, pdus[at])
                case _:
                    pdus[at] = pdus[at][: rng.randrange(len(pdus[at]) + 1)]
        return [pdu for pdu in pdus if pdu] or [b"\0"]


def _mended(content: bytes, kind: int) -> bytes:
    return struct.pack(">BBL", kind, 0, len(content)) + content


def _break_item(rng: random.Random, pdu: bytes) -> bytes:
    """Change the length or type of an item inside: a PDV of P-DATA-TF, an item of a request (PS3.8 9.3)."""
    body = bytearray(pdu[6:])
    if pdu[:1] == b"\x04" and len(body) >= 6:
        match rng.randrange(3):
            case 0:
                body[0:4] = struct.pack(">L", rng.choice(_ODD_LENGTHS))
            case 1:
                body[4] = rng.choice((0, 1, 2, 3, 5, 254, 255))
            case _:
                body[5] = rng.choice((0, 1, 2, 3, 4, 0x80, 0xFF))
        return _mended(bytes(body), 4)
    starts = []
    at = 68
    while at + 4 <= len(body):
        starts.append(at)
        at += 4 + int.from_bytes(body[at + 2 : at + 4], "big")
    if not starts:
        return patch_bytes(rng, pdu)
    at = rng.choice(starts)
    match rng.randrange(3):
        case 0:
            body[at + 2 : at + 4] = struct.pack(">H", rng.choice(_ODD_LENGTHS) & 0xFFFF)
        case 1:
            body[at] = rng.choice((0, 0x10, 0x20, 0x21, 0x30, 0x40, 0x50, 0x51, 0x58, 0xFF))
        case _:
            end = at + 4 + int.from_bytes(body[at + 2 : at + 4], "big")
            body[at:at] = body[at:end] * rng.choice((1, 10, 140))
    return _mended(bytes(body), pdu[0])


@dataclass(frozen=True)
class Answer:
    """How the listener answered a stream, and when it let go of the connection."""

    kind: str
    statuses: Counter[int]
    """Of the C-STORE and C-ECHO responses."""
    seconds: float


def send_stream(port: int, pdus: Sequence[bytes], *, begins_sound: bool) -> Answer:
    """Send what is left of a stream, end it, and read until the listener closes."""
    begun = time.monotonic()
    answered = bytearray()
    closed = False
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_LAST_SECONDS) as connection:
            connection.sendall(pdus[0])
            connection.settimeout(_FIRST_SECONDS[begins_sound])
            with suppress(TimeoutError):
                answered += connection.recv(4096)
            connection.settimeout(_LAST_SECONDS)
            with suppress(TimeoutError):
                connection.sendall(b"".join(pdus[1:]))
                connection.shutdown(socket.SHUT_WR)
                for part in iter(partial(connection.recv, 65536), b""):
                    answered += part
                closed = True
    except OSError:
        closed = True
    return Answer(*_kind(bytes(answered), closed=closed), seconds=time.monotonic() - begun)


def _kind(answered: bytes, *, closed: bool) -> tuple[str, Counter[int]]:
    names = {2: "accepted", 3: "rejected", 6: "released", 7: "aborted"}
    kinds: list[str] = []
    statuses: Counter[int] = Counter()
    while len(answered) >= 6:
        length = int.from_bytes(answered[2:6], "big")
        kind, body, answered = answered[0], answered[6 : 6 + length], answered[6 + length :]
        if kind in names:
            kinds.append(names[kind])
        at = body.find(b"\x00\x00\x00\x09\x02\x00\x00\x00")
        if kind == 4 and at >= 0:
            statuses[int.from_bytes(body[at + 8 : at + 10], "little")] += 1
    if not closed:
        return "hung", statuses
    return " then ".join(kinds) or "closed", statuses
