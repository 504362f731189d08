"""docs/performance.md says what was measured, and the ratios are those of its numbers."""

from pathlib import Path

import pytest

from benchmarks.performance import medians, ratios
from benchmarks.performance_page import read_measured, rendered
from benchmarks.stages import forward_passes

DOCS = Path(__file__).parents[2] / "docs"
TOLD = read_measured(DOCS)


def test_the_page_is_rendered_from_what_was_measured():
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert rendered(page, TOLD) == page
    assert rendered(page.replace("throughput, C-STORE to", "what a week brings from"), TOLD) == page


def test_the_plot_stands_beside_the_page():
    assert "</svg>" in (DOCS / "images" / "performance.svg").read_text(encoding="utf-8")


def test_medians_and_ratios_are_those_of_the_rounds():
    assert medians(TOLD["rounds"]) == TOLD["medians"]
    assert ratios(TOLD["medians"], TOLD["limit"]) == TOLD["ratios"]
    measured, peer = TOLD["medians"], TOLD["medians"]["peer"]["seconds"]
    assert TOLD["ratios"]["throughput_over_peer"] == pytest.approx(measured["flood"]["films_a_second"] * peer, rel=0.01)


def test_the_limit_is_measured():
    assert forward_passes(seconds=0.05, repeats=1)["films_a_second"] > 0
