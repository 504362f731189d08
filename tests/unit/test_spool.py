"""Names of files come from validated UIDs, and whatever was sent is identified or refused."""

import tracemalloc
import warnings
import zlib
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from pneumo_monai.errors import OutOfResources, Reason, Refused
from pneumo_monai.spool import Identity, Spool, identify
from tests.films import CR, SC, film_bytes, make_film

STUDY, FILM = "1.2.840.113619.2.1", "1.2.840.113619.2.2"
NAMED = {"StudyInstanceUID": STUDY, "SOPInstanceUID": FILM}


def deflated(film: bytes, tail: bytes = b"") -> bytes:
    """Deflate the data set of an Explicit VR Little Endian file, with something appended to it."""
    head = film_bytes(make_film(**NAMED, transfer_syntax=DeflatedExplicitVRLittleEndian))
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return head[: _end_of_meta(head)] + compressor.compress(film[_end_of_meta(film) :] + tail) + compressor.flush()


def _end_of_meta(encoded: bytes) -> int:
    # File Meta Information Group Length (0002,0000) counts from its own end (PS3.10 7.1).
    return 144 + int.from_bytes(encoded[140:144], "little")


def with_study(value: bytes) -> bytes:
    """Return a film whose Study Instance UID is these bytes, whatever they are."""
    value += b"\0" * (len(value) % 2)
    placeholder = "1.2.3.4.5.6.7.8"
    encoded = film_bytes(make_film(**{**NAMED, "StudyInstanceUID": placeholder}))
    element = b"\x20\x00\x0d\x00UI" + len(placeholder + "0").to_bytes(2, "little") + placeholder.encode() + b"\0"
    assert encoded.count(element) == 1
    return encoded.replace(element, b"\x20\x00\x0d\x00UI" + len(value).to_bytes(2, "little") + value)


def nested(depth: int) -> bytes:
    """Return a film with sequences of undefined length in each other."""
    encoded = film_bytes(make_film(**NAMED))
    opened = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    place = encoded.index(b"\x10\x00\x10\x00PN")
    return encoded[:place] + opened * depth + closed * depth + encoded[place:]


def after_file_meta(encoded: bytes) -> bytes:
    """Cut at what File Meta Information Group Length (0002,0000) says, the first element after the prefix."""
    return encoded[144 + int.from_bytes(encoded[140:144], "little") :]


def test_who_wrote_the_file_makes_no_other_film_of_it():
    film = make_film(**NAMED)
    film.file_meta.ImplementationVersionName = "ONE"
    one = identify(film_bytes(film))
    film.file_meta.ImplementationVersionName = "ANOTHER"
    assert identify(film_bytes(film)) == one
    film.PatientID = "SOMEBODY-ELSE"
    assert identify(film_bytes(film)).digest != one.digest


@pytest.mark.parametrize("sop_class", [CR, SC])
@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_a_film_is_identified_in_every_encoding(syntax: str, sop_class: str):
    encoded = film_bytes(make_film(**NAMED, transfer_syntax=syntax, sop_class=sop_class))
    assert identify(encoded) == Identity(
        study_instance_uid=STUDY,
        sop_instance_uid=FILM,
        sop_class_uid=sop_class,
        digest=sha256(syntax.encode() + after_file_meta(encoded)).hexdigest(),
    )


def test_a_compressed_film_is_identified():
    film = make_film(**NAMED)
    film.compress(RLELossless, generate_instance_uid=False)
    assert identify(film_bytes(film)).sop_instance_uid == FILM


def test_other_pixels_are_another_digest():
    first, second = (identify(film_bytes(make_film(**NAMED, rows=rows))) for rows in (64, 65))
    assert first.sop_instance_uid == second.sop_instance_uid
    assert first.digest != second.digest


@pytest.mark.parametrize(
    "uid",
    [
        b"../../etc/passwd",
        b"1.2/3",
        b"1.2\\3.4",
        b"/1.2.3",
        b"1.2.3\n",
        b"\n1.2.3",
        b"1.2.3\0.4",
        b"..",
        b"1..2",
        b".1",
        b"1.",
        b"a.b",
        b"1.2.3-4",
        b"",
        b"\0\0",
        b"1." + b"2" * 63,
    ],
)
def test_nothing_is_named_after_what_is_no_uid(uid: bytes):
    with pytest.raises(Refused) as caught:
        identify(with_study(uid))
    assert caught.value.reason is Reason.MISSING_IDENTITY
    assert "Study Instance UID" in caught.value.detail


def test_a_uid_that_is_no_ascii_is_refused():
    with pytest.raises(Refused):
        identify(with_study("1.٢.3".encode()))


@pytest.mark.parametrize("uid", [b"1.2.3 ", b"1.2.3", b"1.2.03", b"2.25." + b"9" * 39, b"1." + b"2" * 62])
def test_real_equipment_pads_uids_and_begins_them_with_zeros(uid: bytes):
    assert identify(with_study(uid)).study_instance_uid == uid.decode().rstrip()


@pytest.mark.parametrize(
    ("keyword", "name"),
    [
        ("StudyInstanceUID", "Study Instance UID"),
        ("SOPInstanceUID", "SOP Instance UID"),
        ("SOPClassUID", "SOP Class UID"),
    ],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_missing_uid_is_named(keyword: str, name: str, syntax: str):
    with pytest.raises(Refused) as caught:
        identify(film_bytes(make_film(transfer_syntax=syntax, **{keyword: None})))
    assert (caught.value.reason, caught.value.detail) == (
        Reason.MISSING_IDENTITY,
        f"{name} is missing or no valid UID",
    )


@pytest.mark.parametrize(
    "encoded",
    [b"", b"DICM", b"<html>" * 100, b"\0" * 128, b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 300],
    ids=["empty", "prefix", "html", "preamble", "nothing after", "garbage after"],
)
def test_what_is_no_dicom_file_is_refused(encoded: bytes):
    with pytest.raises(Refused) as caught:
        identify(encoded)
    assert caught.value.reason in {Reason.UNPARSEABLE, Reason.MISSING_IDENTITY}


def test_a_refusal_quotes_nothing_that_was_sent():
    with pytest.raises(Refused) as caught:
        identify(with_study(b"Doe^John"))
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("depth", [1, 20, 100])
def test_sequences_may_be_nested(depth: int):
    assert identify(nested(depth)).sop_instance_uid == FILM


def test_sequences_that_are_nested_too_deep_are_refused():
    with pytest.raises(Refused) as caught:
        identify(nested(100_000))
    assert caught.value.reason is Reason.UNPARSEABLE


def test_what_inflates_without_end_is_not_inflated():
    film = film_bytes(make_film(**NAMED))
    private = b"\x09\x00\x10\x00UN\0\0" + (1 << 28).to_bytes(4, "little")
    place = film.index(b"\x10\x00\x10\x00PN")
    before_the_uid = deflated(film[:place] + private, tail=bytes(1 << 26))
    after_the_uid = deflated(film, tail=bytes(1 << 26))
    tracemalloc.start()
    try:
        with pytest.raises(Refused):
            identify(before_the_uid)
        assert identify(after_the_uid).sop_instance_uid == FILM
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(before_the_uid) < 1 << 17
    assert peak < 1 << 26


def test_too_little_memory_is_no_fault_of_the_film(monkeypatch: pytest.MonkeyPatch):
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pneumo_monai.spool.read_partial", no_memory)
    with pytest.raises(OutOfResources):
        identify(film_bytes(make_film()))


def _identified_or_refused(encoded: bytes) -> None:
    with warnings.catch_warnings():
        # As in the service, where warnings of pydicom are not errors.
        warnings.simplefilter("ignore")
        try:
            identity = identify(encoded)
        except Refused:
            return
    for uid in (identity.study_instance_uid, identity.sop_instance_uid, identity.sop_class_uid):
        assert 1 <= len(uid) <= 64
        assert set(uid) <= set("0123456789.")
        assert uid.strip(".")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=600), st.booleans())
def test_random_bytes_are_refused(noise: bytes, preamble: bool):
    _identified_or_refused((b"\0" * 128 + b"DICM" if preamble else b"") + noise)


FILMS = {
    syntax: film_bytes(make_film(**NAMED, rows=16, columns=16, transfer_syntax=syntax))
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
}


@settings(max_examples=250, deadline=None)
@given(data=st.data(), film=st.sampled_from(sorted(FILMS.values())))
def test_damaged_films_are_identified_or_refused(data: st.DataObject, film: bytes):
    damaged = bytearray(film)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(128, len(film) - 1))] = data.draw(st.integers(0, 255))
    _identified_or_refused(bytes(damaged[: data.draw(st.integers(0, len(film)))]))


def test_a_film_is_kept_under_its_uids(tmp_path: Path):
    encoded = film_bytes(make_film(**NAMED))
    identity = identify(encoded)
    spool = Spool(tmp_path)
    kept = spool.keep_film(identity, encoded)
    assert kept == f"spool/films/{STUDY}/{FILM}.{identity.digest[:16]}.dcm"
    assert spool.path(kept).read_bytes() == encoded
    assert spool.keep_film(identity, encoded) == kept


def test_other_content_under_the_same_uid_is_another_file(tmp_path: Path):
    spool = Spool(tmp_path)
    films = [film_bytes(make_film(**NAMED, rows=rows)) for rows in (64, 65)]
    kept = [spool.keep_film(identify(film), film) for film in films]
    assert [spool.path(path).read_bytes() for path in kept] == films


def test_a_data_folder_may_be_moved(tmp_path: Path):
    kept = Spool(tmp_path / "here").keep_document(STUDY, FILM, b"report")
    assert kept == f"spool/reports/{STUDY}/{FILM}.dcm"
    (tmp_path / "here").rename(tmp_path / "there")
    assert Spool(tmp_path / "there").path(kept).read_bytes() == b"report"


@pytest.mark.parametrize("uid", ["1." + "2" * 62, "2.25." + "9" * 39])
def test_the_longest_names_fit_a_file_system(tmp_path: Path, uid: str):
    encoded = film_bytes(make_film(StudyInstanceUID=uid, SOPInstanceUID=uid))
    assert Spool(tmp_path).path(Spool(tmp_path).keep_film(identify(encoded), encoded)).is_file()
