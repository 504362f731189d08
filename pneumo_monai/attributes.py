"""Attributes of data sets that others wrote: read what breaks the standard a little, refuse what says nothing.

pydicom decodes a value when it is first asked for, so a broken one raises, or warns with the value in the text, at the
place that reads it. Here both end: a value that cannot be decoded is `Refused` by the attribute's name, never quoted.
"""

import math
import re
import warnings
from typing import Any

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from pneumo_monai.errors import Reason, Refused

__all__ = ["integer", "integers", "is_uid", "items", "label", "number", "quoted", "raw", "text", "values"]

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_CODE_STRING = re.compile(r"[A-Z0-9 _\\]{1,35}")


def label(keyword: str) -> str:
    """Return an attribute's name as the standard prints it: ``View Position (0018,5101)``."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword of the DICOM data dictionary")
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def raw(dataset: Dataset, keyword: str) -> Any:
    """Return an attribute's value as pydicom decodes it; None when it is absent or empty.

    Raises
    ------
    Refused
        The value cannot be decoded.
    """
    try:
        with warnings.catch_warnings():
            # pydicom warns of a value that breaks its VR and prints it: it may identify the patient.
            warnings.simplefilter("ignore")
            return dataset.get(keyword)
    except Exception as error:  # noqa: BLE001 - each VR's decoder raises in its own way, RecursionError included
        raise Refused(Reason.UNPARSEABLE, f"{label(keyword)} cannot be decoded ({type(error).__name__})") from None


def values(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of an attribute of text, without padding; empty when it is absent or empty.

    Raises
    ------
    Refused
        The value is no text of its value representation.
    """
    value = raw(dataset, keyword)
    parts = list(value) if isinstance(value, MultiValue | list | tuple) else [value]
    if any(isinstance(part, bytes | bytearray | Sequence) for part in parts):
        raise _broken(keyword, "text")
    stripped = tuple("" if part is None else str(part).strip(" \0") for part in parts)
    return stripped if any(stripped) else ()


def text(dataset: Dataset, keyword: str) -> str:
    """Return an attribute of text as one string, its values joined by a backslash; empty when it is absent or empty.

    Raises
    ------
    Refused
        The value is no text of its value representation.
    """
    return "\\".join(values(dataset, keyword))


def integers(dataset: Dataset, keyword: str) -> tuple[int, ...]:
    """Return the values of an attribute that holds whole numbers; none when it is absent or empty.

    Raises
    ------
    Refused
        A value is no whole number.
    """
    value = raw(dataset, keyword)
    if value is None or value == "":
        return ()
    parts = tuple(value) if isinstance(value, MultiValue | list | tuple) else (value,)
    if not all(isinstance(part, int | float) and math.isfinite(part) and part == int(part) for part in parts):
        raise _broken(keyword, "whole numbers")
    return tuple(int(part) for part in parts)


def integer(dataset: Dataset, keyword: str) -> int | None:
    """Return an attribute that holds one whole number; None when it is absent or empty.

    Raises
    ------
    Refused
        The value is several numbers or none.
    """
    found = integers(dataset, keyword)
    if len(found) > 1:
        raise _broken(keyword, "one whole number")
    return found[0] if found else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return the first value of an attribute that holds numbers; None when it is absent or that value is empty.

    Raises
    ------
    Refused
        The value is no finite number.
    """
    value = raw(dataset, keyword)
    if isinstance(value, MultiValue | list | tuple):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _broken(keyword, "a number") from None
    if not math.isfinite(found):
        raise _broken(keyword, "a finite number")
    return found


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence; none when it is absent or empty.

    Raises
    ------
    Refused
        The attribute is no sequence.
    """
    value = raw(dataset, keyword)
    if value is None:
        return ()
    if not isinstance(value, Sequence):
        raise _broken(keyword, "a sequence")
    return tuple(value)


def is_uid(value: str) -> bool:
    """Tell whether a value can stand as a UID: components of digits, dots between them, at most 64 characters.

    Components with a leading zero break PS3.5 9.1 and are sent by real equipment; they name an object all the same, and
    nothing but digits and dots can reach a path.
    """
    return len(value) <= 64 and _UID.fullmatch(value) is not None


def quoted(value: str) -> str:
    """Return a coded value as an error may show it; free text that strayed into one is left out."""
    return f"'{value}'" if _CODE_STRING.fullmatch(value) else "no code string"


def _broken(keyword: str, kind: str) -> Refused:
    return Refused(Reason.UNPARSEABLE, f"{label(keyword)} does not hold {kind}")
