"""Small results of every kind, and the same ones with one thing about them changed.

What a form writes is seen from its instances. Where a value comes from is seen from what changes it: each scene is
built again with another model, another film, another time, and so on, one factor at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from functools import cache
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from pneumo_monai.errors import Reason
from pneumo_monai.findings import (
    FilmFinding,
    FilmRefusal,
    ModelIdentity,
    OperatingPoint,
    Outcome,
    RetractionCause,
    StudyFindings,
    StudyRefusal,
    StudyRetraction,
    View,
)
from pneumo_monai.forms import Form
from pneumo_monai.geometry import SquareGeometry, Window
from pneumo_monai.report.documents import BUILDERS, build_documents
from pneumo_monai.report.encode import encode
from pneumo_monai.report.result import Result
from pneumo_monai.sections import NEVER_REPORTED

__all__ = ["SCENES", "Factor", "Kind", "Scene", "films_of", "instances", "variations"]


class Factor(StrEnum):
    """What a value may come from; the value is how a table names it."""

    STUDY = "study"
    FILM = "film"
    FILM_UIDS = "film UIDs"
    MODEL = "model"
    FINDING = "outcome"
    TIME = "time of analysis"
    REVISION = "revision"
    UID_ROOT = "UID root"


class Kind(Enum):
    """Which outcome."""

    POSITIVE = "pneumonia present"
    NEGATIVE = "pneumonia absent"
    REFUSAL = "not analysed"
    RETRACTION = "withdrawn"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One result to build every form of.

    Attributes
    ----------
    kind : Kind
        Its outcome.
    films : int
        How many films.
    states_all : bool
        Whether the films state every attribute that a form may take over; else only what no film may lack.
    has_table : bool
        Whether the films bring a VOI LUT; else, where they state all, a window.
    remarked : bool
        Whether something is remarked of the first film.
    revision : int
        Its revision.
    cause : RetractionCause
        Why it is withdrawn, if it is.
    is_varied : bool
        Whether it is built again with each factor changed; else it only shows what may be missing.
    """

    kind: Kind
    films: int = 1
    states_all: bool = True
    has_table: bool = False
    remarked: bool = False
    revision: int = 1
    cause: RetractionCause = RetractionCause.SAFETY
    is_varied: bool = False


_REASONS = tuple(reason for reason in Reason if reason not in NEVER_REPORTED)
"""What a report can say of films that were not read."""

SCENES: tuple[Scene, ...] = (
    Scene(kind=Kind.POSITIVE, is_varied=True),
    Scene(kind=Kind.POSITIVE, revision=2, is_varied=True),
    Scene(kind=Kind.POSITIVE, films=2),
    Scene(kind=Kind.POSITIVE, states_all=False, remarked=True),
    Scene(kind=Kind.NEGATIVE),
    Scene(kind=Kind.NEGATIVE, has_table=True, is_varied=True),
    Scene(kind=Kind.REFUSAL, is_varied=True),
    Scene(kind=Kind.REFUSAL, films=len(_REASONS)),
    Scene(kind=Kind.RETRACTION, revision=2, is_varied=True),
    Scene(kind=Kind.RETRACTION, revision=2, states_all=False, films=2),
    Scene(kind=Kind.RETRACTION, revision=2, cause=RetractionCause.QUALITY),
)

_ANALYSED_AT = datetime(2025, 3, 4, 5, 6, 7, 800900, tzinfo=UTC)
_MODELS = (
    ModelIdentity(name="Model name", version="1.0.0", uid="2.25.1001"),
    ModelIdentity(name="Other model", version="2.0.0", uid="2.25.1002"),
)
_STATED: Mapping[str, tuple[Any, Any]] = MappingProxyType(
    {
        "SpecificCharacterSet": ("ISO_IR 100", "ISO_IR 192"),
        "PatientName": ("Patient^Name", "Andere^J\u00f6rg"),
        "PatientID": ("P-1", "P-2"),
        "IssuerOfPatientID": ("Hospital", "Clinic"),
        "PatientBirthDate": ("19700101", "19610203"),
        "PatientSex": ("F", "M"),
        "PatientAge": ("055Y", "064Y"),
        "StudyDate": ("20250304", "20250303"),
        "StudyTime": ("050000", "061000"),
        "AccessionNumber": ("A-1", "A-2"),
        "ReferringPhysicianName": ("Referring^Name", "Other^Name"),
        "StudyID": ("1", "2"),
        "StudyDescription": ("Chest", "Thorax"),
        "TimezoneOffsetFromUTC": ("+0100", "-0500"),
        "BodyPartExamined": ("CHEST", "THORAX"),
        "ViewPosition": ("PA", "AP"),
        "PatientOrientation": (["L", "F"], ["R", "F"]),
        "PixelSpacing": (["0.15", "0.15"], ["0.2", "0.2"]),
        "ImagerPixelSpacing": (["0.15", "0.15"], ["0.2", "0.2"]),
        "WindowCenter": ("120", "100"),
        "WindowWidth": ("200", "180"),
        "VOILUTFunction": ("SIGMOID", "LINEAR_EXACT"),
        "RescaleSlope": ("2", "3"),
        "RescaleIntercept": ("-10", "-20"),
        "RescaleType": ("OD", "US"),
        "LossyImageCompression": ("00", "01"),
        "InstanceNumber": (3, 4),
        "SeriesNumber": (5, 6),
        "AcquisitionDate": ("20250304", "20250303"),
        "AcquisitionTime": ("050100", "061100"),
        "ContentDate": ("20250301", "20250302"),
        "ContentTime": ("050200", "061200"),
    }
)
"""What a film may state: the value, and another one."""

_ROWS_COLUMNS = ((96, 80), (80, 128))
_SOP_CLASSES = (ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation)


def _films(scene: Scene, changed: Factor | None) -> list[Dataset]:
    other = int(changed is Factor.FILM)
    study = f"2.25.{100 + (changed is Factor.STUDY)}"
    films = []
    for place in range(scene.films):
        # In this order after the change as well.
        number = 200 + 10 * place + (changed is Factor.FILM_UIDS)
        film = Dataset()
        film.SOPClassUID = _SOP_CLASSES[other] if scene.states_all else SecondaryCaptureImageStorage
        film.SOPInstanceUID, film.SeriesInstanceUID, film.StudyInstanceUID = f"2.25.{number}", f"2.25.9{number}", study
        film.Modality = ("CR", "DX")[other] if scene.states_all else "RG"
        film.Rows, film.Columns = _ROWS_COLUMNS[other]
        film.SamplesPerPixel, film.PhotometricInterpretation = 1, ("MONOCHROME2", "MONOCHROME1")[other]
        film.BitsAllocated = film.BitsStored = 8
        film.HighBit, film.PixelRepresentation = 7, 0
        film.PixelData = bytes(film.Rows * film.Columns)
        film["PixelData"].VR = "OB"
        film.file_meta = FileMetaDataset()
        film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if scene.states_all:
            for keyword, stated in _STATED.items():
                setattr(film, keyword, stated[other])
            if scene.has_table:
                film.VOILUTSequence = [_table(other)]
                del film.WindowCenter, film.WindowWidth, film.VOILUTFunction
            film.RequestAttributesSequence = [_request(other)]
            film.ReferencedRequestSequence = [_request(other)]
        films.append(film)
    return films


def _table(other: int) -> Dataset:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [256, 0, 8])
    table.add_new("LUTData", "OW", bytes(range(256)) if other else bytes(value // 2 for value in range(256)))
    return table


def _request(other: int) -> Dataset:
    request = Dataset()
    request.StudyInstanceUID = "2.25.100"
    request.AccessionNumber = _STATED["AccessionNumber"][other]
    request.RequestedProcedureID, request.ScheduledProcedureStepID = f"RP-{other}", f"SPS-{other}"
    request.RequestedProcedureDescription = ("Chest PA", "Chest AP")[other]
    request.PlacerOrderNumberImagingServiceRequest = f"PO-{other}"
    request.FillerOrderNumberImagingServiceRequest = f"FO-{other}"
    return request


def variations(scene: Scene) -> tuple[Factor | None, ...]:
    """Return what is changed about a scene, nothing first."""
    return (None, *Factor) if scene.is_varied else (None,)


def films_of(scene: Scene, changed: Factor | None = None) -> Sequence[Dataset]:
    """Return the films of a scene, one thing about it changed, as they are read."""
    return [dcmread(BytesIO(encode(film))) for film in _films(scene, changed)]


def _outcome(scene: Scene, films: Sequence[Dataset], changed: Factor | None) -> Outcome:
    other = changed is Factor.FINDING
    model = _MODELS[changed is Factor.MODEL]
    point = OperatingPoint(
        name="other" if other else "balanced", threshold=0.4 if other else 0.35, sensitivity=0.82, specificity=0.71
    )
    study, uids = str(films[0].StudyInstanceUID), [str(film.SOPInstanceUID) for film in films]
    identity: dict[str, Any] = {"study_instance_uid": study, "model": model, "operating_point": point}
    match scene.kind:
        case Kind.REFUSAL:
            refusals = tuple(
                FilmRefusal(
                    sop_instance_uid=uid, reason=_REASONS[(place + other) % len(_REASONS)], detail=f"What {other} says."
                )
                for place, uid in enumerate(uids)
            )
            return StudyRefusal(films=refusals, **identity)
        case Kind.RETRACTION:
            why = "It is of another patient." if other else "The film was of poor quality."
            return StudyRetraction(films=tuple(uids), cause=scene.cause, why=why, **identity)
    # Of several films only the first shows anything.
    present = [scene.kind is Kind.POSITIVE and place == 0 for place in range(len(films))]
    found = tuple(
        _finding(film, positive, remarked=scene.remarked and place == 0, other=other)
        for place, (film, positive) in enumerate(zip(films, present, strict=True))
    )
    return StudyFindings(films=found, **identity)


def _finding(film: Dataset, present: bool, *, remarked: bool, other: bool) -> FilmFinding:
    rows, columns = film.Rows, film.Columns
    activation = np.zeros((7, 7), np.float32)
    activation[(2, 4) if other else (4, 2)] = 3.0
    lungs = np.zeros((224, 224), np.bool_)
    lungs[60 + 10 * other : 150, 60:100] = lungs[60:150, 120:160] = True
    remark = "Age is below 18 years." if other else "Age is not stated."
    return FilmFinding(
        sop_instance_uid=str(film.SOPInstanceUID),
        view=View(film.get("ViewPosition", View.NOT_STATED)),
        probability=(0.8 if present else 0.1) + 0.05 * other,
        present=present,
        activation=activation,
        geometry=SquareGeometry(rows=rows, columns=columns, size=224, window=Window.whole(rows, columns)),
        logit=0.0,
        lungs=lungs,
        remarks=(remark,) if remarked else (),
    )


def _result(scene: Scene, changed: Factor | None) -> Result:
    films = _films(scene, changed)
    # A revision a day, but where the revision is all that is to differ.
    later = timedelta(days=scene.revision - (changed is Factor.REVISION))
    if changed is Factor.TIME:
        later += timedelta(hours=30, minutes=7)
    before = replace(scene, revision=scene.revision - 1, is_varied=True)
    if before.kind is Kind.RETRACTION:
        # What is withdrawn was a finding.
        before = replace(before, kind=Kind.POSITIVE)
    return Result(
        outcome=_outcome(scene, films, changed),
        sources={str(film.SOPInstanceUID): film for film in films},
        revision=scene.revision,
        analysed_at=_ANALYSED_AT + later,
        superseded=_superseded(before, None if changed is Factor.REVISION else changed),
        pictures={str(film.SOPInstanceUID): _picture(film.Rows, film.Columns) for film in films},
        uid_root="1.2.3.4" if changed is Factor.UID_ROOT else None,
    )


def _picture(rows: int, columns: int) -> NDArray[np.float32]:
    ramp = np.add.outer(np.arange(rows), np.arange(columns)) / (rows + columns)
    return ramp.astype(np.float32)


def _superseded(before: Scene, changed: Factor | None) -> Mapping[Form, Sequence[Dataset]]:
    if before.revision == 0:
        return {}
    headers: dict[Form, list[Dataset]] = {}
    for form, datasets in instances(before, changed).items():
        for dataset in datasets:
            header = Dataset({element.tag: element for element in dataset if element.keyword != "PixelData"})
            headers.setdefault(form, []).append(header)
    return headers


@cache
def instances(scene: Scene, changed: Factor | None = None) -> Mapping[Form, Sequence[Dataset]]:
    """Build every form of a scene, one thing about it changed, and read back what would be sent.

    Returns
    -------
    Mapping
        Form to its instances, file meta information included; forms that say nothing of such a result are left out.
    """
    if changed is Factor.REVISION:
        scene = replace(scene, revision=scene.revision + 1)
    found: dict[Form, list[Dataset]] = {}
    for document in build_documents(_result(scene, changed), BUILDERS):
        found.setdefault(document.form, []).append(dcmread(BytesIO(document.encoded)))
    return MappingProxyType(found)
