"""The page of a result: what it says, that it is one, and that it is always the same."""

import base64
import re
import zlib

import pytest
from pydicom.dataset import Dataset

from pneumo_monai.report.encapsulated_pdf import build_encapsulated_pdf
from pneumo_monai.report.encode import encode
from pneumo_monai.report.form_codes import CHEST_CAD_REPORT
from pneumo_monai.report.impression import impression
from pneumo_monai.report.lines import BANNER, describe_film, describe_origin
from pneumo_monai.report.result import Result
from tests.films import DX, make_film
from tests.reports import find_on, read_back, result_on
from tests.results import OUTCOMES, pictures_of, result_of


def page_of(result: Result) -> bytes:
    (instance,) = build_encapsulated_pdf(result)
    read = read_back(instance)
    return bytes(read.EncapsulatedDocument[: read.EncapsulatedDocumentLength])


def words(page: bytes) -> str:
    """Return the text of a page as it is searched: reportlab keeps ASCII readable in what it draws."""
    drawn = []
    for dictionary, encoded in re.findall(rb"<<([^<>]*)>>\s*stream\r?\n(.*?)endstream", page, re.DOTALL):
        if b"ASCII85Decode" in dictionary and b"DCTDecode" not in dictionary:
            plain = zlib.decompress(base64.a85decode(encoded.strip().removesuffix(b"~>")))
            drawn += re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", plain)
    text = b" ".join(drawn).decode("latin-1")
    return " ".join(re.sub(r"\\(.)", r"\1", text).split())


def pictures_in(page: bytes) -> int:
    return page.count(b"/Subtype /Image")


@pytest.mark.parametrize("kind", OUTCOMES)
def test_a_page_says_what_the_result_says(kind):
    film = make_film()
    result = result_of(kind, film)
    page = page_of(result)
    assert page.startswith(b"%PDF-")
    assert page.count(b"/Type /Page\n") + page.count(b"/Type /Page ") == 1
    said = words(page)
    for line in (BANNER, impression(result.outcome), describe_film(result, film.SOPInstanceUID).headline):
        assert line in said
    for line in describe_origin(result):
        assert line in said
    assert ("region of the finding" in said) is (kind == "present")
    assert pictures_in(page) == 1
    assert b"Phantom" not in page
    assert "Phantom" not in said


def test_a_film_without_a_picture_has_its_words():
    film = make_film()
    page = page_of(result_of("refused", film, pictures={}))
    assert pictures_in(page) == 0
    assert "NOT ANALYSED" in words(page)


@pytest.mark.parametrize("count", [2, 4, 7])
def test_every_film_is_on_the_one_page(count):
    films = [make_film(rows=80, columns=60) for _ in range(count)]
    for film in films:
        film.StudyInstanceUID = films[0].StudyInstanceUID
    findings = find_on(films, [0.1 + 0.01 * place for place in range(count)])
    page = page_of(result_on(films, findings, pictures=pictures_of(*films)))
    # Pictures that are the same are embedded once; every one of them is drawn.
    assert words(page).count("Pneumonia: absent, probability 1") == count
    assert pictures_in(page) >= 1


def test_the_instance_is_a_document_with_its_sources():
    first, second = make_film(), make_film(sop_class=DX)
    second.StudyInstanceUID = first.StudyInstanceUID
    (instance,) = build_encapsulated_pdf(result_of("present", first, second))
    read: Dataset = read_back(instance)
    assert read.SOPClassUID.name == "Encapsulated PDF Storage"
    assert (read.Modality, read.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
    assert (read.VerificationFlag, read.BurnedInAnnotation) == ("UNVERIFIED", "YES")
    assert read.ConceptNameCodeSequence[0].CodeValue == CHEST_CAD_REPORT.value
    assert {item.ReferencedSOPInstanceUID for item in read.SourceInstanceSequence} == {
        first.SOPInstanceUID,
        second.SOPInstanceUID,
    }
    assert len(read.EncapsulatedDocument) % 2 == 0


@pytest.mark.parametrize("kind", OUTCOMES)
def test_the_same_result_gives_the_same_bytes(kind):
    film = make_film()
    first, second = (encode(build_encapsulated_pdf(result_of(kind, film))[0]) for _ in range(2))
    assert first == second
