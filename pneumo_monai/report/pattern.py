"""A content tree that is encoded once, and filled with what differs from one film to the next.

A tree has some three hundred elements, and of two films of which the same is said no more than a dozen differ. Building
and encoding all of them takes longer than decoding the film.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import Tag

__all__ = ["CONTENT_SEQUENCE", "Pattern"]

CONTENT_SEQUENCE = Tag("ContentSequence")
_ITEM = b"\xfe\xff\x00\xe0"


class _Gap(NamedTuple):
    """Where one of the elements goes that differ."""

    which: int


class _Items(NamedTuple):
    """A sequence in which there are gaps, up to its length; each item is its parts."""

    header: bytes
    items: tuple["_Parts", ...]


_Parts = tuple["bytes | _Gap | _Items", ...]


class Pattern:
    """The root of a tree, and its Content Sequence (0040,A730) with gaps.

    Parameters
    ----------
    root : Dataset
        What the root says of itself, without what it contains.
    items : sequence of tuple
        Of its Content Sequence; from `of`.
    """

    def __init__(self, root: Dataset, items: Sequence[_Parts]) -> None:
        self._root = root
        self._items = items

    @classmethod
    def of(cls, tree: Dataset, differing: Sequence[DataElement]) -> Self | None:
        """Take a tree, and leave out what differs.

        Parameters
        ----------
        tree : Dataset
            Root of a content tree, with texts in ASCII alone.
        differing : sequence of DataElement
            As they stand in this tree, each once or several times, no two of them alike.

        Returns
        -------
        Pattern or None
            None where one of them is nowhere in the tree, or two are alike: then it cannot be told which goes where.
        """
        sought = {_encoded(element): which for which, element in enumerate(differing)}
        if len(sought) != len(differing):
            return None
        items = tuple(_parts(item, sought) for item in tree.ContentSequence)
        if _gaps(items) != set(range(len(differing))):
            return None
        root = Dataset()
        for element in tree:
            if element.tag != CONTENT_SEQUENCE:
                root.add(element)
        return cls(root, items)

    def filled(self, differing: Sequence[DataElement]) -> Dataset:
        """Return the tree with these elements in place of those it was taken from.

        Its Content Sequence is encoded, Explicit VR Little Endian, and is decoded when somebody looks into it.
        """
        values = [_encoded(element) for element in differing]
        content = b"".join(_item(parts, values) for parts in self._items)
        tree = Dataset()
        for element in self._root:
            tree.add(element)
        tree[CONTENT_SEQUENCE] = RawDataElement(CONTENT_SEQUENCE, "SQ", len(content), content, 0, False, True, True)
        return tree


def _encoded(element: DataElement) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_data_element(stream, element)
    encoded: bytes = stream.getvalue()
    return encoded


def _parts(item: Dataset, sought: Mapping[bytes, int]) -> _Parts:
    parts: list[bytes | _Gap | _Items] = []
    for element in item:
        encoded = _encoded(element)
        if element.VR == "SQ":
            items = tuple(_parts(each, sought) for each in element.value)
            # Tag, VR and two reserved bytes; the length comes after what it is the length of.
            parts.append(_Items(encoded[:8], items) if _gaps(items) else encoded)
        elif (which := sought.get(encoded)) is not None:
            parts.append(_Gap(which))
        else:
            parts.append(encoded)
    joined: list[bytes | _Gap | _Items] = []
    for part in parts:
        if isinstance(part, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def _gaps(items: Sequence[_Parts]) -> set[int]:
    found: set[int] = set()
    for parts in items:
        for part in parts:
            if isinstance(part, _Gap):
                found.add(part.which)
            elif isinstance(part, _Items):
                found |= _gaps(part.items)
    return found


def _item(parts: _Parts, values: Sequence[bytes]) -> bytes:
    content = b"".join(_filled(part, values) for part in parts)
    return _ITEM + struct.pack("<I", len(content)) + content


def _filled(part: "bytes | _Gap | _Items", values: Sequence[bytes]) -> bytes:
    match part:
        case bytes():
            return part
        case _Gap(which):
            return values[which]
        case _Items(header, items):
            content = b"".join(_item(parts, values) for parts in items)
            return header + struct.pack("<I", len(content)) + content
