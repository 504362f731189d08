"""A broken header or file ends in a refusal, never in another error, and never in a quotation."""

from contextlib import suppress

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from pneumo_monai.age import age_in_years
from pneumo_monai.errors import Refused
from pneumo_monai.findings import View
from pneumo_monai.gate import check
from pneumo_monai.instances import parse_instance
from pneumo_monai.pixels import read_film
from tests.films import film_bytes, make_film

KEYWORDS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "Manufacturer",
    "PresentationIntentType",
    "ContributingEquipmentSequence",
    "BodyPartExamined",
    "AnatomicRegionSequence",
    "ViewPosition",
    "ViewCodeSequence",
    "PatientAge",
    "PatientBirthDate",
    "StudyDate",
    "PatientPosition",
    "PatientOrientation",
    "SeriesDescription",
    "StudyDescription",
    "ProtocolName",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "SpecificCharacterSet",
    "PixelData",
]
VRS = [
    "AS",
    "AT",
    "CS",
    "DA",
    "DS",
    "FD",
    "FL",
    "IS",
    "LO",
    "OB",
    "OW",
    "PN",
    "SH",
    "SL",
    "SQ",
    "SS",
    "TM",
    "UI",
    "UL",
    "UN",
    "US",
]
ODD = [
    b"",
    b"abc ",
    b"1\\2",
    b"\\",
    b"nan ",
    b"inf ",
    b"1e400 ",
    b"99999999999 ",
    b"-1",
    b"\xff\xfe\x00\xe0\xff\xff\xff\xff",
]
values = st.binary(max_size=12) | st.sampled_from(ODD)
FILE = film_bytes(make_film(rows=16, columns=16, SeriesDescription="DOE^JANE"))


@settings(max_examples=300, deadline=None)
@given(keyword=st.sampled_from(KEYWORDS), vr=st.sampled_from(VRS), value=values, implicit=st.booleans())
@example(keyword="NumberOfFrames", vr="IS", value=b"abc ", implicit=False)
@example(keyword="Rows", vr="US", value=b"\x10\x00\x10\x00", implicit=False)
@example(keyword="SamplesPerPixel", vr="US", value=b"", implicit=False)
@example(keyword="VOILUTSequence", vr="LO", value=b"abc ", implicit=False)
def test_an_attribute_of_garbage(keyword: str, vr: str, value: bytes, implicit: bool) -> None:
    film = make_film(rows=16, columns=16)
    tag = tag_for_keyword(keyword)
    assert tag is not None
    film[tag] = RawDataElement(BaseTag(tag), None if implicit else vr, len(value), value, 0, implicit, True)
    age = age_in_years(film)
    assert age is None or 0.0 <= age <= 122.0
    with suppress(Refused):
        assert check(film) in View
        read_film(film)


@settings(max_examples=300, deadline=None)
@given(
    position=st.integers(min_value=0, max_value=len(FILE) - 1),
    patch=st.binary(min_size=1, max_size=6),
    cut=st.booleans(),
)
def test_a_file_of_broken_bytes(position: int, patch: bytes, cut: bool) -> None:
    broken = FILE[:position] + patch + (b"" if cut else FILE[position + len(patch) :])
    try:
        film = parse_instance(broken)
        check(film)
        read_film(film)
    except Refused as refusal:
        assert "DOE" not in str(refusal)  # noqa: PT017 - most files are not refused
        assert "JANE" not in str(refusal)  # noqa: PT017
