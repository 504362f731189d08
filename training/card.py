"""``python -m training.card``: the model card of a bundle, made from its metadata.json and from nothing else.

The chapters are those of Mitchell et al., Model Cards for Model Reporting (FAT* 2019). A section of the contract that a
bundle lacks has no chapter.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from pneumo_monai.bundle import PACKAGED
from pneumo_monai.errors import ConfigurationError
from training.entry import start

__all__ = ["CARD", "card"]

CARD = Path(__file__).parents[1] / "docs" / "model-card.md"
"""The card of the bundle in the package."""

FIGURES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "ppv_at_prevalence": "PPV at that prevalence",
    "npv_at_prevalence": "NPV at that prevalence",
    "brier": "Brier score",
}
"""Titles of figures; another one is called by its key."""

TABLES = (
    ("auroc", "average_precision", "sensitivity", "specificity"),
    ("precision", "f1", "ppv_at_prevalence", "npv_at_prevalence"),
    ("brier", "calibration_slope", "calibration_intercept", "calibration_in_the_large"),
)
"""Figures side by side. A section of figures makes a table of its own, and so do all that nothing else names."""

TOLD_ELSEWHERE = {"test", "validation", "calibration", "operating_point"}
"""Keys of the evaluation that stand in other chapters, or are of films that were chosen on."""

CONFUSION = ("true_positive", "false_positive", "false_negative", "true_negative")

ETHICS = (
    "A finding is a number computed from one film. No person has read it, and it must not decide about a patient. A "
    "missed pneumonia delays treatment, a false alarm leads to needless antibiotics and to trust that is lost; both "
    "rates are above, and they differ between views and between groups of persons. Ethnicity, residence and the maker "
    "of the X-ray unit are not in the data, so nobody knows whether the model treats all alike. AP films are mostly of "
    "sicker patients, and a network can learn the bed instead of the lung: read the figures for AP and PA apart."
)

_log = logging.getLogger(__name__)


def write(
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle.")] = PACKAGED,
) -> None:
    """Write docs/README.md of a bundle, and docs/model-card.md from the one in the package."""
    file = bundle / "configs" / "metadata.json"
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"--bundle {bundle} is no MONAI Bundle: {file} is missing") from None
    for page in (bundle / "docs" / "README.md", *([CARD] if bundle.resolve() == PACKAGED.resolve() else [])):
        page.write_text(card(described), encoding="utf-8")
        _log.info("the card of %s %s stands in %s", described["name"], described["version"], page)


def card(described: dict[str, Any]) -> str:
    """Return the model card, Markdown.

    Parameters
    ----------
    described : dict
        What metadata.json holds.
    """
    contract = described["pneumo_monai"]
    chapters = {
        "Model": _model(described),
        "Intended use": _intended_use(described),
        "Limits": _bullets(described.get("limitations", [])),
        "Training": _training(contract["training"]),
        "Data": _data(described, contract["training"]),
        "Lungs": _network(contract.get("lungs")),
        "Gate": _network(contract.get("gate")),
        "Calibration and operating point": _decision(contract),
        "Evaluation": _evaluation(contract["evaluation"]),
        "Ethical considerations": [ETHICS],
        "How to cite the data": _bullets(described.get("data_citations", [])),
        "References": _bullets(described.get("references", [])),
    }
    blocks = [
        f"# Model card: {described['name']} {described['version']}",
        f"> **{_notice(described)}**",
        "This page is made by `python -m training.card` from the bundle's `metadata.json`, where every figure stands.",
        *(block for title, blocks in chapters.items() if blocks for block in (f"## {title}", *blocks)),
    ]
    return "\n\n".join(blocks) + "\n"


def _notice(described: dict[str, Any]) -> str:
    return str(described["intended_use"]).split(". ", maxsplit=1)[0] + "."


def _model(described: dict[str, Any]) -> list[str]:
    contract, versions = described["pneumo_monai"], described["changelog"]
    constants = contract["preprocessing"]
    rows = [
        ("Task", described["task"]),
        ("Network", described["description"]),
        (
            "Input",
            f"{constants['size']} x {constants['size']} pixels, {described['image_classes']} "
            f"({constants['mean']:.4f}, {constants['std']:.4f})",
        ),
        ("Output", described["pred_classes"]),
        ("Classes", described["label_classes"]),
        ("Weights", f"float16, SHA-256 `{contract['weights_sha256']}`"),
        ("Made with", f"MONAI {described['monai_version']}, PyTorch {described['pytorch_version']}"),
        ("Authors", described["authors"]),
        ("Licence", described["copyright"]),
        *((f"Version {version}", text) for version, text in versions.items()),
    ]
    return [_table(["", ""], rows)]


def _intended_use(described: dict[str, Any]) -> list[str]:
    return [
        described["intended_use"],
        "For: research groups, and hospitals that want to measure such a model on films of their own. Not for: any "
        "decision about a patient.",
    ]


def _training(training: dict[str, Any]) -> list[str]:
    runs = training.get("runs", [])
    rows = [
        (
            str(place),
            run["initial_weights"] if place == 1 else f"those of stage {place - 1}",
            f"{run['recipe']['size']}",
            f"{run['recipe']['epochs']}",
            f"{run['recipe']['batch_size']}",
            f"{run['recipe']['learning_rate']:g}",
            ", ".join(f"{group} {count:,}" for group, count in run["draws_per_epoch"].items()),
            _objective(run["recipe"].get("objective", {})),
        )
        for place, run in enumerate(runs, start=1)
    ]
    title = ["stage", "initial weights", "size", "epochs at most", "batch", "learning rate", "films an epoch", "loss"]
    return [
        *([training["notes"]] if training.get("notes") else []),
        *(f"{key.capitalize()}: {training[key]}." for key in ("normalisation", "augmentation") if training.get(key)),
        *([_table(title, rows)] if rows else []),
    ]


def _objective(objective: dict[str, Any]) -> str:
    gamma = objective.get("focal_gamma")
    parts = [f"focal loss, gamma {gamma:g}" if gamma else "cross-entropy"]
    named = {
        "label_smoothing": "label smoothing",
        "class_weight": "detailed class, weight",
        "box_weight": "boxes, weight",
    }
    return ", ".join([*parts, *(f"{text} {objective[key]:g}" for key, text in named.items() if objective.get(key))])


def _data(described: dict[str, Any], training: dict[str, Any]) -> list[str]:
    runs = training.get("runs", [])
    if not runs:
        return [f"{described['data_source']}."]
    rows = [
        (group, part, f"{counts['exams']:,}", f"{counts['persons']:,}", f"{counts['positive']:,}")
        for part, groups in runs[-1]["parts"].items()
        for group, counts in groups.items()
    ]
    skipped = runs[-1].get("films_skipped", 0)
    return [
        f"{described['data_source']}. A group is a data folder and the quality of its labels. The counts are those of "
        f"the last stage. Films that could not be read and were left out: {skipped}.",
        _table(["group", "part", "exams", "persons", "positive exams"], sorted(rows, key=lambda row: row[0])),
    ]


def _network(section: dict[str, Any] | None) -> list[str]:
    """Describe another network of the bundle: every number and text of its section."""
    if not section:
        return []
    return [_table(["", ""], [(path, f"`{text}`" if "sha256" in path else text) for path, text in _leaves(section)])]


def _decision(contract: dict[str, Any]) -> list[str]:
    point, calibration = contract["operating_point"], contract["calibration"]
    rule = contract["evaluation"].get("operating_point", {}).get("chosen") or f"{point['name']} on the validation films"
    return [
        f"Platt scaling, probability = sigmoid({calibration['slope']:.4f} * logit {calibration['intercept']:+.4f}), "
        f"fitted on {calibration['fitted_on']}.",
        f"A film is called positive at a probability of {point['threshold']:.4f} or more. The rule: {rule}. There it "
        f"has sensitivity {point['sensitivity']:.3f} and specificity {point['specificity']:.3f}.",
    ]


def _evaluation(evaluation: dict[str, Any]) -> list[str]:
    told = {key: value for key, value in evaluation.items() if key not in TOLD_ELSEWHERE}
    blocks = [_bullets(f"{_title(path)}: {text}." for path, text in _leaves(told))]
    for group, subsets in evaluation.get("test", {}).items():
        shown = {name: values for name, values in subsets.items() if "exams" in values}
        blocks.append([f"### Test part, {group}", *_figures(shown)])
    return [block for listed in blocks for block in listed]


def _figures(subsets: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the tables of one group: a row for each subset, a column for each figure that any of them has."""
    whole = next(iter(subsets.values()), {})
    yield _figure_table(subsets, TABLES[0], counts=("persons", "exams (positive)"))
    for keys in TABLES[1:]:
        yield from _optional_table(subsets, keys)
    for section, values in whole.items():
        if isinstance(values, dict) and not _is_figure(values) and any(map(_is_figure, values.values())):
            inside = {name: subset.get(section, {}) for name, subset in subsets.items()}
            yield f"{_title(section).capitalize()}:"
            yield from _optional_table(inside, _keys(inside))
    # Recall is sensitivity by another name.
    known = {"recall", *(key for keys in TABLES for key in keys)}
    yield from _optional_table(subsets, [key for key in _keys(subsets) if key not in known])
    confusion = [
        (name, *(str(values["confusion_matrix"][key]) for key in CONFUSION))
        for name, values in subsets.items()
        if "confusion_matrix" in values
    ]
    if confusion:
        yield _table(["films", *map(_title, CONFUSION)], confusion)


def _keys(subsets: dict[str, dict[str, Any]]) -> list[str]:
    """Return the keys of the figures that any subset has, in their order."""
    return list({key: None for values in subsets.values() for key, value in values.items() if _is_figure(value)})


def _optional_table(subsets: dict[str, dict[str, Any]], keys: Iterable[str]) -> Iterator[str]:
    if set(keys).intersection(_keys(subsets)):
        yield _figure_table(subsets, keys)


def _figure_table(subsets: dict[str, dict[str, Any]], keys: Iterable[str], *, counts: tuple[str, ...] = ()) -> str:
    found = _keys(subsets)
    columns = [key for key in keys if key in found]
    rows = [
        (name, *(_counts(values) if counts else []), *(_figure(values.get(key)) for key in columns))
        for name, values in subsets.items()
        if counts or any(key in values for key in columns)
    ]
    return _table(["films", *counts, *map(_title, columns)], rows)


def _counts(values: dict[str, Any]) -> list[str]:
    return [f"{values.get('persons', '')}", f"{values['exams']} ({values['positive']})"]


def _is_figure(value: Any) -> bool:
    return isinstance(value, dict) and {"value", "low", "high"} <= value.keys()


def _figure(value: Any) -> str:
    return "{value:.3f} ({low:.3f} to {high:.3f})".format(**value) if _is_figure(value) else ""


def _leaves(section: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text, number and figure below a section with the way to it; no lists of numbers, which are curves."""
    for key, value in section.items():
        here = f"{path}, {key}" if path else key
        if _is_figure(value):
            exams = f", {value['exams']} exams" if "exams" in value else ""
            yield here, _figure(value) + exams
        elif isinstance(value, dict):
            yield from _leaves(value, here)
        elif isinstance(value, float):
            yield here, f"{value:.4g}"
        elif isinstance(value, str | int):
            yield here, str(value)
        elif isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
            yield here, ", ".join(value)


def _title(key: str) -> str:
    return FIGURES.get(key, key.replace("_", " "))


def _bullets(texts: Iterable[str]) -> list[str]:
    lines = [f"- {text}" for text in texts]
    return ["\n".join(lines)] if lines else []


def _table(titles: list[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    start(write)
