"""One revision of a study's result: all that any of its forms is made from."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pneumo_monai.attributes import integer, is_uid, text
from pneumo_monai.errors import Broken, Refused
from pneumo_monai.findings import Outcome
from pneumo_monai.forms import Form
from pneumo_monai.report.inheritance import REQUIRED, stated_timezone
from pneumo_monai.uids import derive_uid

__all__ = ["Result"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What is said of a study, and what it takes to write that down.

    Its identity is derived, so the same result gives the same objects: Series Instance UID from study, model and form,
    SOP Instance UID from the series, the revision and, where a form has an instance for each film, the film.

    Attributes
    ----------
    outcome : StudyFindings, StudyRefusal or StudyRetraction
        What is said.
    sources : Mapping
        SOP Instance UID to film, at least every film of the outcome; Pixel Data is not looked at. Patient and study are
        taken over from the first film of the outcome.
    revision : int
        Counts from 1; Instance Number (0020,0013).
    superseded : Mapping
        Form to the instances of the revision before, without Pixel Data; empty at the first revision.
    analysed_at : datetime
        Start of the analysis, with its timezone; every date and time of the result.
    pictures : Mapping
        SOP Instance UID to displayed values, (H, W) float32 in [0, 1], of the films that could be decoded.
    uid_root : str or None
        Root of the UIDs; None: 2.25.
    recipient : str or None
        The destination that its instances are for, when they are not the same for all; part of their identity.

    Raises
    ------
    ValueError
        The outcome speaks of a film that `sources` lacks, `revision` is less than 1, or `analysed_at` has no timezone.
    """

    outcome: Outcome
    sources: Mapping[str, Dataset]
    revision: int
    analysed_at: datetime
    superseded: Mapping[Form, Sequence[Dataset]] = field(default_factory=dict)
    pictures: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    uid_root: str | None = None
    recipient: str | None = None

    def __post_init__(self) -> None:
        if self.revision < 1:
            raise ValueError("revisions count from 1")
        if missing := [uid for uid in self.outcome.film_uids if uid not in self.sources]:
            raise ValueError(f"{len(missing)} films of the outcome are not among the sources")
        if self.analysed_at.utcoffset() is None:
            raise ValueError("analysed_at has no timezone")

    @property
    def films(self) -> list[Dataset]:
        """The films that the outcome speaks of, in its order."""
        return [self.sources[uid] for uid in self.outcome.film_uids]

    @property
    def moment(self) -> datetime:
        """Start of the analysis in the timezone that the first film states, else in its own.

        Timezone Offset From UTC (0008,0201) holds for the study's date and time, taken over from the film, as well.
        """
        stated = stated_timezone(self.films[0])
        if stated is None:
            return self.analysed_at
        offset = timedelta(hours=int(stated[1:3]), minutes=int(stated[3:]))
        return self.analysed_at.astimezone(timezone(-offset if stated[0] == "-" else offset))

    @property
    def device_uid(self) -> str:
        """Device UID (0018,1002) of what read the films: that of the model, under the root of the UIDs if there is one.

        It changes with the weights.
        """
        model = self.outcome.model.uid
        return model if self.uid_root is None else derive_uid("device", model, root=self.uid_root)

    def series_uid(self, form: Form) -> str:
        """Return the Series Instance UID (0020,000E) of a form."""
        outcome = self.outcome
        return derive_uid("series", outcome.study_instance_uid, outcome.model.uid, form, root=self.uid_root)

    def instance_uid(self, form: Form, film: str | None = None) -> str:
        """Return the SOP Instance UID (0008,0018) of a form, or of its instance for one film."""
        parts = ("instance", self.series_uid(form), str(self.revision), *filter(None, (film, self.recipient)))
        return derive_uid(*parts, root=self.uid_root)

    def tracking_uid(self, film: str, finding: str) -> str:
        """Return the Tracking Unique Identifier of a finding on a film: the same in every form and revision."""
        return derive_uid("tracking", self.outcome.study_instance_uid, film, finding, root=self.uid_root)

    def references(self) -> list[Dataset]:
        """Return what a tree and highdicom need of each film; patient and study are left empty, to be taken over.

        Raises
        ------
        Broken
            A film lacks one of its UIDs, its Rows or its Columns, or belongs to another study.
        """
        return [self.reference(uid) for uid in self.outcome.film_uids]

    def reference(self, film: str) -> Dataset:
        """Return what `references` returns of one film, named by its SOP Instance UID."""
        return _reference(self.sources[film], self.outcome.study_instance_uid)

    def known_references(self) -> dict[str, Dataset]:
        """Return the same of those films alone that can be referred to, by SOP Instance UID.

        A film that was refused may lack anything. One of another study, or without UIDs as PS3.5 9.1 has them, is left
        out; Rows and Columns are 0 where they are not what a picture has.
        """
        study, known = self.outcome.study_instance_uid, {}
        for uid in self.outcome.film_uids:
            with suppress(Broken, Refused):
                known[uid] = _identity(self.sources[uid], study, is_named=_conforms)
                known[uid].Rows, known[uid].Columns = (_length(self.sources[uid], side) for side in _SIDES)
        return known


_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_SIDES = ("Rows", "Columns")
_UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


def _reference(film: Dataset, study_instance_uid: str) -> Dataset:
    reference = _identity(film, study_instance_uid)
    for keyword in _SIDES:
        if not (length := integer(film, keyword)):
            raise Broken(f"a film of study {study_instance_uid} has no {keyword}")
        setattr(reference, keyword, length)
    return reference


def _identity(film: Dataset, study_instance_uid: str, is_named: Callable[[str], bool] = is_uid) -> Dataset:
    reference = Dataset()
    for keyword in _UIDS:
        if not is_named(uid := text(film, keyword)):
            raise Broken(f"a film of study {study_instance_uid} has no {keyword}")
        setattr(reference, keyword, uid)
    if reference.StudyInstanceUID != study_instance_uid:
        raise Broken(f"a film of study {reference.StudyInstanceUID} stands among those of {study_instance_uid}")
    reference.Modality = text(film, "Modality").upper()
    for keyword in REQUIRED:
        setattr(reference, keyword, None)
    return reference


def _conforms(uid: str) -> bool:
    return len(uid) <= 64 and _UID.fullmatch(uid) is not None


def _length(film: Dataset, keyword: str) -> int:
    """Return Rows or Columns; 0 where it is no side of a picture, which is of 2 pixels or more (VR US)."""
    with suppress(Refused):
        length = integer(film, keyword)
        return length if length is not None and 2 <= length < 1 << 16 else 0
    return 0
