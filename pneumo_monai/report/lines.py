"""What a result says of one film in a few lines, for forms that people only look at."""

from dataclasses import dataclass

from pneumo_monai.findings import FilmFinding, OperatingPoint, StudyFindings, StudyRefusal, StudyRetraction, View
from pneumo_monai.report import codes
from pneumo_monai.report.reasons import CAUSES, CLAUSES
from pneumo_monai.report.result import Result
from pneumo_monai.report.wording import as_sentence, in_ascii, in_percent, name_in_ascii, shown_percentage

__all__ = ["BANNER", "FilmLines", "describe_film", "describe_origin"]

BANNER = "RESEARCH USE ONLY. Not a medical device."
"""Burned into every picture: the capitals are read first."""


@dataclass(frozen=True, kw_only=True)
class FilmLines:
    """What is said of one film, in ASCII.

    Attributes
    ----------
    headline : str
        The assessment, or that there is none.
    details : tuple of str
        A sentence each: view, study and remarks, or why there is none.
    """

    headline: str
    details: tuple[str, ...]


def describe_film(result: Result, uid: str) -> FilmLines:
    """Say what a result says of one of its films, named by its SOP Instance UID.

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
                details=(_view(finding.view), *_study(findings), *map(in_ascii, finding.remarks)),
            )
        case StudyRefusal(films=refusals):
            refusal = next(film for film in refusals if film.sop_instance_uid == uid)
            because = CLAUSES[refusal.reason]
            return FilmLines(
                headline="NOT ANALYSED",
                details=(f"Because {because}.", as_sentence(refusal.detail, otherwise=because)),
            )
        case StudyRetraction(why=why, cause=cause):
            return FilmLines(
                headline="RESULT WITHDRAWN",
                details=(as_sentence(why, otherwise=CAUSES[cause].capitalize()), "Do not use the earlier result."),
            )


def describe_origin(result: Result) -> tuple[str, ...]:
    """Say by which model, when and, where something was found, at which operating point: a sentence each."""
    outcome, moment = result.outcome, result.moment
    model = f"Model {name_in_ascii(outcome.model.name)} {name_in_ascii(outcome.model.version)}"
    origin = f"{model}; {moment:%Y-%m-%d %H:%M:%S %z}; revision {result.revision}."
    if not isinstance(outcome, StudyFindings):
        return (origin,)
    return f"Operating point {in_ascii(str(outcome.operating_point))}.", origin


def _assessed(finding: FilmFinding, operating_point: OperatingPoint) -> str:
    shown = shown_percentage(finding.probability, threshold=operating_point.threshold, present=finding.present)
    return f"{codes.PNEUMONIA.meaning}: {_assessment(finding)}, probability {in_percent(shown)}"


def _assessment(finding: FilmFinding) -> str:
    return (codes.PRESENT if finding.present else codes.ABSENT).meaning.lower()


def _study(findings: StudyFindings) -> tuple[str, ...]:
    """Say of a study of several films what is said of it: beside one film that would be lost."""
    if (count := len(findings.films)) == 1:
        return ()
    said = f"{codes.PNEUMONIA.meaning} is {_assessment(findings.highest)} in this study"
    return (f"{said}: the highest of {count} frontal films decides.",)


def _view(view: View) -> str:
    return "View not stated." if view is View.NOT_STATED else f"View {view.value}."
