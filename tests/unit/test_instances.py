"""Part 10 files are parsed, or refused without a word of what they hold."""

import io
import zlib
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from pneumo_monai import instances
from pneumo_monai.errors import OutOfResources, Reason, Refused
from pneumo_monai.gate import check
from pneumo_monai.instances import parse_instance, read_instance
from tests.films import film_bytes, make_film


def refusal(encoded: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        parse_instance(encoded)
    assert "DOE" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value


def header(film_file: bytes) -> bytes:
    """Return preamble, prefix and file meta information."""
    return film_file[: 144 + int.from_bytes(film_file[140:144], "little")]


def test_a_film_is_read_whole(tmp_path: Path) -> None:
    film = make_film()
    file = tmp_path / "film.dcm"
    file.write_bytes(film_bytes(film))
    again = read_instance(file)
    assert again == film
    assert again.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_values_that_break_their_vr_are_read_without_a_warning() -> None:
    """Ages such as ``51`` are common; warnings are errors here."""
    film = parse_instance(film_bytes(make_film(PatientAge="51", StudyDate="yesterday", PatientSex="male")))
    assert film.PatientAge == "51"
    assert film.StudyDate == "yesterday"


def test_a_value_that_cannot_be_decoded_is_no_reason_to_refuse_the_file() -> None:
    encoded = film_bytes(make_film(SeriesNumber=12))
    broken = encoded.replace(b"\x20\x00\x11\x00IS\x02\x0012", b"\x20\x00\x11\x00IS\x02\x00xx")
    assert broken != encoded
    assert check(parse_instance(broken)) == "PA"


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"<!DOCTYPE html>" * 100,
        b"\0" * 128,
        b"\0" * 128 + b"DICM",
        b"\0" * 128 + b"DICM" + b"\xff" * 64,
        film_bytes(make_film())[132:],  # without preamble and prefix
    ],
    ids=["nothing", "web page", "preamble", "prefix", "noise", "no preamble"],
)
def test_what_is_no_part_10_file_is_refused(encoded: bytes) -> None:
    assert refusal(encoded).reason is Reason.UNPARSEABLE


@pytest.mark.parametrize("length", [300, 600, -3100, -1000])
def test_a_file_that_was_cut_is_refused_at_the_latest_by_the_gate(length: int) -> None:
    encoded = film_bytes(make_film(PatientName="DOE^JANE"))[:length]
    with pytest.raises(Refused) as caught:
        check(parse_instance(encoded))
    assert "DOE" not in str(caught.value)


def test_a_file_without_a_transfer_syntax_is_refused() -> None:
    film = make_film()
    del film.file_meta.TransferSyntaxUID
    buffer = io.BytesIO(b"\0" * 128 + b"DICM")
    buffer.seek(0, io.SEEK_END)
    film.save_as(buffer, implicit_vr=False, little_endian=True)
    found = refusal(buffer.getvalue())
    assert found.reason is Reason.UNPARSEABLE
    assert "(0002,0010)" in found.detail


def test_sequences_nested_without_end_are_refused() -> None:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x40\x00\x30\xa7SQ\x00\x00\xff\xff\xff\xff"
    nested = header(film_bytes(make_film())) + b"\x40\x00\x30\xa7SQ\x00\x00\xff\xff\xff\xff" + item * 5000
    assert refusal(nested).reason is Reason.UNPARSEABLE


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "film.dcm"
    file.write_bytes(film_bytes(make_film()))
    monkeypatch.setattr(instances, "MAX_BYTES", file.stat().st_size - 1)
    with pytest.raises(Refused, match="bytes") as caught:
        read_instance(file)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_file_that_inflates_beyond_the_limit_is_refused_uninflated(monkeypatch: pytest.MonkeyPatch) -> None:
    film = make_film(transfer_syntax=DeflatedExplicitVRLittleEndian)
    encoded = film_bytes(film)
    assert parse_instance(encoded).PixelData == film.PixelData
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = header(encoded) + compressor.compress(b"\0" * 10_000_000) + compressor.flush()
    monkeypatch.setattr(instances, "MAX_BYTES", 1_000_000)
    assert refusal(bomb).reason is Reason.TOO_LARGE


def test_a_deflated_file_that_was_cut_is_refused() -> None:
    encoded = film_bytes(make_film(transfer_syntax=DeflatedExplicitVRLittleEndian, rows=256, columns=256))
    assert refusal(encoded[:-500]).reason is Reason.UNPARSEABLE


def test_want_of_memory_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(instances, "dcmread", read)
    with pytest.raises(OutOfResources):
        parse_instance(film_bytes(make_film()))


def test_a_file_that_is_not_there_is_no_refusal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_instance(tmp_path / "none.dcm")
