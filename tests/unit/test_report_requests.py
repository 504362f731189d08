"""The request that a report answers and the procedure it is about, as the film states them."""

from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.forms import Form
from pneumo_monai.report import codes
from pneumo_monai.report.requests import procedure_reported, referenced_requests
from tests.films import film_bytes, make_film, make_item
from tests.names import NAMES
from tests.reports import children, code_of, read_back, refuse, report_of, report_on, result_on

CHEST = Code("36643-5", "LN", "XR Chest 2 Views")


def code(value: str = CHEST.value, scheme: str = CHEST.scheme_designator, meaning: str = CHEST.meaning) -> Dataset:
    return make_item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def as_sent(film: Dataset) -> Dataset:
    return dcmread(BytesIO(film_bytes(film)))


def requests_of(film: Dataset) -> list[Dataset]:
    return list(read_back(report_on(as_sent(film))).get("ReferencedRequestSequence", []))


def reported(film: Dataset) -> Code:
    report = read_back(report_on(as_sent(film)))
    (item,) = children(report, codes.PROCEDURE_REPORTED)
    return code_of(item.ConceptCodeSequence[0])


def test_a_film_without_a_request_answers_none():
    film = make_film(AccessionNumber=None)
    assert requests_of(film) == []
    assert "ReferencedRequestSequence" not in read_back(report_on(film))
    assert requests_of(make_film(AccessionNumber="")) == []


def test_an_accession_number_alone_is_a_request():
    film = make_film()
    (request,) = requests_of(film)
    assert request.AccessionNumber == film.AccessionNumber
    assert request.StudyInstanceUID == film.StudyInstanceUID
    # Type 2: there, and empty.
    for keyword in (
        "ReferencedStudySequence",
        "PlacerOrderNumberImagingServiceRequest",
        "FillerOrderNumberImagingServiceRequest",
        "RequestedProcedureID",
        "RequestedProcedureDescription",
        "RequestedProcedureCodeSequence",
    ):
        assert keyword in request
        assert not request[keyword].value


def test_request_attributes_are_completed_by_the_film():
    film = make_film(
        PlacerOrderNumberImagingServiceRequest="P-1",
        RequestAttributesSequence=[
            make_item(
                RequestedProcedureID="RP-7",
                RequestedProcedureDescription="Chest, two views",
                RequestedProcedureCodeSequence=[code()],
                ScheduledProcedureStepID="not of a request",
            )
        ],
    )
    (request,) = requests_of(film)
    assert request.AccessionNumber == film.AccessionNumber
    assert request.PlacerOrderNumberImagingServiceRequest == "P-1"
    assert request.RequestedProcedureID == "RP-7"
    assert request.RequestedProcedureDescription == "Chest, two views"
    assert request.RequestedProcedureCodeSequence[0].CodeValue == CHEST.value
    assert "ScheduledProcedureStepID" not in request


def test_several_requests_keep_their_own_numbers():
    film = make_film(
        RequestAttributesSequence=[
            make_item(AccessionNumber="A-1", RequestedProcedureID="1"),
            make_item(RequestedProcedureID="2"),
            make_item(ScheduledProcedureStepID="3"),
        ]
    )
    requests = requests_of(film)
    assert [(item.AccessionNumber or "", item.RequestedProcedureID) for item in requests] == [("A-1", "1"), ("", "2")]


@pytest.mark.parametrize(
    "broken",
    [
        {"RequestedProcedureID": "R" * 17},
        {"RequestedProcedureDescription": "A\\B"},
        {"RequestedProcedureCodeSequence": [code(value="1" * 17)]},
        {"RequestedProcedureCodeSequence": [code(meaning="")]},
        {"RequestedProcedureCodeSequence": [code(scheme="")]},
    ],
)
def test_what_breaks_its_value_representation_is_not_written(broken):
    film = make_film(AccessionNumber=None, RequestAttributesSequence=[make_item(**broken)])
    assert requests_of(film) == []


def test_a_sequence_that_is_none_is_nothing():
    film = make_film()
    film.add_new("RequestAttributesSequence", "LO", "text")
    assert len(referenced_requests(film, "2.25.1")) == 1
    assert procedure_reported(film) is None


@pytest.mark.parametrize(
    ("film", "expected"),
    [
        (make_film(), codes.PLAIN_CHEST_XRAY),
        (make_film(ProcedureCodeSequence=[code()]), CHEST),
        (make_film(RequestedProcedureCodeSequence=[code()]), CHEST),
        (make_film(RequestAttributesSequence=[make_item(RequestedProcedureCodeSequence=[code()])]), CHEST),
        (
            make_film(ProcedureCodeSequence=[code()], RequestedProcedureCodeSequence=[code("1", "99X", "Other")]),
            CHEST,
        ),
        (make_film(ProcedureCodeSequence=[code(meaning=""), code()]), CHEST),
        (make_film(ProcedureCodeSequence=[code(value="x" * 17)]), codes.PLAIN_CHEST_XRAY),
        (make_film(ProcedureCodeSequence=[]), codes.PLAIN_CHEST_XRAY),
    ],
)
def test_procedure_reported_is_the_imaging_procedure(film, expected):
    assert reported(film) == expected


@pytest.mark.parametrize("form", [Form.SR_COMPREHENSIVE_3D, Form.SR_TEXT])
def test_of_a_refused_object_nobody_knows_that_it_is_a_chest_film(form):
    for film, expected in (
        (make_film(), codes.IMAGING_PROCEDURE.meaning),
        (make_film(ProcedureCodeSequence=[code()]), CHEST.meaning),
    ):
        report = report_of(result_on([film], refuse([film])), form)
        (item,) = children(report, codes.PROCEDURE_REPORTED)
        assert item.ConceptCodeSequence[0].CodeMeaning == expected


@pytest.mark.parametrize(("terms", "name"), NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("decoded", [False, True], ids=["raw", "decoded"])
def test_words_keep_their_characters(terms, name, decoded):
    words = name.replace("^", "").replace("=", " ")
    film = as_sent(
        make_film(
            SpecificCharacterSet=terms,
            PatientName=name,
            ProcedureCodeSequence=[code("1", "99LOCAL", words)],
            RequestAttributesSequence=[
                make_item(
                    RequestedProcedureDescription=words, RequestedProcedureCodeSequence=[code("1", "99LOCAL", words)]
                )
            ],
        )
    )
    if decoded:
        film.decode()
    report = read_back(report_on(film))
    (request,) = report.ReferencedRequestSequence
    assert request.RequestedProcedureDescription == words
    assert request.RequestedProcedureCodeSequence[0].CodeMeaning == words
    (item,) = children(report, codes.PROCEDURE_REPORTED)
    assert item.ConceptCodeSequence[0].CodeMeaning == words


def test_words_that_cannot_be_written_anew_are_left_to_the_request():
    film = as_sent(make_film(SpecificCharacterSet="ISO_IR 13", RequestedProcedureCodeSequence=[code(meaning="x")]))
    item = film.RequestedProcedureCodeSequence[0]
    # pydicom reads half-width katakana beside a space, and does not write them.
    meaning = "ﾑﾈ ｼｮｳﾒﾝ".encode("shift_jis")
    item["CodeMeaning"] = item.get_item("CodeMeaning")._replace(value=meaning, length=len(meaning))
    report = read_back(report_on(film))
    assert procedure_reported(film) is None
    assert report.ReferencedRequestSequence[0].RequestedProcedureCodeSequence[0].CodeMeaning == "ﾑﾈ ｼｮｳﾒﾝ"


def test_words_that_are_not_in_the_set_the_film_declares():
    film = as_sent(make_film(ProcedureCodeSequence=[code(meaning="Thorax in zwei Ebenen")]))
    item = film.ProcedureCodeSequence[0]
    broken = "Röntgen".encode("latin-1")
    item["CodeMeaning"] = item.get_item("CodeMeaning")._replace(value=broken, length=len(broken))
    # The name is as declared, so the report is; the words are left out.
    assert procedure_reported(film) is None
    name = "Müller^A".encode("latin-1")
    film["PatientName"] = film.get_item("PatientName")._replace(value=name, length=len(name))
    # The name is not, so the report is in Unicode, and holds the words as well.
    assert procedure_reported(film) == Code(CHEST.value, CHEST.scheme_designator, "Röntgen")
    report = read_back(report_on(film))
    (stated,) = children(report, codes.PROCEDURE_REPORTED)
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert stated.ConceptCodeSequence[0].CodeMeaning == "Röntgen"
