"""What OHIF shows when a result is opened: asserted of the page's text and of its pixels."""

import re
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from pneumo_monai.findings import StudyFindings
from pneumo_monai.forms import Form
from pneumo_monai.region import finding_region
from pneumo_monai.report.provenance import SERIES_NUMBERS
from tests.viewer.radiologist import Box, Radiologist
from tests.viewer.studies import ViewedStudy

pytestmark = [pytest.mark.viewer, pytest.mark.timeout(600)]

_SAID = {
    "positive": "Pneumonia: present",
    "negative": "Pneumonia: absent",
    "refused": "Not analysed",
    "withdrawn": "Result withdrawn",
}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("positive", Form.SR_COMPREHENSIVE_3D),
        ("negative", Form.SR_COMPREHENSIVE_3D),
        ("positive", Form.SR_COMPREHENSIVE),
    ],
)
def test_a_measurement_report_shows_the_region_on_the_film_and_the_numbers(
    name: str, form: Form, radiologist: Radiologist, studies: dict[str, ViewedStudy]
) -> None:
    study = studies[name]
    outcome = study.result.outcome
    assert isinstance(outcome, StudyFindings)
    radiologist.open(study.uid, SERIES_NUMBERS[form])
    read = radiologist.wait_to_read("Probability")
    radiologist.take_picture(f"ohif-{name}-{form}")
    probability, threshold = (float(share) for share in re.findall(r": (\S+) %", read))
    assert probability == pytest.approx(100 * outcome.films[0].probability, abs=0.01)
    assert (probability >= threshold) is outcome.films[0].present
    expected = _on_page(finding_region(outcome.films[0]), study, radiologist)
    assert tuple(radiologist.outline()) == pytest.approx(tuple(expected), abs=6)
    assert _green(radiologist.pixels(expected)) > 100


@pytest.mark.parametrize("name", ["refused", "withdrawn"])
def test_a_measurement_report_without_findings_says_why(
    name: str, radiologist: Radiologist, studies: dict[str, ViewedStudy]
) -> None:
    study = studies[name]
    radiologist.open(study.uid, SERIES_NUMBERS[Form.SR_COMPREHENSIVE_3D])
    radiologist.wait_to_read(f"{_SAID[name]}, because")
    radiologist.take_picture(f"ohif-{name}-{Form.SR_COMPREHENSIVE_3D}")


@pytest.mark.parametrize("name", ["positive", "negative", "refused"])
def test_a_text_report_is_read(name: str, radiologist: Radiologist, studies: dict[str, ViewedStudy]) -> None:
    study = studies[name]
    radiologist.open(study.uid, SERIES_NUMBERS[Form.SR_TEXT])
    read = radiologist.wait_to_read(_SAID[name])
    radiologist.take_picture(f"ohif-{name}-{Form.SR_TEXT}")
    assert "research use only" in read


@pytest.mark.parametrize("name", ["positive", "negative", "refused"])
def test_a_secondary_capture_is_seen(name: str, radiologist: Radiologist, studies: dict[str, ViewedStudy]) -> None:
    study = studies[name]
    capture = dcmread(BytesIO(study.documents[Form.SECONDARY_CAPTURE].encoded))
    radiologist.open(study.uid, SERIES_NUMBERS[Form.SECONDARY_CAPTURE])
    radiologist.wait("the picture is seen", lambda: _likeness(radiologist, capture.pixel_array) > 0.9)
    radiologist.take_picture(f"ohif-{name}-{Form.SECONDARY_CAPTURE}")


def test_a_pdf_is_seen(radiologist: Radiologist, studies: dict[str, ViewedStudy]) -> None:
    study = studies["positive"]
    radiologist.open(study.uid, SERIES_NUMBERS[Form.PDF])
    radiologist.wait("a white page is seen", lambda: float(np.mean(radiologist.pixels() > 240)) > 0.2)
    radiologist.take_picture(f"ohif-positive-{Form.PDF}")


def _on_page(region: NDArray[np.float64], study: ViewedStudy, radiologist: Radiologist) -> Box:
    """Return the box on the page of an outline on the film."""
    left, top, right, _ = radiologist.image(study.film.Rows, study.film.Columns)
    scale = (right - left) / study.film.Columns
    (first_column, first_row), (last_column, last_row) = region.min(axis=0) * scale, region.max(axis=0) * scale
    return Box(left + first_column, top + first_row, left + last_column, top + last_row)


def _likeness(radiologist: Radiologist, picture: NDArray[np.uint8]) -> float:
    """Return the correlation of what is seen with what should be."""
    seen = radiologist.pixels(radiologist.image(*picture.shape[:2]))
    rows, columns, _ = seen.shape
    expected = np.asarray(Image.fromarray(picture).resize((columns, rows), Image.Resampling.BILINEAR))
    return float(np.corrcoef(seen.ravel(), expected.ravel())[0, 1])


def _green(pixels: NDArray[np.uint8]) -> int:
    """Count pixels in the colour of the viewer's outlines; a film is grey."""
    red, green, blue = np.moveaxis(pixels.astype(int), -1, 0)
    return int(np.sum(green - np.maximum(red, blue) > 80))
