"""What a report takes over from the film it describes: patient, study, and the characters their names are written in.

Tolerant in what is read, strict in what is written. A value goes over byte for byte, with the Specific Character Set
(0008,0005) it is encoded in. A value that breaks its value representation is never repaired, because a repaired
identifier may be somebody else's: it is written empty where the attribute is Type 2 and left out where it is Type 3.
"""

import logging
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from pydicom.charset import convert_encodings, decode_bytes, default_encoding, encode_string
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS, PersonName

from pneumo_monai.attributes import label

__all__ = ["OPTIONAL", "REQUIRED", "inherit", "inherited_item", "is_writable", "stated_timezone"]

_log = logging.getLogger(__name__)

REQUIRED = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
)
"""Type 2 in the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): empty when the film has nothing valid."""

OPTIONAL = ("StudyDescription", "IssuerOfPatientID", "PatientAge")
"""Type 3 there and in the Patient Study module (C.7.2.2): left out when the film has nothing valid."""

_DEFAULT_REPERTOIRE = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6"})
_NEVER_FIRST = frozenset(f"ISO 2022 IR {n}" for n in (58, 87, 149, 159))
_ALONE = frozenset({"ISO_IR 192", "GB18030", "GBK"})
_DEFINED_TERMS = (
    _DEFAULT_REPERTOIRE
    | _ALONE
    | {f"ISO_IR {n}" for n in (13, 100, 101, 109, 110, 126, 127, 138, 144, 148, 166)}
    | {f"ISO 2022 IR {n}" for n in (13, 58, 87, 100, 101, 109, 110, 126, 127, 138, 144, 148, 149, 159, 166)}
)
"""Specific Character Set, PS3.3 C.12.1.1.2, tables C.12-2 to C.12-5."""

_UNICODE = "ISO_IR 192"
_ESCAPE_SEQUENCE = re.compile(r"\x1b[ -/]+[0-~]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TIMEZONE = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_DELIMITERS = {"PN": PN_DELIMS, "LO": TEXT_VR_DELIMS, "SH": TEXT_VR_DELIMS}
"""Bytes that end an escape sequence's reach (PS3.5 6.1.2.5.3), by the value representations the set applies to."""


@dataclass(frozen=True)
class _Value:
    """One attribute of the film: as it is encoded there and, where its character set allows, as text."""

    encoded: bytes
    text: str | None


@dataclass(frozen=True)
class _Characters:
    """Specific Character Set of a film and of its report: they differ where the film is not what it declares."""

    declared: tuple[str, ...]
    written: tuple[str, ...]
    differ: bool

    @property
    def encodings(self) -> str | list[str]:
        """Return what pydicom calls them."""
        return convert_encodings(list(self.written)) if self.written else default_encoding


def inherit(source: Dataset, report: Dataset) -> None:
    """Write the patient and study attributes of a film into a report, and the character set they need.

    Specific Character Set (0008,0005) is the film's own, all its values, and every value keeps the film's bytes. Only
    a film whose values are not what it declares (a term the standard does not define, none at all for letters beyond
    ASCII, bytes that the declared set cannot hold) is written in ISO_IR 192: its values are read as declared where they
    can be, else as the first of UTF-8, the declared sets without their escape sequences, and Latin-1 that holds them.

    Parameters
    ----------
    source : Dataset
        The film. It is not changed.
    report : Dataset
        The report, its own texts in ASCII.
    """
    characters = _characters(source)
    if terms := characters.written:
        report.SpecificCharacterSet = terms[0] if len(terms) == 1 else list(terms)
    # Raw elements are written as they stand only if the data set counts as read in this very encoding.
    report.set_original_encoding(False, True, characters.encodings)
    for keyword in (*REQUIRED, *OPTIONAL):
        if not _copy(source, report, keyword, characters) and keyword in REQUIRED:
            setattr(report, keyword, None)


def inherited_item(film: Dataset, sources: Sequence[Dataset], keywords: Iterable[str]) -> Dataset:
    """Return an item for a sequence of a report, with attributes of a film's items or of the film itself.

    Each is of the first source that has a valid value; what none has is left out. Bytes and characters are those of
    `inherit`, so the item belongs in a report of this film.
    """
    characters = _characters(film)
    item = Dataset(parent_encoding=characters.encodings)
    item.set_original_encoding(False, True, characters.encodings)
    for keyword in keywords:
        any(_copy(source, item, keyword, characters) for source in sources)
    return item


def is_writable(film: Dataset, words: str) -> bool:
    """Tell whether pydicom can write words of the film anew in the character set of its report."""
    try:
        _encode(words, _characters(film).written)
    except (UserWarning, UnicodeError):
        return False
    return True


def stated_timezone(source: Dataset) -> str | None:
    """Return the film's Timezone Offset From UTC (0008,0201), ``&ZZXX``, if it states a valid one."""
    stated = _ascii(source, "TimezoneOffsetFromUTC")
    return stated if _TIMEZONE.fullmatch(stated) else None


def _characters(film: Dataset) -> _Characters:
    declared = _declared_terms(film)
    differ = any(_read(film, keyword, declared).text is None for keyword in REQUIRED)
    return _Characters(declared, (_UNICODE,) if differ else declared, differ)


def _declared_terms(source: Dataset) -> tuple[str, ...]:
    """Return the terms of Specific Character Set, or none where they are not what the standard defines."""
    terms = tuple(term.strip(" ") for term in _ascii(source, "SpecificCharacterSet").split("\\"))
    if not any(terms) or not _DEFINED_TERMS.issuperset(terms) or (len(terms) > 1 and not _ALONE.isdisjoint(terms)):
        return ()
    # Multi-byte sets only extend another; senders that name one alone mean ASCII before it, and so the bytes stand.
    return ("", *terms) if terms[0] in _NEVER_FIRST else terms


def _ascii(source: Dataset, keyword: str) -> str:
    return _read(source, keyword, ()).encoded.decode("ascii", "replace").strip(" ")


def _read(source: Dataset, keyword: str, declared: tuple[str, ...]) -> _Value:
    """Read one attribute: the film's own bytes, if nobody has decoded them yet."""
    tag, vr = Tag(keyword), dictionary_VR(keyword)
    element = cast("DataElement | RawDataElement | None", source.get_item(tag))
    if element is None or not element.value:
        return _Value(b"", "")
    if isinstance(element, RawDataElement):
        encoded = bytes(element.value)
    else:
        parts = element.value if isinstance(element.value, MultiValue | list | tuple) else [element.value]
        try:
            encoded = b"\\".join(_encode(part, declared) for part in parts)
        except (UserWarning, UnicodeError):
            return _Value("\\".join(str(part) for part in parts).encode(), None)
    encoded = encoded.rstrip(b"\0")
    return _Value(encoded, _decode(encoded, declared, vr))


def _encode(part: object, declared: tuple[str, ...]) -> bytes:
    encodings = convert_encodings(list(declared)) if declared else ["utf-8"]
    with warnings.catch_warnings():
        # pydicom would warn, and write question marks for what the declared set cannot hold.
        warnings.simplefilter("error")
        return part.encode(encodings) if isinstance(part, PersonName) else encode_string(str(part), encodings)


def _decode(encoded: bytes, declared: tuple[str, ...], vr: str) -> str | None:
    """Decode as declared; None where the declared set cannot hold these bytes."""
    if vr not in _DELIMITERS or (encoded.isascii() and b"\x1b" not in encoded):
        return encoded.decode("ascii", "replace")
    if (declared or ("",))[0] in _DEFAULT_REPERTOIRE and not encoded.split(b"\x1b")[0].isascii():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            groups = encoded.split(b"=") if vr == "PN" else [encoded]
            encodings = convert_encodings(list(declared))
            text = "=".join(decode_bytes(group, encodings, _DELIMITERS[vr]) for group in groups)
    except (UserWarning, UnicodeError):
        return None
    return _ESCAPE_SEQUENCE.sub("", text)


def _in_unicode(value: _Value, declared: tuple[str, ...]) -> _Value:
    """Read bytes that are not what the film declares: as UTF-8, as a declared set without its escapes, as Latin-1."""
    text = value.text
    extensions = convert_encodings([term for term in declared if term not in _DEFAULT_REPERTOIRE])
    for encoding in ("utf-8", *extensions, "latin-1"):
        if text is None:
            with suppress(UnicodeDecodeError):
                text = value.encoded.decode(encoding)
    return _Value((text or "").encode("utf-8"), text)


def _copy(source: Dataset, target: Dataset, keyword: str, characters: _Characters) -> bool:
    """Write one attribute, if its value is what its value representation allows; tell whether."""
    value = _read(source, keyword, characters.declared)
    if characters.differ:
        value = _in_unicode(value, characters.declared)
    text, encoded = (value.text or "").strip(" "), value.encoded
    if text and not _is_valid(keyword, text):
        _log.debug("%s of the film breaks its value representation and is not taken over", label(keyword))
        text = ""
    if not text:
        return False
    encoded += b" " * (len(encoded) % 2)
    tag, vr = Tag(keyword), dictionary_VR(keyword)
    target[tag] = RawDataElement(tag, vr, len(encoded), encoded, 0, False, True)
    return True


def _is_valid(keyword: str, text: str) -> bool:
    """PS3.5 table 6.2-1, and the enumerated values of Patient's Sex (PS3.3 C.7.1.1)."""
    if keyword == "PatientSex":
        return text in {"M", "F", "O"}
    if _CONTROL.search(text) or "\\" in text:
        return False
    return _VALID[dictionary_VR(keyword)](text)


def _is_person_name(text: str) -> bool:
    groups = text.split("=")
    return len(groups) <= 3 and all(len(group) <= 64 and group.count("^") <= 4 for group in groups)


def _is_date(text: str) -> bool:
    return len(text) == 8 and _parses(text, "%Y%m%d")


def _is_time(text: str) -> bool:
    whole, _, fraction = text.partition(".")
    if fraction and not (len(whole) == 6 and len(fraction) <= 6 and fraction.isdecimal()):
        return False
    return not text.endswith(".") and any(
        len(whole) == length and _parses(whole, form) for length, form in ((2, "%H"), (4, "%H%M"), (6, "%H%M%S"))
    )


def _parses(text: str, form: str) -> bool:
    if not (text.isascii() and text.isdecimal()):
        return False
    try:
        datetime.strptime(text, form)  # noqa: DTZ007 - only whether there is such a day or time of day
    except ValueError:
        return False
    return True


_VALID: Mapping[str, Callable[[str], bool]] = {
    "PN": _is_person_name,
    "LO": lambda text: len(text) <= 64,
    "SH": lambda text: len(text) <= 16,
    "DA": _is_date,
    "TM": _is_time,
    "AS": lambda text: re.fullmatch(r"[0-9]{3}[DWMY]", text) is not None,
}
