"""The content tree of findings on one film, from a `Pattern` where the same was said of another film before."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from threading import Lock

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import DS

from pneumo_monai.findings import FilmFinding, StudyFindings
from pneumo_monai.region import finding_region
from pneumo_monai.report.content import imaging_procedure, measurement_report
from pneumo_monai.report.groups import tracked
from pneumo_monai.report.impression import impression
from pneumo_monai.report.pattern import Pattern
from pneumo_monai.report.result import Result
from pneumo_monai.report.wording import shown_percentage, shown_threshold

__all__ = ["KnownTrees"]

_KEPT = 256
"""Patterns that are kept, some kilobytes each: views, modalities, procedures and remarks make a few dozen."""


class KnownTrees:
    """Patterns of the trees that were built, the latest ones. Several threads may ask for trees."""

    def __init__(self) -> None:
        self._patterns: OrderedDict[Hashable, Pattern] = OrderedDict()
        self._lock = Lock()

    def tree(self, result: Result, films: Mapping[str, Dataset]) -> Dataset:
        """Return what `pneumo_monai.report.content.measurement_report` builds, the same when it is encoded.

        Parameters
        ----------
        result : Result
            What the tree is of.
        films : Mapping
            See `measurement_report`.
        """
        procedure = imaging_procedure(result)
        # What the film's own character set is needed for cannot be encoded before it is known.
        in_ascii = procedure.meaning.isascii() and procedure.meaning.isprintable()
        if not isinstance(result.outcome, StudyFindings) or len(result.outcome.films) != 1 or not in_ascii:
            return measurement_report(result, films)[0]
        (finding,) = result.outcome.films
        film = films[finding.sop_instance_uid]
        key, differing = _what_stays(result, procedure, finding, film), _what_differs(result, finding, film)
        with self._lock:
            pattern = self._patterns.get(key)
            if pattern is not None:
                self._patterns.move_to_end(key)
        if pattern is not None:
            return pattern.filled(differing)
        tree: Dataset = measurement_report(result, films)[0]
        if (pattern := Pattern.of(tree, differing)) is not None:
            with self._lock:
                self._patterns[key] = pattern
                while len(self._patterns) > _KEPT:
                    self._patterns.popitem(last=False)
        return tree


def _what_stays(result: Result, procedure: Code, finding: FilmFinding, film: Dataset) -> Hashable:
    """Return all that a tree of one film depends on, but for `_what_differs`."""
    model = result.outcome.model
    return (
        result.device_uid,
        model.name,
        model.version,
        str(result.outcome.operating_point),
        # As a tuple: two codes are equal whatever they mean.
        tuple(procedure),
        film.Modality,
        finding.present,
        finding.view,
        finding.remarks,
    )


def _what_differs(result: Result, finding: FilmFinding, film: Dataset) -> list[DataElement]:
    """Return the elements of a tree that name the film, or say what was measured on it."""
    assert isinstance(result.outcome, StudyFindings)  # noqa: S101 - `tree` has looked
    threshold = result.outcome.operating_point.threshold
    probability = shown_percentage(finding.probability, threshold=threshold, present=finding.present)
    tracking = tracked(result, finding.sop_instance_uid)
    measured = (probability, shown_threshold(threshold, probability, present=finding.present))
    return [
        DataElement("ReferencedSOPClassUID", "UI", film.SOPClassUID),
        DataElement("ReferencedSOPInstanceUID", "UI", film.SOPInstanceUID),
        DataElement("TextValue", "UT", tracking.identifier),
        DataElement("UID", "UI", tracking.uid),
        *(DataElement("NumericValue", "DS", DS(value, auto_format=True)) for value in measured),
        *(DataElement("FloatingPointValue", "FD", value) for value in measured),
        DataElement("GraphicData", "FL", finding_region(finding).flatten().tolist()),
        DataElement("TextValue", "UT", impression(result.outcome)),
    ]
