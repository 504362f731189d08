"""Which image is a frontal chest radiograph we may read, else the coded reason.

The checks go from what the object is, over whether its pixels are one film, to what the film shows: the reason is the
first that makes all later ones idle. Silence is no contradiction: real headers often say nothing about part or view.
"""

from pydicom.config import IGNORE
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pneumo_monai.age import age_in_years
from pneumo_monai.attributes import is_uid, items, label, quoted, text, values
from pneumo_monai.equipment import names_us
from pneumo_monai.errors import Reason, Refused
from pneumo_monai.findings import View
from pneumo_monai.pixel_description import check_pixel_description
from pneumo_monai.settings import IntendedUse
from pneumo_monai.vocabulary import (
    CHEST_CODES,
    CHEST_WORDS,
    FRONTAL_WORDS,
    NOT_FRONTAL_WORDS,
    OTHER_PART_WORDS,
    POSTURE_WORDS,
    VIEW_CODES,
    VIEW_WORDS,
    words,
)

__all__ = ["check", "check_age"]

_CR = "1.2.840.10008.5.1.4.1.1.1"
_DX = "1.2.840.10008.5.1.4.1.1.1.1"

_SOP_CLASSES: dict[str, Reason | None] = {
    _CR: None,  # Computed Radiography Image Storage
    _DX: None,  # Digital X-Ray Image Storage - For Presentation
    "1.2.840.10008.5.1.4.1.1.1.1.1": Reason.FOR_PROCESSING,  # Digital X-Ray Image Storage - For Processing
    "1.2.840.10008.5.1.4.1.1.7": None,  # Secondary Capture Image Storage
    "1.2.840.10008.5.1.4.1.1.7.1": Reason.PIXEL_FORMAT,  # Multi-frame Single Bit Secondary Capture Image Storage
    "1.2.840.10008.5.1.4.1.1.7.2": None,  # Multi-frame Grayscale Byte Secondary Capture Image Storage
    "1.2.840.10008.5.1.4.1.1.7.3": None,  # Multi-frame Grayscale Word Secondary Capture Image Storage
    "1.2.840.10008.5.1.4.1.1.7.4": Reason.COLOUR,  # Multi-frame True Color Secondary Capture Image Storage
}
"""Standard SOP Classes (PS3.4 table B.5-1) that may hold a chest film: None where one is read, else why not. Every
other image class belongs to another modality."""

_MODALITIES = frozenset({"CR", "DX", "RG"})
"""Defined terms of Modality (0008,0060) for projection radiography (PS3.3 C.7.3.1.1.1)."""

_DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "StudyDescription")
"""From the most to the least specific: a study may hold several parts."""


def check(dataset: Dataset) -> View:
    """Check one whole instance: its header and what it declares about its pixels.

    Parameters
    ----------
    dataset : Dataset
        The whole instance, file meta information included.

    Returns
    -------
    View
        The projection that the header states.

    Raises
    ------
    Refused
        The image is no frontal chest radiograph that can be read; reason and detail say why, without patient data.
    """
    _check_object(dataset)
    check_pixel_description(dataset)
    _check_modality(dataset)
    _check_body_part(dataset)
    return _view(dataset)


def check_age(dataset: Dataset, intended_use: IntendedUse) -> str | None:
    """Check the patient's age against what the model was made for.

    Parameters
    ----------
    dataset : Dataset
        The instance.
    intended_use : IntendedUse
        The youngest age in years, and what becomes of other films.

    Returns
    -------
    str or None
        What the report has to remark of a film that is read all the same.

    Raises
    ------
    Refused
        The patient is younger, or the age is not stated, and the settings refuse that.
    """
    if intended_use.minimum_age == 0:
        return None
    age = age_in_years(dataset)
    if age is not None and age >= intended_use.minimum_age:
        return None
    found, answer = (
        ("is not stated", intended_use.age_missing)
        if age is None
        else (f"is below {intended_use.minimum_age} years", intended_use.younger)
    )
    if answer == "refuse":
        raise Refused(Reason.AGE, f"{label('PatientAge')} {found}")
    return f"Patient age {found}: the model is meant for patients of {intended_use.minimum_age} years or older."


def _check_object(dataset: Dataset) -> None:
    if names_us(dataset):
        raise Refused(Reason.OWN_RESULT, "Contributing Equipment or General Equipment names this software")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if not is_uid(text(dataset, keyword)):
            raise Refused(Reason.MISSING_IDENTITY, f"{label(keyword)} is missing or no UID")
    _check_sop_class(text(dataset, "SOPClassUID"))
    if text(dataset, "PresentationIntentType").upper() == "FOR PROCESSING":
        raise Refused(Reason.FOR_PROCESSING, f"{label('PresentationIntentType')} is FOR PROCESSING: raw detector data")


def _check_sop_class(sop_class: str) -> None:
    subject = label("SOPClassUID")
    if not is_uid(sop_class):
        raise Refused(Reason.SOP_CLASS, f"{subject} is missing or no UID")
    uid = UID(sop_class, IGNORE)
    if uid in _SOP_CLASSES:
        if reason := _SOP_CLASSES[uid]:
            raise Refused(reason, f"{subject} is {uid.name}")
    elif "Storage" not in uid.name:
        raise Refused(Reason.SOP_CLASS, f"{subject} {uid} is no storage class of the standard")
    elif "Image" in uid.name or "Volume Storage" in uid.name:
        raise Refused(Reason.MODALITY, f"{subject} is {uid.name}")
    else:
        raise Refused(Reason.NOT_AN_IMAGE, f"{subject} is {uid.name}")


def _check_modality(dataset: Dataset) -> None:
    modality = text(dataset, "Modality").upper()
    if modality in _MODALITIES or (not modality and text(dataset, "SOPClassUID") in {_CR, _DX}):
        return
    raise Refused(Reason.MODALITY, f"{label('Modality')} is {quoted(modality) if modality else 'missing'}")


def _check_body_part(dataset: Dataset) -> None:
    if part := text(dataset, "BodyPartExamined"):
        found = words(part)
        neutral = POSTURE_WORDS | FRONTAL_WORDS | NOT_FRONTAL_WORDS | VIEW_WORDS.keys()
        if not found & CHEST_WORDS or found - CHEST_WORDS - neutral:
            raise Refused(Reason.BODY_PART, f"{label('BodyPartExamined')} is {quoted(part)}")
    elif codes := _codes(dataset, "AnatomicRegionSequence"):
        if other := [value for value, scheme in codes if (value, scheme) not in CHEST_CODES]:
            raise Refused(Reason.BODY_PART, f"{label('AnatomicRegionSequence')} has code {quoted(other[0])}: no chest")
    else:
        _check_described_part(dataset)


def _check_described_part(dataset: Dataset) -> None:
    for keyword in _DESCRIPTIONS:
        found = words(text(dataset, keyword))
        if found & CHEST_WORDS:
            return
        if other := found & OTHER_PART_WORDS:
            raise Refused(Reason.BODY_PART, f"{label(keyword)} speaks of another part: {min(other).upper()}")


def _view(dataset: Dataset) -> View:
    """Return the view, from the first of its sources that is not silent.

    Every coded source must allow a frontal film: where two disagree, the film is refused, not read as what it may not
    be. Descriptions are asked last, and only against it.
    """
    _check_orientation(dataset)
    stated = [view for view in (_worded_view(dataset, "ViewPosition"), _coded_view(dataset)) if view is not None]
    if not stated and (view := _worded_view(dataset, "PatientPosition")) is not None:
        stated.append(view)
    if not stated:
        _check_described_view(dataset)
    return next((view for view in stated if view is not View.NOT_STATED), View.NOT_STATED)


def _check_orientation(dataset: Dataset) -> None:
    """Refuse a film whose rows or columns run along the front-back axis (PS3.3 C.7.6.1.1.1): none does in a frontal."""
    directions = values(dataset, "PatientOrientation")
    if len(directions) == 2 and any(direction[:1].upper() in {"A", "P"} for direction in directions):
        raise Refused(Reason.VIEW, f"{label('PatientOrientation')} is {quoted(text(dataset, 'PatientOrientation'))}")


def _worded_view(dataset: Dataset, keyword: str) -> View | None:
    """Return the view that an attribute's words name; None when they are silent about it."""
    stated = text(dataset, keyword)
    found = words(stated)
    directions = {VIEW_WORDS[word] for word in found if word in VIEW_WORDS}
    unknown = found - VIEW_WORDS.keys() - FRONTAL_WORDS - POSTURE_WORDS
    if unknown or (stated and not found):
        raise Refused(Reason.VIEW, f"{label(keyword)} is {quoted(stated)}: no frontal view")
    if len(directions) == 1:
        return directions.pop()
    return View.NOT_STATED if directions or found & FRONTAL_WORDS else None


def _coded_view(dataset: Dataset) -> View | None:
    codes = _codes(dataset, "ViewCodeSequence")
    for value, scheme in codes:
        if (value, scheme) not in VIEW_CODES:
            raise Refused(Reason.VIEW, f"{label('ViewCodeSequence')} has code {quoted(value)}: no frontal view")
    return VIEW_CODES[codes[0]] if codes else None


def _check_described_view(dataset: Dataset) -> None:
    for keyword in ("BodyPartExamined", "SeriesDescription", "ProtocolName"):
        if other := words(text(dataset, keyword)) & NOT_FRONTAL_WORDS:
            raise Refused(Reason.VIEW, f"{label(keyword)} speaks of a view that is not frontal: {min(other).upper()}")


def _codes(dataset: Dataset, keyword: str) -> list[tuple[str, str]]:
    """Return code value and scheme of the items of a code sequence; SNM3 and 99SDM are the older names of SRT."""
    found = []
    for item in items(dataset, keyword):
        value, scheme = text(item, "CodeValue"), text(item, "CodingSchemeDesignator")
        if value:
            found.append((value, "SRT" if scheme in {"SNM3", "99SDM"} else scheme))
    return found
