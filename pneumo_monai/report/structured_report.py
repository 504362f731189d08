"""Findings to one Comprehensive 3D SR a study (PS3.3 A.35.13)."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from highdicom import ContributingEquipment
from highdicom.sr import Comprehensive3DSR
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from pneumo_monai.attributes import integer, text
from pneumo_monai.equipment import MANUFACTURER, MODEL_NAME, SOFTWARE_VERSION
from pneumo_monai.errors import Broken
from pneumo_monai.findings import ModelIdentity, StudyFindings
from pneumo_monai.report import codes
from pneumo_monai.report.content import measurement_report, name_in_ascii
from pneumo_monai.report.inheritance import REQUIRED, inherit, stated_timezone
from pneumo_monai.uids import derive_uid

__all__ = ["FORM", "SERIES_DESCRIPTION", "SERIES_NUMBER", "build_structured_report"]

FORM = "sr-comprehensive-3d"
"""This form of a report, a part of its derived identity."""

SERIES_NUMBER = 9001
"""Series Number (0020,0011): beyond what modalities count to, so that viewers list the result after the images."""

SERIES_DESCRIPTION = "Pneumonia (research use), pneumo-monai"
"""Series Description (0008,103E), what a viewer's list of series shows: the finding first, for lists are narrow."""


def build_structured_report(
    *,
    findings: StudyFindings,
    sources: Mapping[str, Dataset],
    revision: int,
    predecessor: Dataset | None,
    analysed_at: datetime,
) -> Dataset:
    """Build the report on one study.

    Its identity is derived, so the same call gives the same object: Series Instance UID from study, model and form, SOP
    Instance UID from the series and the revision. It is COMPLETE, for all that was asked was done, PRELIMINARY and
    UNVERIFIED, for no person has read it (PS3.3 C.17.2).

    Parameters
    ----------
    findings : StudyFindings
        What was found, films in order of SOP Instance UID.
    sources : Mapping
        SOP Instance UID to film, at least every film of the findings; Pixel Data is not looked at. Patient and study
        are taken over from the first film of the findings.
    revision : int
        Counts from 1; Instance Number (0020,0013).
    predecessor : Dataset or None
        The revision that this one supersedes, named in Predecessor Documents Sequence (0040,A360): its Study, Series
        and SOP Instance UID and SOP Class UID are needed.
    analysed_at : datetime
        Start of the analysis, with its timezone; every date and time of the report. It is written in the timezone that
        the film states in Timezone Offset From UTC (0008,0201), which holds for the study's date and time as well, else
        in its own.

    Returns
    -------
    Dataset
        A complete instance, file meta information included.

    Raises
    ------
    ValueError
        The findings speak of a film that `sources` lacks, an assessment contradicts its operating point, `revision` is
        less than 1, or `analysed_at` has no timezone.
    Broken
        A film lacks one of its UIDs, its Rows or its Columns, or belongs to another study.
    """
    if revision < 1:
        raise ValueError("revisions count from 1")
    if missing := [film.sop_instance_uid for film in findings.films if film.sop_instance_uid not in sources]:
        raise ValueError(f"{len(missing)} films of the findings are not among the sources")
    films = [sources[film.sop_instance_uid] for film in findings.films]
    evidence = [_reference(film, findings.study_instance_uid) for film in films]
    moment = _in_timezone(analysed_at, stated_timezone(films[0]))
    content = measurement_report(findings, {item.SOPInstanceUID: item for item in evidence})
    series_uid = derive_uid("series", findings.study_instance_uid, findings.model.uid, FORM)
    report = Comprehensive3DSR(
        evidence=evidence,
        content=content[0],
        series_instance_uid=series_uid,
        series_number=SERIES_NUMBER,
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=derive_uid("instance", series_uid, str(revision)),
        instance_number=revision,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=SOFTWARE_VERSION,
        is_complete=True,
        is_final=False,
        is_verified=False,
        previous_versions=None if predecessor is None else [predecessor],
        content_date=moment.date(),
        content_time=moment.time(),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    report.InstanceCreationDate, report.InstanceCreationTime = report.ContentDate, report.ContentTime
    report.TimezoneOffsetFromUTC = f"{moment:%z}"
    _date_series(report, predecessor)
    report.ContributingEquipmentSequence = [_contribution(findings.model)]
    inherit(films[0], report)
    return report


def _reference(film: Dataset, study_instance_uid: str) -> Dataset:
    """Return what the tree and highdicom need of a film, patient and study left empty: `inherit` takes those over."""
    reference = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not (uid := text(film, keyword)):
            raise Broken(f"a film of study {study_instance_uid} has no {keyword}")
        setattr(reference, keyword, uid)
    if reference.StudyInstanceUID != study_instance_uid:
        raise Broken(f"a film of study {reference.StudyInstanceUID} stands among those of {study_instance_uid}")
    for keyword in ("Rows", "Columns"):
        if not (length := integer(film, keyword)):
            raise Broken(f"a film of study {study_instance_uid} has no {keyword}")
        setattr(reference, keyword, length)
    reference.Modality = text(film, "Modality").upper()
    for keyword in REQUIRED:
        setattr(reference, keyword, None)
    return reference


def _in_timezone(analysed_at: datetime, stated: str | None) -> datetime:
    if analysed_at.utcoffset() is None:
        raise ValueError("analysed_at has no timezone")
    if stated is None:
        return analysed_at
    offset = timedelta(hours=int(stated[1:3]), minutes=int(stated[3:]))
    return analysed_at.astimezone(timezone(-offset if stated[0] == "-" else offset))


def _date_series(report: Dataset, predecessor: Dataset | None) -> None:
    """Date the series, not the instance: Series Date and Time (0008,0021) (0008,0031) are one for all its revisions."""
    dated = report if predecessor is None else predecessor
    date, time = ("ContentDate", "ContentTime") if predecessor is None else ("SeriesDate", "SeriesTime")
    same_series = text(dated, "SeriesInstanceUID") == report.SeriesInstanceUID
    same_timezone = text(dated, "TimezoneOffsetFromUTC") == report.TimezoneOffsetFromUTC
    if same_series and same_timezone and text(dated, date) and text(dated, time):
        report.SeriesDate, report.SeriesTime = text(dated, date), text(dated, time)


def _contribution(model: ModelIdentity) -> ContributingEquipment:
    """Return the item of Contributing Equipment Sequence (0018,A001) that the tree's observer and algorithm repeat."""
    item = ContributingEquipment(
        manufacturer=MANUFACTURER,
        manufacturer_model_name=name_in_ascii(model.name),
        software_versions=name_in_ascii(model.version),
        purpose_of_reference=codes.PROCESSING_EQUIPMENT,
    )
    item.DeviceUID = model.uid
    return item
