"""How a film is broken: blindly, by its elements, and by its codestream. The same seed and number, the same case."""

import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["FilmMutator", "patch_bytes"]

_REAL_SHARE = 0.01
"""Of the cases, how many break a real file: they are large, and take as long as a hundred small ones."""

_ODD_BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xd8", b"\xff\xda", b"\xff\x4f")
_ODD_LENGTHS = (0, 1, 2, 3, 7, 0x7F, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_ODD_SIZES = (0, 1, 2, 15, 16, 17, 31, 33, 256, 1000, 4096, 8192, 32767, 65535)
_ODD_VALUES = (
    b"",
    b"\\",
    b"abc ",
    b"-1",
    b"nan ",
    b"1e400 ",
    b"99999999999 ",
    b"..\\../",
    b"../../../etc/x",
    b"1.2.3\0",
    b"1..2",
    b"\0\0",
    b"\xff\xff",
    b"1" * 64,
    b"2.25." + b"9" * 70,
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
)
_VRS = (
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV ZZ".split()
)
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""VRs with a length of four bytes (PS3.5 7.1.2)."""
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_ITEM = b"\xfe\xff\x00\xe0"
_PIXEL_DATA = b"\xe0\x7f\x10\x00"
_MARKERS = (
    b"\xff\xc0",
    b"\xff\xc1",
    b"\xff\xc2",
    b"\xff\xc3",
    b"\xff\xc4",
    b"\xff\xda",
    b"\xff\xdb",
    b"\xff\xf7",
    b"\xff\xf8",
)
_J2K_MARKERS = (b"\xff\x51", b"\xff\x52", b"\xff\x53", b"\xff\x5c", b"\xff\x5d", b"\xff\x50", b"\xff\x90", b"\xff\x93")


class _Element(NamedTuple):
    """Where an element of explicit VR lies: its tag, its length field, its value."""

    start: int
    length_at: int
    length_bytes: int
    value_at: int
    end: int


class FilmMutator:
    """Draws broken films.

    Parameters
    ----------
    drawn, real : sequence of bytes
        From `benchmarks.fuzz_corpus.make_corpus`.
    seed : int
        Names the run.
    """

    def __init__(self, drawn: Sequence[bytes], real: Sequence[bytes], seed: int) -> None:
        self._drawn = drawn
        self._real = real
        self._seed = seed

    def case(self, number: int) -> bytes:
        """Return one broken film."""
        rng = random.Random(f"{self._seed}:{number}")  # noqa: S311 - to be drawn again
        is_real = bool(self._real) and rng.random() < _REAL_SHARE
        film = rng.choice(self._real if is_real else self._drawn)
        ways: list[Callable[[random.Random, bytes], bytes]] = [
            patch_bytes,
            _break_element,
            _break_element,
            _break_codestream,
            _break_codestream,
            _lie_about_size,
            _nest,
            self._splice,
            _break_deflated,
        ]
        for way in rng.choices(ways, k=rng.choice((1, 1, 1, 2, 2, 3))):
            film = way(rng, film)
        return film

    def _splice(self, rng: random.Random, film: bytes) -> bytes:
        other = rng.choice(self._drawn)
        return film[: rng.randrange(len(film) + 1)] + other[rng.randrange(len(other)) :]


def patch_bytes(rng: random.Random, content: bytes) -> bytes:
    """Flip, overwrite, cut, insert or repeat bytes anywhere."""
    broken = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(broken) + 1)
        match rng.randrange(6):
            case 0 if at < len(broken):
                broken[at] ^= 1 << rng.randrange(8)
            case 1:
                odd = rng.choice(_ODD_BYTES)
                broken[at : at + len(odd)] = odd
            case 2:
                broken[at : at + rng.choice((1, 2, 4, 64))] = b""
            case 3:
                broken[at:at] = rng.choice(_ODD_BYTES) * rng.choice((1, 2, 100))
            case 4:
                broken[at:at] = broken[at : at + rng.choice((4, 16, 300))]
            case _:
                if rng.random() < 0.2:
                    del broken[at:]
                else:
                    broken[at : at + 4] = rng.randbytes(4)
    return bytes(broken)


def _elements(film: bytes) -> list[_Element]:
    return list(_walk(film))


def _walk(film: bytes) -> Iterator[_Element]:
    """Yield the elements of explicit VR at the top level, as far as they make sense."""
    at = 132
    while at + 12 <= len(film):
        vr = film[at + 4 : at + 6]
        if not vr.isalpha():
            return
        is_long = vr in _LONG
        length_at, size = (at + 8, 4) if is_long else (at + 6, 2)
        length = int.from_bytes(film[length_at : length_at + size], "little")
        value_at = length_at + size
        end = len(film) if length == 0xFFFFFFFF else value_at + length
        if end > len(film):
            return
        yield _Element(at, length_at, size, value_at, end)
        at = end


def _break_element(rng: random.Random, film: bytes) -> bytes:
    """Change one element's value, VR, length or tag; all others stay where they are understood."""
    elements = _elements(film)
    if not elements:
        return patch_bytes(rng, film)
    chosen = rng.choice(elements)
    head, value, tail = film[: chosen.start], film[chosen.value_at : chosen.end], film[chosen.end :]
    own = film[chosen.start : chosen.value_at]
    match rng.randrange(7):
        case 0:
            value = rng.choice(_ODD_VALUES)
        case 1:
            value = patch_bytes(rng, value or b"\0")
        case 2:  # the length alone: what is declared is not there
            length = rng.choice(_ODD_LENGTHS) & ((1 << 8 * chosen.length_bytes) - 1)
            return film[: chosen.length_at] + length.to_bytes(chosen.length_bytes, "little") + film[chosen.value_at :]
        case 3:
            vr = rng.choice(_VRS)
            return film[: chosen.start + 4] + vr + film[chosen.start + 6 :]
        case 4:
            return head + tail
        case 5:
            return head + own + value + own + value + tail
        case _:
            return film[: chosen.start] + rng.randbytes(4) + film[chosen.start + 4 :]
    length = min(len(value), (1 << 8 * chosen.length_bytes) - 1).to_bytes(chosen.length_bytes, "little")
    return film[: chosen.length_at] + length + value + tail


def _break_codestream(rng: random.Random, film: bytes) -> bytes:
    """Change the first fragment of Pixel Data that holds bytes, and mend its length; mostly its headers."""
    pixels = film.rfind(_PIXEL_DATA)
    found = _fragment(film, pixels + 12) if pixels >= 0 else None
    if found is None:
        return patch_bytes(rng, film)
    start, end = found
    broken = _break_header(rng, film[start:end])
    broken += b"\0" * (len(broken) % 2)
    return film[: start - 4] + struct.pack("<L", len(broken)) + broken + film[end:]


def _break_header(rng: random.Random, codestream: bytes) -> bytes:
    header = rng.choice((24, 64, 200, 600))
    match rng.randrange(5):
        case 0:
            return patch_bytes(rng, codestream)
        case 1:
            return patch_bytes(rng, codestream[:header]) + codestream[header:]
        case 2:
            at = rng.randrange(min(header, len(codestream)) or 1)
            return codestream[:at] + rng.randbytes(1) + codestream[at + 1 :]
        case 3:  # a marker's segment: a field of it, or once more
            marker = rng.choice(_MARKERS + _J2K_MARKERS)
            at = codestream.find(marker)
            if at < 0:
                at = rng.randrange(len(codestream) or 1)
                return codestream[:at] + marker + rng.randbytes(2) + codestream[at:]
            field = at + 2 + rng.randrange(40)
            return codestream[:field] + rng.choice((*_ODD_BYTES, rng.randbytes(2))) + codestream[field + 1 :]
        case _:
            marker = rng.choice(_MARKERS + _J2K_MARKERS)
            at = codestream.find(marker)
            length = int.from_bytes(codestream[at + 2 : at + 4], "big")
            segment = codestream[at : at + 2 + length] if at >= 0 else rng.randbytes(16)
            return codestream[: max(at, 2)] + segment * rng.choice((1, 2, 50)) + codestream[max(at, 2) :]


def _fragment(film: bytes, at: int) -> tuple[int, int] | None:
    while film[at : at + 4] == _ITEM and at + 8 <= len(film):
        length = int.from_bytes(film[at + 4 : at + 8], "little")
        if length > 16 and length <= len(film) - at - 8 and film[at + 8 : at + 12] != b"\0\0\0\0":
            return at + 8, at + 8 + length
        at += 8 + length
    return None


def _lie_about_size(rng: random.Random, film: bytes) -> bytes:
    """Declare another size, in the header and often in the codestream too: then a decoder believes it."""
    rows, columns = rng.choice(_ODD_SIZES), rng.choice(_ODD_SIZES)
    found = {element.start: element for element in _elements(film)}
    sizes: dict[bytes, int] = {b"\x28\x00\x10\x00US": rows, b"\x28\x00\x11\x00US": columns}
    broken = bytearray(film)
    for name, value in sizes.items():
        at = film.find(name)
        if at in found:
            broken[at + 8 : at + 10] = struct.pack("<H", value)
    pixels = film.rfind(_PIXEL_DATA)
    fragment = _fragment(film, pixels + 12) if pixels >= 0 and rng.random() < 0.8 else None
    if fragment:
        start, end = fragment
        codestream = film[start:end]
        for marker in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc3", b"\xff\xf7"):
            if (at := codestream.find(marker)) >= 0:
                broken[start + at + 5 : start + at + 9] = struct.pack(">HH", rows, columns)
        if codestream[:4] == b"\xff\x4f\xff\x51":
            broken[start + 8 : start + 16] = struct.pack(">LL", columns, rows)
            if rng.random() < 0.5:
                tile = (columns, rows) if rng.random() < 0.5 else (rng.choice((1, 16, 4096)), rng.choice((1, 16, 4096)))
                broken[start + 24 : start + 32] = struct.pack(">LL", *tile)
    return bytes(broken)


def _nest(rng: random.Random, film: bytes) -> bytes:
    """Put sequences in sequences, of known or unknown length, before some element."""
    elements = _elements(film)
    if not elements:
        return patch_bytes(rng, film)
    depth = rng.choice((1, 10, 100, 400, 1500))
    tag = rng.choice((b"\x40\x00\x30\xa7", b"\x08\x00\x18\x22", b"\x28\x00\x10\x30"))
    item = tag + b"SQ\0\0\xff\xff\xff\xff" + _ITEM + b"\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    at = rng.choice(elements).start
    closed = rng.choice((depth, depth, depth // 2, 0))
    return film[:at] + item * depth + closing * closed + film[at:]


def _break_deflated(rng: random.Random, film: bytes) -> bytes:
    """Break what is deflated, and deflate it again; of others, deflate and say so."""
    if _DEFLATED not in film[:400]:
        return _break_element(rng, film)
    # After preamble, prefix and the group that says how long it is (PS3.10 7.1).
    at = 144 + int.from_bytes(film[140:144], "little")
    try:
        plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(film[at:], 1 << 20)
    except zlib.error:
        return patch_bytes(rng, film)
    broken = _break_element(rng, b"\0" * 132 + plain)[132:]
    if rng.random() < 0.1:
        broken += b"\0" * (1 << rng.choice((16, 20, 24)))
    compressor = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    return film[:at] + compressor.compress(broken) + compressor.flush()
