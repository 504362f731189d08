"""Pictures of what was measured, as SVG. The only module that knows matplotlib.

`matplotlib.pyplot` is not used: it keeps figures of its own and asks for a display.
"""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pneumo_monai.evaluation.cases import NORMAL, NOT_NORMAL, NOT_STATED, OPACITY
from pneumo_monai.evaluation.groups import Group

__all__ = ["Drawn", "calibration", "forest", "net_benefit", "precision_recall", "roc", "scores"]

_BLUE, _AMBER, _GREY, _RED = "#1f5a96", "#c8781e", "#8a8f98", "#a83232"
_COLOURS = {NORMAL: "#4a9d6b", NOT_NORMAL: _AMBER, OPACITY: _RED}

_STYLE: Any = {
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#606670",
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    # Names of classes come from outside: a dollar sign in one is no formula.
    "text.parse_math": False,
    # The same figures give the same file.
    "svg.hashsalt": "pneumo-monai",
}

_Figures = Mapping[str, Any]
Drawn = Callable[[str], bytes]
"""A picture: from the name of a format, svg or png, to its file."""


def _drawn(draw: Callable[[Figure], None], width: float, height: float) -> Drawn:
    def render(form: str) -> bytes:
        with rc_context(_STYLE):
            figure = Figure(figsize=(width, height), layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure)
            file = BytesIO()
            figure.savefig(file, format=form, dpi=110, metadata={"Date": None} if form == "svg" else None)
        return file.getvalue()

    return render


def _square(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel=x, ylabel=y, title=title)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))


def _shown(figure: Mapping[str, float]) -> str:
    return "{value:.3f} ({low:.3f} to {high:.3f})".format(**figure)


def _reach(figure: Mapping[str, float]) -> list[list[float]]:
    return [
        [max(figure["value"] - figure["low"], 0.0)],
        [max(figure["high"] - figure["value"], 0.0)],
    ]


def roc(curve: Mapping[str, list[float]], figures: _Figures) -> Drawn:
    """Draw the ROC curve and where the operating point lies on it."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="chance")
        axes.plot(
            curve["false_positive_rate"],
            curve["true_positive_rate"],
            color=_BLUE,
            linewidth=2,
            label=f"AUROC {_shown(figures['auroc'])}",
        )
        sensitivity, specificity = figures["sensitivity"], figures["specificity"]
        alarmed = {
            "value": 1 - specificity["value"],
            "low": 1 - specificity["high"],
            "high": 1 - specificity["low"],
        }
        axes.errorbar(
            alarmed["value"],
            sensitivity["value"],
            xerr=_reach(alarmed),
            yerr=_reach(sensitivity),
            fmt="o",
            color=_AMBER,
            markersize=6,
            capsize=3,
            label="operating point",
        )
        _square(axes, "ROC", "1 - specificity", "sensitivity")
        axes.legend(loc="lower right")

    return _drawn(draw, 4.3, 4.3)


def precision_recall(curve: Mapping[str, list[float]], figures: _Figures) -> Drawn:
    """Draw the precision-recall curve and where the operating point lies on it."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        share = figures["prevalence"]["value"]
        axes.axhline(share, color=_GREY, linewidth=1, linestyle="--", label=f"chance: {share:.3f} of films positive")
        label = f"average precision {_shown(figures['average_precision'])}"
        axes.step(curve["recall"], curve["precision"], where="pre", color=_BLUE, linewidth=2, label=label)
        if "precision" in figures:
            axes.errorbar(
                figures["recall"]["value"],
                figures["precision"]["value"],
                xerr=_reach(figures["recall"]),
                yerr=_reach(figures["precision"]),
                fmt="o",
                color=_AMBER,
                markersize=6,
                capsize=3,
                label="operating point",
            )
        _square(axes, "Precision and recall", "recall (sensitivity)", "precision")
        # Below the curve where there is room, whatever the prevalence.
        axes.legend(loc="lower left" if share > 0.3 else "upper right")

    return _drawn(draw, 4.3, 4.3)


def calibration(curves: Mapping[str, Any], group: Group, before: Any) -> Drawn:
    """Draw predicted against observed, before and after calibration, and how the probabilities are spread.

    Parameters
    ----------
    curves : mapping
        From `curves.curves`.
    group : Group
        Whose probabilities the histogram is of.
    before : numpy.ndarray
        (N,) probabilities before calibration.
    """

    def draw(figure: Figure) -> None:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="ideal")
        for name, colour, label in (
            ("reliability_before_calibration", _GREY, "before calibration"),
            ("reliability", _BLUE, "after calibration"),
        ):
            bins = curves[name]
            value = np.array(bins["observed"])
            reach = [np.maximum(value - bins["low"], 0.0), np.maximum(np.array(bins["high"]) - value, 0.0)]
            axes.errorbar(
                bins["predicted"],
                value,
                yerr=reach,
                fmt="o-",
                color=colour,
                markersize=4,
                linewidth=1.4,
                elinewidth=0.9,
                capsize=2,
                label=label,
            )
        axes.set(ylim=(-0.02, 1.02), xlim=(-0.01, 1.01), ylabel="observed share positive", title="Reliability")
        axes.legend(loc="upper left")
        edges = np.linspace(0.0, 1.0, 31)
        below.hist(before, bins=edges.tolist(), histtype="step", color=_GREY, linewidth=1.2)
        below.hist(group.probabilities, bins=edges.tolist(), color=_BLUE, alpha=0.55)
        below.set(xlabel="predicted probability", ylabel="films")

    return _drawn(draw, 4.3, 4.9)


def net_benefit(curve: Mapping[str, list[float]], threshold: float) -> Drawn:
    """Draw the decision curve and the operating point's threshold."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        x = curve["threshold"]
        axes.fill_between(x, curve["low"], curve["high"], color=_BLUE, alpha=0.15, linewidth=0)
        axes.plot(x, curve["model"], color=_BLUE, linewidth=2, label="act on the model")
        axes.plot(x, curve["treat_all"], color=_AMBER, linewidth=1.4, label="act on everyone")
        axes.axhline(0.0, color=_GREY, linewidth=1.4, label="act on no one")
        axes.axvline(threshold, color="#404650", linewidth=1, linestyle=":", label=f"operating point {threshold:.3f}")
        top = max(*curve["high"], curve["treat_all"][0], 0.02)
        axes.set(
            xlim=(0, 1),
            ylim=(-0.35 * top, 1.1 * top),
            xlabel="threshold probability",
            ylabel="net benefit",
            title="Decision curve",
        )
        axes.legend(loc="upper right")

    return _drawn(draw, 4.3, 4.3)


def scores(group: Group, threshold: float) -> Drawn:
    """Draw how the calibrated probabilities of each detailed class are spread."""
    names = [klass or NOT_STATED for klass in group.classes]
    if len(set(names)) == 1:
        names = ["positive" if label else "negative" for label in group.labels]
    order = [name for name in (NORMAL, NOT_NORMAL, OPACITY) if name in names]
    order += sorted(set(names).difference(order))
    colours = {**dict(zip(order, [_BLUE, _RED, _AMBER, _GREY] * len(order), strict=False)), **_COLOURS}

    def draw(figure: Figure) -> None:
        panels = np.atleast_1d(figure.subplots(len(order), 1, sharex=True))
        edges = np.linspace(0.0, 1.0, 31)
        for axes, name in zip(panels, order, strict=True):
            chosen = group.probabilities[[other == name for other in names]]
            axes.hist(chosen, bins=edges.tolist(), color=colours[name], alpha=0.75)
            axes.axvline(threshold, color="#404650", linewidth=1, linestyle=":")
            above = int((chosen >= threshold).sum())
            axes.set_title(
                f"{name}: {above} of {len(chosen)} called positive", fontsize=9, fontweight="normal", color="#303640"
            )
            axes.set(xlim=(-0.01, 1.01), ylabel="films")
        panels[-1].set_xlabel("calibrated probability")

    return _drawn(draw, 4.3, 1.0 + 1.35 * len(order))


def forest(parts: Mapping[str, _Figures]) -> Drawn:
    """Draw the AUROC of the group and of each of its parts that has both classes."""
    rows = [(name, figures) for name, figures in parts.items() if "auroc" in figures]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        whole = rows[0][1]["auroc"]
        axes.axvspan(whole["low"], whole["high"], color=_BLUE, alpha=0.08, linewidth=0)
        axes.axvline(whole["value"], color=_BLUE, linewidth=1, linestyle=":")
        for place, (name, figures) in enumerate(rows):
            found = figures["auroc"]
            axes.errorbar(
                found["value"],
                place,
                xerr=_reach(found),
                fmt="s" if name == "all" else "o",
                color=_BLUE if name == "all" else "#404650",
                markersize=5,
                capsize=3,
            )
            text = f"{_shown(found)}   {figures['positive']}/{figures['exams']}"
            axes.annotate(
                text, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5, color="#303640"
            )
        lowest = min(figures["auroc"]["low"] for _, figures in rows)
        axes.axvline(0.5, color=_GREY, linewidth=1, linestyle="--")
        axes.set(xlim=(min(lowest - 0.03, 0.48), 1.02), ylim=(len(rows) - 0.5, -0.5), xlabel="AUROC")
        axes.set_title("AUROC by part, with 95 % interval and positive / all exams")
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.grid(visible=False, axis="y")

    return _drawn(draw, 8.8, 1.2 + 0.27 * len(rows))
