"""A report's bytes, and what a terminal shows of it."""

from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian

from pneumo_monai.equipment import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pneumo_monai.errors import Broken, Reason
from pneumo_monai.findings import View
from pneumo_monai.forms import Form
from pneumo_monai.report import codes
from pneumo_monai.report.encode import encode
from pneumo_monai.report.impression import impression
from pneumo_monai.report.text import as_text
from tests.films import film_bytes, make_film
from tests.reports import (
    MODEL,
    OPERATING_POINT,
    WHY,
    children,
    find_on,
    read_back,
    refuse,
    report_of,
    report_on,
    result_on,
    retract,
)


def test_a_report_reads_as_text():
    film = make_film()
    report = report_on(film, probabilities=[0.87654321], view=View.NOT_STATED)
    assert as_text(report) == "\n".join(
        [
            "Pneumonia finding (research use), pneumo-monai",
            "",
            impression(find_on([film], [0.87654321])),
            "",
            f"Study            {film.StudyInstanceUID}",
            f"Report           {report.SOPInstanceUID}, revision 1",
            "Analysed         2026-02-03 04:05:06 +0000",
            f"Model            {MODEL.name} {MODEL.version}",
            f"Operating point  {OPERATING_POINT}",
            "",
            f"Film             {film.SOPInstanceUID}",
            "  View           view not stated",
            "  Pneumonia      present",
            "  Probability    87.65 %",
        ]
    )
    assert as_text(read_back(report)) == as_text(report)


def test_text_shows_remarks_with_the_impression_and_with_the_film():
    lines = as_text(report_on(make_film(), remarks=[("Patient age is not stated.",)])).splitlines()
    assert lines[2].startswith("Pneumonia: present.")
    assert lines[2].endswith("Not a medical device. Patient age is not stated.")
    assert lines[-1] == "  Comment        Patient age is not stated."


@pytest.mark.parametrize("outcome", [find_on, refuse, retract])
def test_all_forms_of_sr_say_the_same(outcome):
    films = [make_film(), make_film()]
    films[1].StudyInstanceUID = films[0].StudyInstanceUID
    result = result_on(films, outcome(films))
    measured, alike, told = (
        as_text(read_back(report_of(result, form))).splitlines()
        for form in (Form.SR_COMPREHENSIVE_3D, Form.SR_COMPREHENSIVE, Form.SR_TEXT)
    )
    (own,) = [place for place, line in enumerate(measured) if line.startswith("Report ")]
    assert len(measured) > 12
    for lines in (measured, alike, told):
        # The series is another, and so is the instance.
        assert lines[0].startswith("Pneumonia ")
        del lines[own], lines[0]
    assert measured == alike == told


def test_text_says_why_there_is_no_result():
    film = make_film()
    refused = as_text(report_of(result_on([film], refuse([film], [Reason.VIEW], detail="It is 'LL'"))))
    assert refused.splitlines()[-4:] == [
        f"Film             {film.SOPInstanceUID}",
        "  Analysis       not attempted",
        "  Why            Not analysed, because the header states a view that is not frontal",
        "  Comment        It is 'LL'.",
    ]
    withdrawn = as_text(report_of(result_on([film], retract([film]))))
    assert withdrawn.splitlines()[-4:] == [
        f"Film             {film.SOPInstanceUID}",
        "  Analysis       failed",
        "  Why            Result withdrawn, because it is wrong and may harm the patient",
        f"  Comment        {WHY}",
    ]


def test_text_lists_every_film_and_what_was_replaced():
    first, second = make_film(), make_film()
    second.StudyInstanceUID = first.StudyInstanceUID
    before = report_on(first)
    lines = as_text(report_on(first, second, probabilities=[0.1, 0.2], revision=2, predecessor=before)).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("Film")] == sorted(
        [first.SOPInstanceUID, second.SOPInstanceUID]
    )
    assert f"Replaces         {before.SOPInstanceUID}" in lines
    assert [line.split()[1] for line in lines if line.startswith("  Pneumonia")] == ["absent", "absent"]


def test_text_names_nobody():
    film = make_film(
        PatientName="Secret^Name",
        PatientID="SECRET-1",
        AccessionNumber="SECRET-2",
        ReferringPhysicianName="Secret^Doctor",
        PatientBirthDate="19991231",
        StudyID="SECRET-3",
    )
    for form in (Form.SR_COMPREHENSIVE_3D, Form.SR_TEXT):
        shown = as_text(report_of(result_on([film]), form))
        assert "secret" not in shown.lower()
        assert "19991231" not in shown


@pytest.mark.parametrize("dataset", [Dataset(), make_film()], ids=["empty", "film"])
def test_what_is_no_measurement_report_has_no_text(dataset):
    with pytest.raises(Broken, match="no measurement report"):
        as_text(dataset)


@pytest.mark.parametrize("outcome", [find_on, refuse, retract])
def test_a_report_in_text_is_basic_text(outcome):
    film = make_film()
    told = outcome([film])
    before = report_of(result_on([film]), Form.SR_TEXT)
    report = read_back(
        report_of(result_on([film], told, revision=2, superseded={Form.SR_TEXT: [before]}), Form.SR_TEXT)
    )
    assert report.SOPClassUID == report.file_meta.MediaStorageSOPClassUID == BasicTextSRStorage
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "2000"
    # Value types and relationships of PS3.3 table A.35.1-2.
    items = [item for element in report.iterall() if element.keyword == "ContentSequence" for item in element.value]
    assert {item.ValueType for item in items} <= {"CONTAINER", "TEXT", "CODE", "UIDREF", "IMAGE"}
    (section,) = children(report, codes.FINDINGS)
    (finding,) = children(section, codes.FINDING)
    (source,) = children(finding, codes.SOURCE)
    assert source.RelationshipType == "INFERRED FROM"
    assert source.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
    assert "\r\n  " in finding.TextValue
    assert finding.TextValue.isascii()
    (section,) = children(report, codes.IMPRESSIONS)
    assert [item.TextValue for item in children(section, codes.IMPRESSION)] == [impression(told)]
    series = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == report.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPClassUID == BasicTextSRStorage


def test_bytes_are_a_part_10_file_of_our_own_implementation():
    report = report_on(make_film())
    encoded = encode(report)
    assert encoded[:132] == b"\0" * 128 + b"DICM"
    meta = dcmread(BytesIO(encoded)).file_meta
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert meta.MediaStorageSOPClassUID == report.SOPClassUID
    assert meta.MediaStorageSOPInstanceUID == report.SOPInstanceUID


def test_encoding_changes_nothing_and_repeats_itself():
    report = report_on(make_film())
    meta = report.file_meta.to_json()
    assert encode(report) == encode(report)
    assert report.file_meta.to_json() == meta
    assert encode(read_back(report)) == encode(report)


def test_any_instance_is_encoded_not_reports_alone():
    film = make_film(transfer_syntax="1.2.840.10008.1.2")
    sent = dcmread(BytesIO(film_bytes(film)))
    assert dcmread(BytesIO(encode(sent))).PatientName == film.PatientName
