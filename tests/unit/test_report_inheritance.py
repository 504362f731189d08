"""What a report takes over from the film: names in their characters, and nothing that breaks the standard."""

import datetime
import logging
import re
import string
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from pneumo_monai.attributes import label
from pneumo_monai.report.inheritance import OPTIONAL, REQUIRED, inherit
from tests.films import film_bytes, make_film
from tests.names import NAMES
from tests.reports import read_back, report_on
from tests.shared import shared_folder


def as_sent(film: Dataset) -> Dataset:
    """Return the film as it arrives: parsed from bytes, nothing decoded."""
    return dcmread(BytesIO(film_bytes(film)))


def raw(dataset: Dataset, keyword: str) -> bytes:
    element = dataset.get_item(keyword)
    assert element.is_raw
    return element.value or b""


@pytest.mark.parametrize(("terms", "name"), NAMES.values(), ids=NAMES)
def test_a_name_keeps_its_characters_and_its_bytes(terms, name):
    film = make_film(SpecificCharacterSet=terms, PatientName=name, ReferringPhysicianName=name)
    sent = as_sent(film)
    report = read_back(report_on(as_sent(film)))

    for keyword in ("PatientName", "ReferringPhysicianName"):
        assert raw(report, keyword) == raw(sent, keyword)
        assert str(report[keyword].value) == str(sent[keyword].value)
    assert report.get("SpecificCharacterSet") == sent.get("SpecificCharacterSet")


@pytest.mark.parametrize(("terms", "name"), NAMES.values(), ids=NAMES)
def test_a_name_that_was_decoded_before_keeps_its_characters(terms, name):
    sent = as_sent(make_film(SpecificCharacterSet=terms, PatientName=name))
    for tag in sent.keys():  # noqa: SIM118 - the keys alone: values() would not decode
        sent[tag]
    report = read_back(report_on(sent))
    assert str(report.PatientName) == str(sent.PatientName)
    assert report.get("SpecificCharacterSet") == sent.get("SpecificCharacterSet")


@pytest.mark.rsna
@pytest.mark.parametrize("language", ["japanese", "korean", "gb", "greek", "russian", "utf8"])
@pytest.mark.parametrize("decoded", [False, True], ids=["raw", "decoded"])
def test_real_names_on_a_real_film(language, decoded):
    shared = shared_folder("dicom")
    named = dcmread(shared / f"charset-{language}.dcm")
    film = dcmread(shared / "rsna-original.dcm")
    name = raw(named, "PatientName")
    film["SpecificCharacterSet"] = named["SpecificCharacterSet"]
    film["PatientName"] = named["PatientName"] if decoded else named.get_item("PatientName")
    report = read_back(report_on(film))

    written = raw(report, "PatientName")
    assert str(report.PatientName) == str(named.PatientName)
    assert report.SpecificCharacterSet == named.SpecificCharacterSet
    if not decoded:
        assert written == name


def with_raw(film: Dataset, keyword: str, value: bytes) -> Dataset:
    """Return a film as it arrives, with these bytes in one of its attributes."""
    sent = as_sent(film)
    sent[keyword] = sent.get_item(keyword)._replace(value=value, length=len(value))
    return sent


def test_gb_2312_with_its_escapes_and_in_several_groups():
    encoded = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab= "
    terms = ["", "ISO 2022 IR 58"]
    report = read_back(report_on(with_raw(make_film(SpecificCharacterSet=terms), "PatientName", encoded)))
    assert raw(report, "PatientName") == encoded
    assert report.SpecificCharacterSet == terms


@pytest.mark.parametrize(
    ("terms", "encoded", "name"),
    [
        (None, "Müller^A".encode("latin-1"), "Müller^A"),
        (None, "Müller^A".encode(), "Müller^A"),
        ("ISO_IR 6", "Müller^A".encode("latin-1"), "Müller^A"),
        ("ISO_IR 192", "Müller^A".encode("latin-1"), "Müller^A"),
        ("ISO-8859-1", "Müller^A".encode("latin-1"), "Müller^A"),
        ("utf8", "王^小東".encode(), "王^小東"),
        (["", "ISO 2022 IR 58"], "张^小东".encode("gb2312"), "张^小东"),
        (["", "ISO 2022 IR 149"], "홍^길동".encode("euc_kr"), "홍^길동"),
    ],
)
def test_a_film_that_is_not_in_the_set_it_declares_is_reported_in_unicode(terms, encoded, name):
    report = read_back(report_on(with_raw(make_film(SpecificCharacterSet=terms), "PatientName", encoded)))
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName) == name


def test_a_multi_byte_set_named_alone_extends_ascii():
    sent = as_sent(make_film(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎"))
    encoded = raw(sent, "PatientName")
    sent.SpecificCharacterSet = "ISO 2022 IR 87"
    report = read_back(report_on(sent))
    assert report.SpecificCharacterSet == ["", "ISO 2022 IR 87"]
    assert raw(report, "PatientName") == encoded
    assert report.Manufacturer == "pneumo-monai"


def test_sets_that_cannot_stand_together_are_not_believed():
    film = make_film(SpecificCharacterSet=["ISO_IR 192", "ISO 2022 IR 87"], PatientName="王^小東")
    report = read_back(report_on(film))
    assert (report.SpecificCharacterSet, str(report.PatientName)) == ("ISO_IR 192", "王^小東")


@pytest.mark.parametrize("terms", [None, "ISO_IR 100", "Latin1"])
def test_a_name_given_as_text_is_written_in_what_holds_it(terms):
    report = read_back(report_on(make_film(SpecificCharacterSet=terms, PatientName="王^小東")))
    assert (report.SpecificCharacterSet, str(report.PatientName)) == ("ISO_IR 192", "王^小東")


def test_an_undefined_character_set_that_nothing_needs_is_dropped():
    assert "SpecificCharacterSet" not in read_back(report_on(make_film(SpecificCharacterSet="ISO-8859-1")))


def test_a_description_alone_does_not_change_the_character_set():
    film = make_film(SpecificCharacterSet=["", "ISO 2022 IR 149"], StudyDescription="Thorax")
    report = report_on(with_raw(film, "StudyDescription", "Thörax".encode("latin-1")))
    assert report.SpecificCharacterSet == ["", "ISO 2022 IR 149"]
    assert "StudyDescription" not in report


@pytest.mark.parametrize("keyword", REQUIRED)
@pytest.mark.parametrize("value", [None, ""])
def test_what_a_film_lacks_is_written_empty(keyword, value):
    report = read_back(report_on(make_film(**{keyword: value})))
    assert keyword in report
    assert not report[keyword].value


@pytest.mark.parametrize("keyword", OPTIONAL)
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_optional_is_left_out(keyword, value):
    assert keyword not in read_back(report_on(make_film(**{keyword: value})))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientAge", "51"),
        ("PatientAge", "51Y"),
        ("PatientAge", "ABCY"),
        ("PatientSex", "X"),
        ("PatientSex", "m"),
        ("PatientSex", "Male"),
        ("StudyDate", "2024-01-31"),
        ("StudyDate", "20241331"),
        ("StudyDate", "00000000"),
        ("PatientBirthDate", "19700230"),
        ("PatientBirthDate", "1970"),
        ("StudyTime", "10:15"),
        ("StudyTime", "250000"),
        ("StudyTime", "1015.5"),
        ("StudyTime", "101500.1234567"),
        ("StudyTime", "101500."),
        ("AccessionNumber", "A" * 17),
        ("StudyID", "1" * 17),
        ("PatientID", "P" * 65),
        ("PatientID", "A\\B"),
        ("PatientID", "A\x01B"),
        ("PatientID", "A\nB"),
        ("PatientName", "N" * 65),
        ("PatientName", "A^B^C^D^E^F"),
        ("PatientName", "A=B=C=D"),
        ("ReferringPhysicianName", "A^B\\C^D"),
        ("IssuerOfPatientID", "I" * 65),
        ("StudyDescription", "D" * 65),
    ],
)
def test_what_breaks_its_value_representation_is_not_written(keyword, value, caplog):
    caplog.set_level(logging.DEBUG, logger="pneumo_monai")
    report = read_back(report_on(make_film(**{keyword: value})))
    if keyword in REQUIRED:
        assert not report[keyword].value
    else:
        assert keyword not in report
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("pneumo_monai")]
    assert set(logged) == {f"{label(keyword)} of the film breaks its value representation and is not taken over"}


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientAge", "051Y"),
        ("PatientAge", "003W"),
        ("StudyTime", "10"),
        ("StudyTime", "1015"),
        ("StudyTime", "101500.1"),
        ("StudyTime", "101500.123456"),
        ("PatientName", "A" * 64 + "=" + "B" * 64),
        ("PatientName", "Bono"),
        ("PatientID", "P" * 64),
        ("AccessionNumber", "A" * 16),
        ("IssuerOfPatientID", "Hospital"),
        ("StudyDescription", "Chest AP/PA"),
        ("PatientSex", "F"),
    ],
)
def test_what_is_valid_is_taken_over(keyword, value):
    assert str(read_back(report_on(make_film(**{keyword: value})))[keyword].value) == value


def test_nothing_else_is_taken_over():
    report = report_on(make_film(PatientComments="x", OtherPatientNames="A^B", OperatorsName="C^D", PatientAddress="y"))
    assert not {"PatientComments", "OtherPatientNames", "OperatorsName", "PatientAddress"} & set(report.dir())


def test_padding_with_nul_becomes_padding_with_space():
    report = read_back(report_on(with_raw(make_film(), "PatientID", b"ABCDE\0")))
    assert raw(report, "PatientID") == b"ABCDE "


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"], ids=["implicit VR", "deflated"])
def test_a_film_in_another_transfer_syntax(syntax):
    film = make_film(transfer_syntax=syntax, SpecificCharacterSet="ISO_IR 100", PatientName="Müller^A")
    report = read_back(report_on(as_sent(film)))
    assert str(report.PatientName) == "Müller^A"


def test_of_films_that_disagree_the_first_by_uid_is_believed():
    first = make_film(SOPInstanceUID="2.25.1", PatientName="First^A")
    second = make_film(SOPInstanceUID="2.25.2", PatientName="Second^B", StudyInstanceUID=first.StudyInstanceUID)
    assert str(report_on(second, first).PatientName) == "First^A"


@given(
    name=st.text(st.characters(codec="utf-8"), max_size=70),
    patient_id=st.text(max_size=70),
    age=st.text(string.digits + "DWMY ", max_size=5),
    day=st.one_of(st.dates().map("{:%Y%m%d}".format), st.text(string.digits + ".-", max_size=10)),
    terms=st.sampled_from([None, "ISO_IR 100", "ISO_IR 192", ["", "ISO 2022 IR 87"], "nonsense"]),
)
def test_whatever_a_header_says_the_report_is_valid_and_says_no_other(name, patient_id, age, day, terms):
    film = make_film(
        SpecificCharacterSet=terms, PatientName=name, PatientID=patient_id, PatientAge=age, PatientBirthDate=day
    )
    bare = Dataset()
    bare.SOPClassUID, bare.SOPInstanceUID = Comprehensive3DSRStorage, "2.25.1"
    inherit(film, bare)
    report = read_back(bare)
    assert str(report.PatientName) in {"", name.strip(" \0"), name.rstrip(" \0="), name.strip(" \0").rstrip("=")}
    assert (report.PatientID or "") in {"", patient_id.strip(" \0"), patient_id.rstrip(" \0")}
    assert report.get("PatientAge", age.strip()) == age.strip()
    if report.PatientBirthDate:
        assert report.PatientBirthDate == day
        datetime.datetime.strptime(day, "%Y%m%d")  # noqa: DTZ007
    assert not re.search(r"[\x00-\x1a\x1c-\x1f\\]", str(report.PatientName) + (report.PatientID or ""))
