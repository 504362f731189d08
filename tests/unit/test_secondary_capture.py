"""Pictures of a result, as objects and as what they show."""

import numpy as np
import pytest
from pydicom.uid import JPEGBaseline8Bit

from pneumo_monai.findings import View
from pneumo_monai.forms import Form
from pneumo_monai.report.encode import encode
from pneumo_monai.report.form_codes import SOURCE_IMAGE
from pneumo_monai.report.lines import describe_film, describe_origin
from pneumo_monai.report.picture import draw_film, draw_result
from pneumo_monai.report.secondary_capture import build_secondary_captures
from tests.films import make_film
from tests.reports import WHY, find_on, read_back, result_on
from tests.results import OUTCOMES, find_in_lungs, pictures_of, result_of


def coloured(pixels: np.ndarray) -> np.ndarray:
    """Return which pixels are not grey, the noise of rounding aside: (H, W) bool."""
    return np.ptp(pixels.astype(int), axis=2) > 12


@pytest.mark.parametrize("kind", OUTCOMES)
def test_a_picture_is_what_a_viewer_shows_and_says_where_it_comes_from(kind):
    film = make_film()
    (picture,) = build_secondary_captures(result_of(kind, film))
    read = read_back(picture)

    assert read.SOPClassUID.name == "Secondary Capture Image Storage"
    assert read.pixel_array.shape == (read.Rows, read.Columns, 3)
    assert 1024 <= max(read.Rows, read.Columns) <= 1536
    assert (read.Modality, read.ConversionType, read.BurnedInAnnotation) == ("OT", "WSD", "YES")
    assert read.ImageType == ["DERIVED", "SECONDARY"]
    assert read.PatientOrientation == ["L", "F"]
    assert (read.DateOfSecondaryCapture, read.TimeOfSecondaryCapture) == (read.ContentDate, read.ContentTime)
    (source,) = read.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == film.SOPInstanceUID
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == SOURCE_IMAGE.value
    assert encode(picture) == encode(build_secondary_captures(result_of(kind, film))[0])


def test_only_where_the_finding_is_present_anything_is_marked():
    film = make_film(rows=100, columns=100)
    (pixels,) = pictures_of(film).values()
    present, absent = (find_in_lungs(film, probability=p).films[0] for p in (0.8, 0.1))
    assert coloured(np.asarray(draw_film(pixels, present))).any()
    assert not coloured(np.asarray(draw_film(pixels, absent))).any()
    assert not coloured(np.asarray(draw_film(pixels))).any()


def test_the_heat_map_keeps_to_the_lungs():
    film = make_film(rows=100, columns=100)
    (pixels,) = pictures_of(film).values()
    marked = coloured(np.asarray(draw_film(pixels, find_in_lungs(film).films[0])))
    columns = np.flatnonzero(marked.any(axis=0)) / marked.shape[1]
    # The lung on the left of the picture, which has the peak of the map, ends at 105 of 224.
    assert columns.min() > 45 / 224 - 0.01
    assert columns.max() < 105 / 224 + 0.01


@pytest.mark.parametrize(("rows", "columns"), [(64, 2000), (2000, 64), (40, 40), (3000, 2500)])
def test_a_picture_is_readable_whatever_the_film_s_size(rows, columns):
    film = make_film(rows=rows, columns=columns)
    picture = draw_result(result_of("present", film), film.SOPInstanceUID)
    assert picture.mode == "RGB"
    assert 768 <= picture.width <= 1536
    assert picture.height <= 1536


def test_a_film_without_a_picture_has_none():
    first, second = make_film(), make_film()
    second.StudyInstanceUID = first.StudyInstanceUID
    result = result_of("present", first, second, pictures=pictures_of(second))
    (picture,) = build_secondary_captures(result)
    assert picture.SOPInstanceUID == result.instance_uid(Form.SECONDARY_CAPTURE, second.SOPInstanceUID)


def test_the_pictures_of_a_study_are_one_series_in_order():
    first, second = make_film(), make_film()
    second.StudyInstanceUID = first.StudyInstanceUID
    pictures = build_secondary_captures(result_of("present", first, second, revision=2))
    assert len({picture.SOPInstanceUID for picture in pictures}) == 2
    assert {picture.SeriesInstanceUID for picture in pictures} == {pictures[0].SeriesInstanceUID}
    assert [picture.InstanceNumber for picture in pictures] == [101, 102]


@pytest.mark.parametrize(
    ("attributes", "loss"),
    [
        ({}, ("00", None, None)),
        ({"LossyImageCompression": "00"}, ("00", None, None)),
        (
            {
                "LossyImageCompression": "01",
                "LossyImageCompressionRatio": "10",
                "LossyImageCompressionMethod": "ISO_15444_1",
            },
            ("01", 10, "ISO_15444_1"),
        ),
        ({"LossyImageCompression": "01", "LossyImageCompressionRatio": "-3"}, ("01", None, None)),
        ({"transfer_syntax": JPEGBaseline8Bit}, ("01", None, "ISO_10918_1")),
    ],
    ids=["nothing stated", "not lossy", "lossy", "ratio invalid", "lossy by its transfer syntax"],
)
def test_what_was_lost_before_stays_lost(attributes, loss):
    (picture,) = build_secondary_captures(result_of("absent", make_film(**attributes)))
    stated = (
        picture.LossyImageCompression,
        picture.get("LossyImageCompressionRatio"),
        picture.get("LossyImageCompressionMethod"),
    )
    assert stated == loss


@pytest.mark.parametrize(
    ("attributes", "place"),
    [
        ({"BodyPartExamined": None, "PatientOrientation": None}, (None, "", [])),
        ({"BodyPartExamined": "HAND", "Laterality": "L"}, ("HAND", "L", ["L", "F"])),
        ({"BodyPartExamined": "the hand", "PatientOrientation": "left"}, (None, "", [])),
        ({}, ("CHEST", None, ["L", "F"])),
    ],
    ids=["nothing stated", "a hand", "invalid", "a chest"],
)
def test_part_and_orientation_are_the_film_s_where_they_are_valid(attributes, place):
    (picture,) = build_secondary_captures(result_of("refused", make_film(**attributes)))
    assert (picture.get("BodyPartExamined"), picture.get("Laterality"), list(picture.PatientOrientation or [])) == place


def test_the_words_of_a_finding():
    first, second = make_film(), make_film()
    second.StudyInstanceUID = first.StudyInstanceUID
    findings = find_on([first, second], [0.8, 0.1], view=View.AP, remarks=[("The patient is very young.",)])
    result = result_on([first, second], findings, revision=3)
    lines = describe_film(result, first.SOPInstanceUID)
    assert lines.headline == "Pneumonia: present, probability 80.00 %"
    assert lines.details == (
        "View AP.",
        "Pneumonia is present in this study: the highest of 2 frontal films decides.",
        "The patient is very young.",
    )
    assert describe_film(result, second.SOPInstanceUID).headline == "Pneumonia: absent, probability 10.00 %"
    assert describe_origin(result) == (
        "Operating point balanced: present at probability 35.00 % or more; on the validation part sensitivity 0.820, "
        "specificity 0.710.",
        "Model A network 1.2.3; 2026-02-03 04:05:06 +0000; revision 3.",
    )


def test_the_number_never_contradicts_the_word():
    film = make_film()
    result = result_on([film], find_on([film], [0.349999999]))
    assert describe_film(result, film.SOPInstanceUID).headline == "Pneumonia: absent, probability 34.9999999 %"


def test_the_words_of_refusal_and_retraction():
    film = make_film()
    refused, retracted = (result_of(kind, film) for kind in ("refused", "retracted"))
    lines = describe_film(refused, film.SOPInstanceUID)
    assert lines.headline == "NOT ANALYSED"
    assert lines.details == ("Because the header states a view that is not frontal.", "Odd.")
    lines = describe_film(retracted, film.SOPInstanceUID)
    assert lines.headline == "RESULT WITHDRAWN"
    assert lines.details == (WHY, "Do not use the earlier result.")
    for result in (refused, retracted):
        assert describe_origin(result) == ("Model A network 1.2.3; 2026-02-03 04:05:06 +0000; revision 1.",)


def test_a_picture_of_what_cannot_be_referred_to_names_no_source():
    film = make_film(SOPClassUID=None)
    (picture,) = build_secondary_captures(result_of("refused", film))
    assert "SourceImageSequence" not in picture


def test_what_is_burned_in_is_what_is_said_to_be():
    film = make_film()
    for probability, named in ((0.8, True), (0.1, False)):
        (picture,) = build_secondary_captures(
            result_on([film], find_on([film], [probability]), pictures=pictures_of(film))
        )
        assert ("heat map" in picture.DerivationDescription) is named
