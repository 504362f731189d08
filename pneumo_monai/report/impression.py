"""The impression: what a result says of a study, in plain language, and how far that can be relied on."""

from collections import Counter

from pneumo_monai.findings import (
    OperatingPoint,
    Outcome,
    StudyFindings,
    StudyRefusal,
    StudyRetraction,
)
from pneumo_monai.report import codes
from pneumo_monai.report.reasons import CAUSES, CLAUSES
from pneumo_monai.report.wording import (
    RESEARCH_USE,
    as_sentence,
    in_ascii,
    in_percent,
    shown_percentage,
    shown_threshold,
)

__all__ = ["impression"]

_INTENDED_USE = "The model is meant for frontal chest films of adults, and no person has read this result."


def impression(outcome: Outcome) -> str:
    """Say what the result is and what limits it: research use, adult frontal films, what it scored.

    Returns
    -------
    str
        Sentences of ASCII, in one paragraph. The first says the result.
    """
    match outcome:
        case StudyFindings():
            said = [*_found(outcome), _scored(outcome.operating_point)]
            remarks = [in_ascii(remark) for remark in outcome.remarks]
        case StudyRefusal():
            said, remarks = [*_refused(outcome), _scored(outcome.operating_point)], []
        case StudyRetraction():
            said, remarks = _withdrawn(outcome), []
    return " ".join([*said, _INTENDED_USE, RESEARCH_USE, *remarks])


def _found(findings: StudyFindings) -> list[str]:
    highest, point = findings.highest, findings.operating_point
    assessment = codes.PRESENT if highest.present else codes.ABSENT
    shown = shown_percentage(highest.probability, threshold=point.threshold, present=highest.present)
    count = len(findings.films)
    of = "on the frontal film" if count == 1 else f"on that of {count} frontal films where it is highest"
    threshold = in_percent(shown_threshold(point.threshold, shown, present=highest.present))
    said = [
        f"{codes.PNEUMONIA.meaning}: {assessment.meaning.lower()}.",
        f"Probability {in_percent(shown)} {of}; it is called present at {threshold} or more.",
    ]
    return said if highest.present else [*said, "That does not exclude pneumonia."]


def _scored(point: OperatingPoint) -> str:
    missed, alarmed = (round(100 * (1 - share)) for share in (point.sensitivity, point.specificity))
    return (
        f"On the validation part this operating point ({in_ascii(point.name)}) had sensitivity {point.sensitivity:.3f} "
        f"and specificity {point.specificity:.3f}: of 100 films with pneumonia it missed about {missed}, and of 100 "
        f"without it called about {alarmed} present."
    )


def _refused(refusal: StudyRefusal) -> list[str]:
    reasons = Counter(film.reason for film in refusal.films)
    if len(reasons) == 1:
        ((reason, count),) = reasons.items()
        received = "" if count == 1 else f" ({count} images)"
        because = f"because {CLAUSES[reason]}{received}."
    else:
        parts = [f"{CLAUSES[reason]} ({_images(count)})" for reason, count in reasons.items()]
        because = "because " + "; and because ".join(parts) + "."
    return [f"Not analysed, {because}", "This says nothing about pneumonia, neither that it is present nor absent."]


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _withdrawn(retraction: StudyRetraction) -> list[str]:
    model = in_ascii(f"{retraction.model.name} {retraction.model.version}")
    why = as_sentence(retraction.why, otherwise=CAUSES[retraction.cause].capitalize())
    return [
        f"The result of {model} is withdrawn, because: {why}",
        f"{CAUSES[retraction.cause].capitalize()}.",
        "Do not use the earlier result: this says nothing about pneumonia, neither that it is present nor absent.",
    ]
