"""A result in words, for forms that people only look at: a headline, and what stands under it."""

from dataclasses import dataclass

from pneumo_monai.findings import (
    FilmFinding,
    FilmRefusal,
    OperatingPoint,
    StudyFindings,
    StudyRefusal,
    StudyRetraction,
    View,
)
from pneumo_monai.report import codes
from pneumo_monai.report.result import Result
from pneumo_monai.report.wording import in_ascii, name_in_ascii, shown_probability

__all__ = ["BANNER", "FilmLines", "describe_film", "describe_limits", "describe_origin", "describe_study"]

BANNER = "RESEARCH USE ONLY. Not a medical device."
"""Burned into every picture: the capitals are read first."""

_WITHDRAWN = "The former result no longer holds; do not use it."

_FEWEST_DECIMALS, _MOST_DECIMALS = 4, 14


@dataclass(frozen=True, kw_only=True)
class FilmLines:
    """What is said of one film, in ASCII.

    Attributes
    ----------
    headline : str
        The assessment, or that there is none.
    details : tuple of str
        A sentence each: view and remarks, or the reason.
    """

    headline: str
    details: tuple[str, ...]


def describe_film(result: Result, uid: str) -> FilmLines:
    """Say what a result says of one of its films.

    Raises
    ------
    ValueError
        The assessment contradicts the operating point.
    """
    match result.outcome:
        case StudyFindings() as findings:
            finding = next(film for film in findings.films if film.sop_instance_uid == uid)
            return FilmLines(
                headline=_assessed(finding, findings.operating_point),
                details=(
                    _view(finding.view),
                    *([_study_assessment(findings)] if len(findings.films) > 1 else []),
                    *map(in_ascii, finding.remarks),
                ),
            )
        case StudyRefusal(films=refusals):
            return _refused(next(film for film in refusals if film.sop_instance_uid == uid))
        case StudyRetraction(why=why):
            return FilmLines(headline="RESULT WITHDRAWN", details=(_WITHDRAWN, in_ascii(why)))


def describe_study(result: Result) -> FilmLines:
    """Say what a result says of its study, in plain language."""
    match result.outcome:
        case StudyFindings() as findings:
            return FilmLines(
                headline=_assessed(findings.highest, findings.operating_point),
                details=(_study_assessment(findings), *map(in_ascii, findings.remarks)),
            )
        case StudyRefusal(films=refusals):
            reasons = dict.fromkeys(line for film in refusals for line in _refused(film).details)
            return FilmLines(
                headline="NOT ANALYSED",
                details=("No film of this study was read; nothing is said about pneumonia.", *reasons),
            )
        case StudyRetraction(why=why):
            return FilmLines(
                headline="RESULT WITHDRAWN",
                details=(_WITHDRAWN, in_ascii(why)),
            )


def describe_origin(result: Result) -> tuple[str, ...]:
    """Say by which model, when and, where something was found, at which operating point: a sentence each."""
    outcome, moment = result.outcome, result.moment
    model = f"Model {name_in_ascii(outcome.model.name)} {name_in_ascii(outcome.model.version)}"
    origin = f"{model}; {moment:%Y-%m-%d %H:%M:%S %z}; revision {result.revision}."
    if not isinstance(outcome, StudyFindings):
        return (origin,)
    return f"Operating point {in_ascii(str(outcome.operating_point))}.", origin


def describe_limits(operating_point: OperatingPoint) -> tuple[str, ...]:
    """Say what must not be read into a result: a sentence each."""
    missed, false_alarms = (
        round(100 * (1 - share)) for share in (operating_point.sensitivity, operating_point.specificity)
    )
    return (
        "Made for frontal chest radiographs of adults; of anything else nothing is known.",
        f"Of 100 films with pneumonia about {missed} were called absent, and of 100 without it about {false_alarms} "
        "were called present, on the part of the data that the operating point was chosen on.",
        "Absent does not exclude pneumonia, and present does not prove it. No person has verified this result.",
    )


def _assessed(finding: FilmFinding, operating_point: OperatingPoint) -> str:
    probability = shown_probability(finding.probability, threshold=operating_point.threshold, present=finding.present)
    # As many decimals as rounding left, four at the least: never so few that the number contradicts the word.
    whole, _, decimals = f"{probability:.{_MOST_DECIMALS}f}".rstrip("0").partition(".")
    shown = f"{whole}.{decimals:0<{_FEWEST_DECIMALS}}"
    return f"{codes.PNEUMONIA.meaning}: {_assessment(finding)}, probability {shown}"


def _assessment(finding: FilmFinding) -> str:
    return (codes.PRESENT if finding.present else codes.ABSENT).meaning.lower()


def _study_assessment(findings: StudyFindings) -> str:
    said = f"{codes.PNEUMONIA.meaning} is {_assessment(findings.highest)} in this study at the operating point"
    count = len(findings.films)
    return f"{said} (1 frontal film)." if count == 1 else f"{said} (the highest of {count} frontal films decides)."


def _view(view: View) -> str:
    return "View not stated." if view is View.NOT_STATED else f"View {view.value}."


def _refused(refusal: FilmRefusal) -> FilmLines:
    detail = in_ascii(refusal.detail)
    return FilmLines(headline="NOT ANALYSED", details=(f"Reason: {detail[:1].upper()}{detail[1:].rstrip('.')}.",))
