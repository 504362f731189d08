"""A study of which no film was read, as an outcome that a radiologist can be told."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pneumo_monai.attributes import is_uid, text
from pneumo_monai.errors import Reason, Refused, Retryable
from pneumo_monai.findings import FilmRefusal, ModelIdentity, OperatingPoint, StudyRefusal
from pneumo_monai.instances import read_instance
from pneumo_monai.pixels import read_film
from pneumo_monai.sections import NEVER_REPORTED
from pneumo_monai.study import Film, Study

__all__ = ["Refusal", "find_refusal"]

_WORTH_SHOWING = frozenset({Reason.AGE, Reason.UNLIKE_CHEST, Reason.INVERTED})
"""Reasons of films that can be decoded, and whose picture tells the reader which film is meant."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Refusal:
    """The outcome, and the headers and pictures of its films by SOP Instance UID; see `Result`."""

    outcome: StudyRefusal
    sources: Mapping[str, Dataset]
    pictures: Mapping[str, NDArray[np.float32]]


def find_refusal(
    study: Study, wanted: Collection[Reason], *, model: ModelIdentity, operating_point: OperatingPoint
) -> Refusal | None:
    """Tell why no film of a study was read.

    Only a study that has no report yet and whose every film was refused has such an outcome, and only if somebody wants
    to know one of the reasons. It speaks of all its films but those that are none, or whose header does not say to
    which study they belong.

    Parameters
    ----------
    study : Study
        After the last stage, with all films received of it so far.
    wanted : collection of Reason
        What makes a report.
    model, operating_point
        What would have read them.
    """
    refused = [(film, film.refused) for film in study.films if film.refused is not None]
    if study.previous is not None or len(refused) < len(study.films):
        return None
    if not any(why.reason in wanted for _, why in refused):
        return None
    films: dict[str, FilmRefusal] = {}
    sources: dict[str, Dataset] = {}
    pictures: dict[str, NDArray[np.float32]] = {}
    for film, why in refused:
        header = None if why.reason in NEVER_REPORTED else _read_again(film, study.study_instance_uid)
        if header is None:
            continue
        uid = text(header, "SOPInstanceUID")
        films[uid] = FilmRefusal(sop_instance_uid=uid, reason=why.reason, detail=why.detail)
        if why.reason in _WORTH_SHOWING:
            with suppress(Refused, Retryable):
                pictures[uid] = read_film(header)
        # A study of many films would hold them all.
        header.pop("PixelData", None)
        sources[uid] = header
    if not any(film.reason in wanted for film in films.values()):
        return None
    outcome = StudyRefusal(
        study_instance_uid=study.study_instance_uid,
        films=tuple(film for _, film in sorted(films.items())),
        model=model,
        operating_point=operating_point,
    )
    return Refusal(outcome=outcome, sources=sources, pictures=pictures)


def _read_again(film: Film, study_instance_uid: str) -> Dataset | None:
    """Return the film, unless its header does not name it; a film that was refused kept nothing of what was read."""
    try:
        dataset = read_instance(film.path)
        named = is_uid(text(dataset, "SOPInstanceUID")) and text(dataset, "StudyInstanceUID") == study_instance_uid
    except (Refused, FileNotFoundError):
        return None
    return dataset if named else None
