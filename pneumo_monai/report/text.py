"""A report as plain text for a terminal: read from its content tree alone, and nothing that names the patient."""

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.attributes import items, text
from pneumo_monai.errors import Broken
from pneumo_monai.report import codes

__all__ = ["as_text"]


def as_text(dataset: Dataset) -> str:
    """Write a report out for people.

    Parameters
    ----------
    dataset : Dataset
        A report of ours, just built or read back.

    Returns
    -------
    str
        Lines of ASCII: what kind of result this is, the impression, study, model and operating point; then for each
        film its view, finding, probability and remarks. Of what identifies anybody, only the UIDs.

    Raises
    ------
    Broken
        The data set is no measurement report.
    """
    groups = [
        group
        for measurements in _children(dataset, codes.IMAGING_MEASUREMENTS)
        for group in _children(measurements, codes.MEASUREMENT_GROUP)
    ]
    if not groups:
        raise Broken("no measurement report (TID 1500) with a measurement group")
    evaluations = next(_children(dataset, codes.QUALITATIVE_EVALUATIONS), Dataset())
    model = f"{_value(groups[0], codes.ALGORITHM_NAME)} {_value(groups[0], codes.ALGORITHM_VERSION)}"
    lines = [
        text(dataset, "SeriesDescription"),
        _value(evaluations, codes.COMMENT),
        "",
        _value(evaluations, codes.IMPRESSION),
        "",
        _line("Study", text(dataset, "StudyInstanceUID")),
        _line("Report", f"{text(dataset, 'SOPInstanceUID')}, revision {text(dataset, 'InstanceNumber')}"),
        *(_line("Replaces", uid) for uid in _predecessors(dataset)),
        _line("Analysed", _moment(dataset)),
        _line("Model", model),
        _line("Operating point", _value(groups[0], codes.ALGORITHM_PARAMETERS)),
    ]
    for group in groups:
        finding = _value(group, codes.FINDING)
        region = next(_children(group, codes.IMAGE_REGION), Dataset())
        lines += [
            "",
            _line("Film", _value(region, codes.SOURCE)),
            _line("  View", _value(group, codes.IMAGE_VIEW)),
            _line(f"  {finding}", _value(group, codes.PNEUMONIA).lower()),
            _line(f"  {codes.PROBABILITY.meaning}", _value(group, codes.PROBABILITY)),
            *(
                _line(f"  {codes.COMMENT.meaning}", text(child, "TextValue"))
                for child in _children(group, codes.COMMENT)
            ),
        ]
    return "\n".join(lines)


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
                return text(_first(child, "MeasuredValueSequence"), "NumericValue")
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
