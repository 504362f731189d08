"""Presentation states: what they draw, and that grey levels stay what they are."""

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pneumo_monai.forms import Form
from pneumo_monai.grayscale import displayed_values
from pneumo_monai.pixel_description import check_pixel_description
from pneumo_monai.region import finding_region
from pneumo_monai.report import codes
from pneumo_monai.report.encode import encode
from pneumo_monai.report.lines import BANNER
from pneumo_monai.report.presentation_state import build_presentation_states
from tests.films import gradient, make_film
from tests.reports import WHY, read_back, refuse, result_on
from tests.results import OUTCOMES, find_in_lungs, result_of


def state_on(film: Dataset, kind: str = "present") -> Dataset:
    (state,) = build_presentation_states(result_of(kind, film))
    return read_back(state)


def words(state: Dataset) -> list[str]:
    (annotation,) = state.GraphicAnnotationSequence
    return [text.UnformattedTextValue for text in annotation.TextObjectSequence]


@pytest.mark.parametrize(("rows", "columns"), [(64, 48), (48, 64), (2000, 1500)])
def test_the_region_is_drawn_with_its_label_where_the_finding_is_present(rows, columns):
    film = make_film(rows=rows, columns=columns)
    state = state_on(film)
    (annotation,) = state.GraphicAnnotationSequence
    (outline,) = annotation.GraphicObjectSequence
    region = finding_region(find_in_lungs(film).films[0])
    assert (outline.GraphicType, outline.GraphicAnnotationUnits) == ("POLYLINE", "PIXEL")
    assert np.reshape(outline.GraphicData, (-1, 2)) == pytest.approx(region, abs=1e-3)
    result = result_of("present", film)
    assert outline.TrackingUID == result.tracking_uid(film.SOPInstanceUID, codes.PNEUMONIA.value)
    assert words(state) == ["Pneumonia: present, probability 80.00 %", BANNER]
    box = annotation.TextObjectSequence[0]
    (left, top), (right, bottom) = box.BoundingBoxTopLeftHandCorner, box.BoundingBoxBottomRightHandCorner
    assert 0 <= left < right <= columns
    assert 0 <= top < bottom <= rows


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("absent", "Pneumonia: absent, probability 10.00 %"),
        ("refused", "NOT ANALYSED. Because the header states a view that is not frontal. Odd."),
        (
            "retracted",
            f"RESULT WITHDRAWN. {WHY} Do not use the earlier result.",
        ),
    ],
)
def test_elsewhere_are_words_only(kind, said):
    state = state_on(make_film(), kind)
    assert words(state) == [said, BANNER]
    assert "GraphicObjectSequence" not in state.GraphicAnnotationSequence[0]


@pytest.mark.parametrize("kind", OUTCOMES)
def test_a_state_is_of_its_film_and_always_the_same(kind):
    film = make_film()
    state = state_on(film, kind)
    (series,) = state.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == film.SeriesInstanceUID
    assert series.ReferencedImageSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
    (area,) = state.DisplayedAreaSelectionSequence
    assert list(area.DisplayedAreaBottomRightHandCorner) == [film.Columns, film.Rows]
    assert state.PresentationCreationDate == "20260203"
    assert state.ContentLabel == "PNEUMONIA"
    assert encode(state) == encode(state_on(film, kind))


def test_each_film_has_a_state_of_its_own():
    first, second = make_film(), make_film(PhotometricInterpretation="MONOCHROME1")
    second.StudyInstanceUID = first.StudyInstanceUID
    result = result_of("present", first, second)
    states = {state.SOPInstanceUID: state for state in build_presentation_states(result)}
    for film, shape in ((first, "IDENTITY"), (second, "INVERSE")):
        state = states[result.instance_uid(Form.PRESENTATION_STATE, film.SOPInstanceUID)]
        assert state.PresentationLUTShape == shape


@pytest.mark.parametrize(
    "attributes",
    [
        {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
        {"NumberOfFrames": "2"},
        {"Rows": None},
        {"BitsAllocated": 32},
        {"SeriesInstanceUID": None},
    ],
    ids=["colour", "many frames", "no size", "32 bit", "no series"],
)
def test_of_what_is_no_grey_film_there_is_none(attributes):
    film = make_film(**attributes)
    assert build_presentation_states(result_on([film], refuse([film]))) == []


def test_pixel_data_is_not_needed():
    film = make_film()
    del film.PixelData
    assert build_presentation_states(result_of("retracted", film, pictures={}))


def table(first: int, entries: np.ndarray, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", "OW", np.round(entries * ((1 << bits) - 1)).astype("<u2").tobytes())
    return item


CURVE = np.linspace(0.0, 1.0, 4096) ** 2
WINDOW = {"WindowCenter": 1000, "WindowWidth": 800}
DISPLAYS: dict[str, dict[str, Any]] = {
    "nothing stated": {},
    "a window": WINDOW,
    "a window after a rescale": {**WINDOW, "RescaleSlope": 2, "RescaleIntercept": -1000},
    "a narrow window": {"WindowCenter": 0.3, "WindowWidth": 0.5, "RescaleSlope": 0.001, "RescaleIntercept": 0},
    "a sigmoid": {**WINDOW, "VOILUTFunction": "SIGMOID"},
    "an exact window": {**WINDOW, "VOILUTFunction": "LINEAR_EXACT"},
    "a function that is none": {**WINDOW, "VOILUTFunction": "CUBIC"},
    "a window that shows nothing": {"WindowCenter": 9000, "WindowWidth": 10},
    "a VOI LUT": {"VOILUTSequence": [table(100, CURVE[:3000] / CURVE[2999], 10)]},
    "a VOI LUT from below zero": {
        "VOILUTSequence": [table(-1000, CURVE, 12)],
        "RescaleSlope": 1,
        "RescaleIntercept": -1000,
    },
    "a Modality LUT": {"ModalityLUTSequence": [table(0, CURVE, 10)]},
    "a Modality LUT and a window": {"ModalityLUTSequence": [table(0, CURVE, 10)], **WINDOW, "WindowCenter": 400},
    "a Modality LUT and a VOI LUT": {
        "ModalityLUTSequence": [table(0, CURVE, 12)],
        "VOILUTSequence": [table(0, np.sqrt(CURVE), 12)],
    },
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("display", DISPLAYS)
def test_grey_levels_stay_what_they_are(display, signed, photometric):
    """A film that says of itself what the state says of it looks the same."""
    pixels = gradient(64, 48, 12).astype(np.int16) - 2048 if signed else gradient(64, 48, 12)
    film = make_film(pixels=pixels, bits_stored=12, PhotometricInterpretation=photometric, **DISPLAYS[display])
    state = state_on(film)
    plain = make_film(pixels=pixels, bits_stored=12)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        if keyword in state:
            setattr(plain, keyword, state[keyword].value)
    for item in state.get("SoftcopyVOILUTSequence", []):
        plain.update(item)
    if state.PresentationLUTShape == "INVERSE":
        plain.PhotometricInterpretation = "MONOCHROME1"
    same, shown = (displayed_values(one, check_pixel_description(one)) for one in (plain, film))
    assert same == pytest.approx(shown, abs=2e-5)


@pytest.mark.parametrize(
    ("attributes", "ratio"),
    [
        ({}, [1, 1]),
        ({"PixelSpacing": [0.143, 0.143]}, [1, 1]),
        ({"PixelSpacing": [0.0, 0.0], "ImagerPixelSpacing": [0.2, 0.1]}, [2000, 1000]),
        ({"PixelAspectRatio": [1, 2]}, [500, 1000]),
        ({"ImagerPixelSpacing": [0.2]}, [1, 1]),
    ],
)
def test_pixels_keep_their_shape(attributes, ratio):
    (area,) = state_on(make_film(**attributes)).DisplayedAreaSelectionSequence
    assert list(area.PresentationPixelAspectRatio) == ratio


def test_a_long_reason_is_cut_to_what_an_annotation_holds():
    film = make_film()
    (state,) = build_presentation_states(result_on([film], refuse([film], detail="x" * 2000)))
    assert len(words(read_back(state))[0]) == 1024
