"""A report as plain text for a terminal: read from its content tree alone, and nothing that names the patient."""

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.attributes import items, text
from pneumo_monai.errors import Broken
from pneumo_monai.report import codes
from pneumo_monai.report.wording import in_percent

__all__ = ["as_text", "film_texts", "method_text"]


def as_text(dataset: Dataset) -> str:
    """Write a report out for people.

    Parameters
    ----------
    dataset : Dataset
        A report of ours, just built or read back: a measurement report or a report in text.

    Returns
    -------
    str
        Lines of ASCII: what kind of result this is, the impression, study, model and operating point; then for each
        film its view, finding, probability and remarks, or why there are none. Of what identifies anybody, only the
        UIDs.

    Raises
    ------
    Broken
        The data set is no report of ours.
    """
    if films := film_texts(dataset):
        impression, method = _under(dataset, codes.QUALITATIVE_EVALUATIONS, codes.IMPRESSION), [method_text(dataset)]
    else:
        impression = _under(dataset, codes.IMPRESSIONS, codes.IMPRESSION)
        method = _under(dataset, codes.CURRENT_PROCEDURE_DESCRIPTIONS, codes.PROCEDURE_DESCRIPTION)
        films = _under(dataset, codes.FINDINGS, codes.FINDING)
    if not (impression and films):
        raise Broken("no measurement report (TID 1500) with a measurement group, and no report in text (TID 2000)")
    lines = [
        text(dataset, "SeriesDescription"),
        "",
        *impression,
        "",
        _line("Study", text(dataset, "StudyInstanceUID")),
        _line("Report", f"{text(dataset, 'SOPInstanceUID')}, revision {text(dataset, 'InstanceNumber')}"),
        *(_line("Replaces", uid) for uid in _predecessors(dataset)),
        _line("Analysed", _moment(dataset)),
    ]
    for part in method:
        lines += part.splitlines()
    for part in films:
        lines += ["", *part.splitlines()]
    return "\n".join(lines)


def method_text(report: Dataset) -> str:
    """Return who read the films of a measurement report and how, in lines of ASCII; it needs the tree alone."""
    group = next(_groups(report))
    return "\n".join(
        [
            _line("Model", f"{_value(group, codes.ALGORITHM_NAME)} {_value(group, codes.ALGORITHM_VERSION)}"),
            _line("Operating point", _value(group, codes.ALGORITHM_PARAMETERS)),
        ]
    )


def film_texts(report: Dataset) -> list[str]:
    """Return what a measurement report says of each film, in lines of ASCII; it needs the tree alone."""
    return ["\n".join(_film(group)) for group in _groups(report)]


def _film(group: Dataset) -> Iterator[str]:
    yield _line("Film", _value(group, codes.TRACKING_IDENTIFIER).removeprefix(codes.TRACKED))
    for name, code in (
        ("View", codes.IMAGE_VIEW),
        (codes.PNEUMONIA.meaning, codes.PNEUMONIA),
        (codes.PROBABILITY.meaning, codes.PROBABILITY),
        ("Analysis", codes.SUMMARY_OF_ANALYSES),
    ):
        if value := _value(group, code):
            yield _line(f"  {name}", value if code is codes.IMAGE_VIEW else value.lower())
    for code in (codes.NOT_ANALYSED_BECAUSE, codes.WITHDRAWN_BECAUSE):
        if why := _value(group, code):
            yield _line("  Why", f"{code.meaning} {why}")
    for comment in _children(group, codes.COMMENT):
        yield _line(f"  {codes.COMMENT.meaning}", text(comment, "TextValue"))


def _groups(report: Dataset) -> Iterator[Dataset]:
    for measurements in _children(report, codes.IMAGING_MEASUREMENTS):
        yield from _children(measurements, codes.MEASUREMENT_GROUP)


def _under(report: Dataset, section: Code, name: Code) -> list[str]:
    return [text(child, "TextValue") for part in _children(report, section) for child in _children(part, name)]


def _children(item: Dataset, name: Code) -> Iterator[Dataset]:
    for child in items(item, "ContentSequence"):
        named = items(child, "ConceptNameCodeSequence")
        if named and (text(named[0], "CodeValue"), text(named[0], "CodingSchemeDesignator")) == (
            name.value,
            name.scheme_designator,
        ):
            yield child


def _value(item: Dataset, name: Code) -> str:
    """Return the first child of that name as text; empty when there is none."""
    for child in _children(item, name):
        match text(child, "ValueType"):
            case "TEXT":
                return text(child, "TextValue")
            case "CODE":
                return text(_first(child, "ConceptCodeSequence"), "CodeMeaning")
            case "NUM":
                return in_percent(float(text(_first(child, "MeasuredValueSequence"), "NumericValue")))
            case "IMAGE":
                return text(_first(child, "ReferencedSOPSequence"), "ReferencedSOPInstanceUID")
    return ""


def _first(item: Dataset, keyword: str) -> Dataset:
    return next(iter(items(item, keyword)), Dataset())


def _predecessors(dataset: Dataset) -> Iterator[str]:
    for study in items(dataset, "PredecessorDocumentsSequence"):
        for series in items(study, "ReferencedSeriesSequence"):
            for reference in items(series, "ReferencedSOPSequence"):
                yield text(reference, "ReferencedSOPInstanceUID")


def _moment(dataset: Dataset) -> str:
    day, time, zone = (text(dataset, keyword) for keyword in ("ContentDate", "ContentTime", "TimezoneOffsetFromUTC"))
    return f"{day[:4]}-{day[4:6]}-{day[6:8]} {time[:2]}:{time[2:4]}:{time[4:6]} {zone}"


def _line(name: str, value: str) -> str:
    return f"{name:<16} {value}"
