"""A tree that is filled in says the same, byte for byte, as one that is built."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from pneumo_monai.findings import View
from pneumo_monai.forms import Form
from pneumo_monai.report import known_tree, structured_report
from pneumo_monai.report.content import measurement_report
from pneumo_monai.report.encode import encode
from pneumo_monai.report.known_tree import KnownTrees
from pneumo_monai.report.pattern import CONTENT_SEQUENCE, Pattern
from pneumo_monai.report.result import Result
from pneumo_monai.report.structured_report import build_structured_report, films_to_refer_to, make_document
from tests.films import CR, DX, SC, make_film, make_item
from tests.reports import OPERATING_POINT, find_on, read_back, result_on

TREES = KnownTrees()
"""Of all examples: most say the same of a film as one before."""

REMARKS = st.lists(st.sampled_from(["The age is not stated.", "Unlike chest films."]), max_size=2, unique=True)
ACTIVATIONS = arrays.arrays(np.float32, (7, 7), elements=st.floats(-4, 4, width=32))
PROCEDURES = st.sampled_from([None, ("71045", "Chest"), ("71045", "Chest, one view"), ("71046", "Röntgen, Thorax")])


def result_with(
    film: Dataset, probability: float, view: View = View.PA, remarks: Sequence[str] = (), activation: Any = None
) -> Result:
    findings = find_on([film], [probability], view=view, remarks=[tuple(remarks)])
    if activation is not None:
        findings = replace(findings, films=(replace(findings.films[0], activation=activation),))
    return result_on([film], findings)


def is_built(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """Note which trees are built from now on."""
    seen: list[Result] = []

    def build(result: Result, films: Any) -> Any:
        seen.append(result)
        return measurement_report(result, films)

    monkeypatch.setattr(known_tree, "measurement_report", build)
    return seen


@settings(max_examples=150, deadline=None)
@given(
    probability=st.floats(0, 1) | st.just(OPERATING_POINT.threshold),
    view=st.sampled_from(View),
    sop_class=st.sampled_from([CR, DX, SC]),
    remarks=REMARKS,
    activation=ACTIVATIONS,
    procedure=PROCEDURES,
    character_set=st.sampled_from(["ISO_IR 100", "ISO_IR 192"]),
)
def test_every_result_gives_the_bytes_of_the_tree_that_is_built(
    probability: float,
    view: View,
    sop_class: str,
    remarks: list[str],
    activation: Any,
    procedure: tuple[str, str] | None,
    character_set: str,
) -> None:
    requested = None
    if procedure is not None:
        value, meaning = procedure
        requested = [make_item(CodeValue=value, CodingSchemeDesignator="C4", CodeMeaning=meaning)]
    film = make_film(sop_class=sop_class, ProcedureCodeSequence=requested, SpecificCharacterSet=character_set)
    result = result_with(film, probability, view, remarks, activation)
    films = films_to_refer_to(result)
    filled, built = (
        make_document(Comprehensive3DSR, tree, result, Form.SR_COMPREHENSIVE_3D, films)
        for tree in (TREES.tree(result, films), measurement_report(result, films)[0])
    )
    assert encode(filled) == encode(built)


def test_what_was_said_of_a_film_before_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    trees, seen = KnownTrees(), is_built(monkeypatch)
    for probability in (0.7, 0.8, 0.9):
        result = result_with(make_film(), probability)
        trees.tree(result, films_to_refer_to(result))
    assert len(seen) == 1
    result = result_with(make_film(), 0.1)
    trees.tree(result, films_to_refer_to(result))
    assert len(seen) == 2


def test_where_two_numbers_are_alike_it_is_not_known_which_goes_where(monkeypatch: pytest.MonkeyPatch) -> None:
    trees, seen = KnownTrees(), is_built(monkeypatch)
    for _ in range(2):
        result = result_with(make_film(), OPERATING_POINT.threshold)
        trees.tree(result, films_to_refer_to(result))
    assert len(seen) == 2


def test_several_films_are_built_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    trees, seen = KnownTrees(), is_built(monkeypatch)
    first = make_film()
    films = [first, make_film(StudyInstanceUID=first.StudyInstanceUID)]
    for _ in range(2):
        result = result_on(films, find_on(films, [0.8, 0.1]))
        trees.tree(result, films_to_refer_to(result))
    assert len(seen) == 2


def test_patterns_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_tree, "_KEPT", 2)
    trees, seen = KnownTrees(), is_built(monkeypatch)
    for remark in ("One.", "Two.", "Three.", "One."):
        result = result_with(make_film(), 0.8, remarks=[remark])
        trees.tree(result, films_to_refer_to(result))
    assert len(seen) == 4
    assert len(trees._patterns) == 2


def test_a_report_that_is_filled_in_can_be_read_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structured_report, "_trees", KnownTrees())
    first, second = (build_structured_report(result_with(make_film(), p))[0] for p in (0.8, 0.9))
    assert second.get_item(CONTENT_SEQUENCE).is_raw
    assert second.CodingSchemeIdentificationSequence == first.CodingSchemeIdentificationSequence
    back = read_back(second)
    assert back.ContentSequence == second.ContentSequence
    assert [item.ValueType for item in back.ContentSequence] == [item.ValueType for item in first.ContentSequence]


def test_a_pattern_needs_every_element_that_differs() -> None:
    result = result_with(make_film(), 0.8)
    tree = measurement_report(result, films_to_refer_to(result))[0]
    assert Pattern.of(tree, [DataElement("TextValue", "UT", "said nowhere")]) is None
