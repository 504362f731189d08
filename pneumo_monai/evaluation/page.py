"""report.html: one page that needs nothing beside itself."""

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from pneumo_monai import __version__
from pneumo_monai.evaluation import plots
from pneumo_monai.evaluation.cases import NOT_NORMAL
from pneumo_monai.evaluation.contact import Tile, confident_errors, tiles
from pneumo_monai.evaluation.groups import Group
from pneumo_monai.evaluation.logistic import sigmoid
from pneumo_monai.report.wording import RESEARCH_USE

__all__ = ["render_page", "write_page"]

_HEADLINES = (
    ("auroc", "AUROC"),
    ("average_precision", "average precision"),
    ("sensitivity", "sensitivity"),
    ("specificity", "specificity"),
)

_ROWS = (
    ("auroc", "AUROC", "chance that a positive film scores above a negative one"),
    ("average_precision", "average precision", "area under the precision-recall curve; grows with the share positive"),
    ("sensitivity", "sensitivity (recall)", "share of positive films that are called positive"),
    ("specificity", "specificity", "share of negative films that are called negative"),
    ("precision", "precision", "share of the called that are positive, among these films"),
    ("f1", "F1", "harmonic mean of precision and recall"),
    (
        "ppv_at_prevalence",
        "positive predictive value",
        "share of the called that are positive, where that share of films is",
    ),
    ("npv_at_prevalence", "negative predictive value", "share of the not called that are negative, there too"),
    ("prevalence", "share positive", "among these films, as weighed"),
)

_CALIBRATION_ROWS = (
    ("brier", "Brier score", "mean square of probability less truth; 0 is perfect"),
    ("calibration_slope", "calibration slope", "1 is ideal; below 1: probabilities are too extreme"),
    ("calibration_intercept", "calibration intercept", "of the same logistic recalibration; 0 is ideal"),
    ("calibration_in_the_large", "calibration in the large", "slope held at 1; below 0: probabilities are too high"),
)

_PART_COLUMNS = (
    ("auroc", "AUROC"),
    ("sensitivity", "sensitivity"),
    ("specificity", "specificity"),
    ("precision", "precision"),
    ("brier", "Brier score"),
    ("calibration_slope", "calibration slope"),
)


def write_page(file: Path, metrics: Mapping[str, Any], groups: Sequence[Group], *, title: str, films: bool) -> None:
    """Write the page; see `render_page`."""
    file.write_text(render_page(metrics, groups, title=title, films=films), encoding="utf-8")


def render_page(metrics: Mapping[str, Any], groups: Sequence[Group], *, title: str, films: bool) -> str:
    """Return one HTML page: pictures are in it, nothing is fetched, everything is escaped.

    Parameters
    ----------
    metrics : mapping
        What metrics.json holds: `part`, its figures, `curves`, and what `document` adds.
    groups : sequence of Group
        Whose figures these are.
    title : str
        Of the page.
    films : bool
        Whether the most confident errors are shown: they are pictures of patients.
    """
    figures = metrics[metrics["part"]]
    return _template().render(
        title=title,
        version=__version__,
        notice=RESEARCH_USE,
        metrics=metrics,
        sections=[_section(group, figures[group.name], metrics, films=films) for group in groups],
        headlines=_HEADLINES,
        rows=_ROWS,
        calibration_rows=_CALIBRATION_ROWS,
        part_columns=_PART_COLUMNS,
        not_normal=NOT_NORMAL,
        figure=_figure,
    )


def _section(group: Group, parts: Mapping[str, Any], metrics: Mapping[str, Any], *, films: bool) -> dict[str, Any]:
    errors = confident_errors(group.readings) if films else ([], [])
    captions = ("False positives, the most confident first", "False negatives, the most confident first")
    return {
        "name": group.name,
        "parts": parts,
        "pictures": _pictures(group, parts, metrics),
        "sheets": [
            {"caption": caption, "tiles": [_tile(tile) for tile in tiles(found)]}
            for caption, found in zip(captions, errors, strict=True)
            if found
        ],
    }


def _pictures(group: Group, parts: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Draw what the films of a group allow; `alt` says in words what a picture shows."""
    threshold, curves, whole = metrics["operating_point"]["threshold"], metrics["curves"][group.name], parts["all"]
    pictures = []
    if curves:
        pictures += [
            (plots.roc(curves["roc"], whole), "ROC curve"),
            (plots.precision_recall(curves["precision_recall"], whole), "precision-recall curve"),
            (plots.calibration(curves, group, sigmoid(group.logits)), "reliability diagram before and after"),
            (plots.net_benefit(curves["decision_curve"], threshold), "decision curve"),
        ]
    pictures.append((plots.scores(group, threshold), "probabilities by class"))
    shown = [{"source": _data_uri("image/svg+xml", drawn("svg")), "alt": alt, "kind": ""} for drawn, alt in pictures]
    if curves and sum("auroc" in figures for figures in parts.values()) > 1:
        source = _data_uri("image/svg+xml", plots.forest(parts)("svg"))
        shown.append({"source": source, "alt": "AUROC by part", "kind": "wide"})
    return shown


def _tile(tile: Tile) -> dict[str, str]:
    case = tile.reading.case
    known = [case.klass, str(case.view), case.sex, "" if case.age is None else f"{case.age:.0f} years"]
    return {
        "source": _data_uri("image/jpeg", tile.picture),
        "name": case.identifier,
        "probability": f"{tile.reading.probability:.3f}",
        "known": ", ".join(item for item in known if item),
    }


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _figure(figures: Mapping[str, Any], name: str) -> str:
    """Return a figure with its interval as text; empty where these films do not define it."""
    return "{value:.3f} ({low:.3f} to {high:.3f})".format(**figures[name]) if name in figures else ""


@cache
def _template() -> Template:
    source = (files("pneumo_monai.evaluation") / "report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)
