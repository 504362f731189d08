"""The page stands alone, says what was measured, and escapes what comes from outside."""

import json
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.evaluation.contact import confident_errors
from pneumo_monai.evaluation.document import described_model, how_measured, notes_on, with_curves
from pneumo_monai.evaluation.groups import Protocol, groups_of
from pneumo_monai.evaluation.page import render_page
from pneumo_monai.evaluation.plots import roc
from pneumo_monai.findings import View
from tests.films import film_bytes, make_film
from tests.readings import make_reading, make_readings

PROTOCOL = Protocol(threshold=0.5, resamples=20, mix={})
VOID = {"img", "meta", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Tags in order, and a complaint where one is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(readings: list[Any], *, films: bool = True, **changes: Any) -> str:
    groups = groups_of(readings, {})
    metrics = {
        **described_model(Bundle(PACKAGED)),
        "held_out": "unknown",
        "notes": notes_on(groups),
        "data": {"unit": "exams", "counts": {"exams": "all"}, "not_read": {}, "films_not_read": []},
        **how_measured(groups, PROTOCOL),
        **with_curves(groups, PROTOCOL, "all"),
        **changes,
    }
    return render_page(json.loads(json.dumps(metrics)), groups, title="Drawn films", films=films)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("film") / "film.dcm"
    file.write_bytes(film_bytes(make_film(rows=70, columns=70)))
    return file


@pytest.fixture(scope="module")
def page(film: Path) -> str:
    readings = make_readings(120, path=film, boxes=((10.0, 10.0, 30.0, 30.0),))
    readings += [make_reading(n, target=0, logit=float(n), group="b", view=View.AP) for n in range(3)]
    return page_of(readings)


def test_the_page_needs_nothing_beside_itself(page: str) -> None:
    for tag, attributes in Page(page).tags:
        assert tag not in {"script", "link", "iframe", "object"}
        for name in ("src", "href", "srcset", "poster", "background"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
    assert "url(" not in page
    assert "@import" not in page


def test_every_picture_can_be_opened_and_is_described(page: str) -> None:
    pictures = [attributes for tag, attributes in Page(page).tags if tag == "img"]
    kinds = []
    for picture in pictures:
        assert picture["alt"]
        kind, _, content = str(picture["src"]).removeprefix("data:").partition(";base64,")
        kinds.append(kind)
        if kind == "image/svg+xml":
            assert ElementTree.fromstring(b64decode(content)).tag.endswith("svg")
        else:
            Image.open(BytesIO(b64decode(content))).load()
    # Of the one group five pictures, of the other, which has one class, one; and errors of both kinds.
    assert kinds.count("image/svg+xml") == 6
    assert kinds.count("image/jpeg") == 16


def test_the_page_says_what_was_measured(page: str) -> None:
    for needed in (
        "For research use only. Not a medical device.",
        Bundle(PACKAGED).identity.uid,
        "sensitivity 0.90",
        "bootstrap resamples of persons",
        "calibration slope",
        "pointing game",
        "is not in, or not known",
        "all films are of one class",
        "False positives, the most confident first",
    ):
        assert needed in page


def test_what_comes_from_outside_is_escaped() -> None:
    readings = make_readings(40, klass="<script>alert(1)</script> $x$", group="<b>group</b>")
    page = page_of(readings, held_out="<i>unknown</i>")
    tags = {tag for tag, _ in Page(page).tags}
    assert not tags & {"script", "i"}
    assert "&lt;b&gt;group" in page


def test_without_films_there_are_no_pictures_of_patients(film: Path) -> None:
    assert "image/jpeg" not in page_of(make_readings(60, path=film), films=False)


def test_a_film_that_is_gone_is_left_out() -> None:
    assert "image/jpeg" not in page_of(make_readings(60, path=Path("gone.dcm")))


def test_confident_errors_come_first() -> None:
    readings = [
        make_reading(1, target=0, logit=3.0),
        make_reading(2, target=0, logit=1.0),
        make_reading(3, target=0, logit=-1.0),
        make_reading(4, target=1, logit=-1.0),
        make_reading(5, target=1, logit=-3.0),
        make_reading(6, target=1, logit=2.0),
    ]
    false_positive, false_negative = confident_errors(readings)
    assert [one.case.identifier for one in false_positive] == ["exam-1", "exam-2"]
    assert [one.case.identifier for one in false_negative] == ["exam-5", "exam-4"]
    assert len(confident_errors(readings, 1)[0]) == 1


def test_the_same_figures_give_the_same_picture() -> None:
    groups = groups_of(make_readings(60), {})
    measured = with_curves(groups, PROTOCOL, "all")
    drawn = roc(measured["curves"]["drawn/exact"]["roc"], measured["all"]["drawn/exact"]["all"])
    assert drawn("svg") == drawn("svg")
    assert Image.open(BytesIO(drawn("png"))).width > 300
