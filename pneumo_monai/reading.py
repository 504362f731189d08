"""The stages of reading a study, one function each: load ▸ gate ▸ preprocess ▸ infer ▸ report.

The operators of the graph, resident or one-shot, call these and nothing else.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import wraps

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pneumo_monai.decoding import decode
from pneumo_monai.engine import Engine, calibrated
from pneumo_monai.familiarity import check_picture
from pneumo_monai.findings import FilmFinding, Outcome, StudyFindings
from pneumo_monai.gate import check, check_age
from pneumo_monai.instances import read_instance
from pneumo_monai.logs import without_text
from pneumo_monai.lungs import LungFields
from pneumo_monai.pixels import Decode, read_film
from pneumo_monai.refusals import find_refusal
from pneumo_monai.report.documents import build_documents
from pneumo_monai.report.result import Result
from pneumo_monai.revisions import Reporting, next_result
from pneumo_monai.settings import IntendedUse
from pneumo_monai.study import Film, NewReport, Study

__all__ = ["Hold", "Reading", "Stage", "passed"]

Stage = Callable[[Study], Study]
Hold = Callable[[Iterable[int]], AbstractContextManager[object]]
"""Notes which films are at hand while a context lasts, by their keys."""

_KIND = "sr-comprehensive-3d"
"""What the fingerprint of findings begins with: the only form there once was, as older ledgers have it."""

_log = logging.getLogger(__name__)


class Reading:
    """The five stages around one resident network.

    Parameters
    ----------
    engine : Engine
        The network and its bundle.
    intended_use : IntendedUse or None
        Whose films may be read; None: the defaults of the settings.
    reporting : Reporting or None
        What is made of a result; None: one Comprehensive 3D SR, of findings only.
    decode : Decode
        Where films are decoded: in this process, or in one that a film may end.
    hold : Hold
        Notes which films are at hand: one of them may end this process.
    """

    def __init__(
        self,
        engine: Engine,
        intended_use: IntendedUse | None = None,
        reporting: Reporting | None = None,
        decode: Decode = decode,
        hold: Hold = nullcontext,
    ) -> None:
        self.engine = engine
        self._hold = hold
        self._decode = decode
        self._reporting = reporting or Reporting()
        self._intended_use = intended_use or IntendedUse()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, in order."""
        return (self.load, self.gate, self.preprocess, self.infer, self.report)

    def _each(self, study: Study, stage: Callable[[Film], Film]) -> Study:
        @wraps(stage)
        def held(film: Film) -> Film:
            with self._hold([film.key]):
                return stage(film)

        return study.each_open_film(held, _log_failure)

    def load(self, study: Study) -> Study:
        """Note when the analysis begins, and parse each film's file."""

        def load(film: Film) -> Film:
            return replace(film, dataset=read_instance(film.path))

        begun = replace(study, began_at=datetime.now(UTC).astimezone())
        return self._each(begun, load)

    def gate(self, study: Study) -> Study:
        """Refuse what is no frontal chest radiograph we may read; remark what the report has to say of the others."""

        def gate(film: Film) -> Film:
            assert film.dataset is not None  # noqa: S101 - load comes before
            view = check(film.dataset)
            remark = check_age(film.dataset, self._intended_use)
            return replace(film, view=view, remarks=_with(film.remarks, remark))

        return self._each(study, gate)

    def preprocess(self, study: Study) -> Study:
        """Decode the film, check what it shows, and make the network's input of it."""

        def preprocess(film: Film) -> Film:
            assert film.dataset is not None  # noqa: S101 - load comes before
            pixels = read_film(film.dataset, self._decode)
            # The codestream is not needed again, and a study of many films would hold them all.
            del film.dataset.PixelData
            prepared = self.engine.prepare(pixels)
            remark = self._check_picture(pixels, prepared.lungs)
            return replace(
                film,
                remarks=_with(film.remarks, remark),
                pixels=pixels,
                tensor=prepared.tensor,
                geometry=prepared.geometry,
                lungs=prepared.inside,
            )

        return self._each(study, preprocess)

    def _check_picture(self, pixels: NDArray[np.float32], lungs: LungFields | None) -> str | None:
        if self.engine.familiarity is None or lungs is None:
            return None
        return check_picture(
            pixels,
            lungs,
            familiarity=self.engine.familiarity,
            find_lungs=self.engine.find_lungs,
            intended_use=self._intended_use,
        )

    def infer(self, study: Study) -> Study:
        """Run the network and hold its calibrated output against the operating point."""
        contract = self.engine.bundle.contract

        def infer(film: Film) -> Film:
            assert film.dataset is not None  # noqa: S101 - the stages before
            assert film.tensor is not None  # noqa: S101
            assert film.view is not None  # noqa: S101
            assert film.geometry is not None  # noqa: S101
            logit, activation = self.engine.read(film.tensor)
            probability = calibrated(logit, contract.calibration)
            finding = FilmFinding(
                sop_instance_uid=str(film.dataset.SOPInstanceUID),
                view=film.view,
                probability=probability,
                present=probability >= contract.operating_point.threshold,
                activation=activation,
                geometry=film.geometry,
                logit=logit,
                lungs=film.lungs,
                remarks=film.remarks,
            )
            return replace(film, finding=finding, tensor=None)

        return self._each(study, infer)

    def report(self, study: Study) -> Study:
        """Build and encode what there is to say, unless the current revision says the same already."""
        try:
            with self._hold([film.key for film in study.films]):
                return self._report(study)
        except Exception as error:  # noqa: BLE001 - the study failed, its films say so
            _log.error("study %s has no report", study.study_instance_uid, exc_info=without_text(error))
            return study.all_failed(error, "report")

    def _report(self, study: Study) -> Study:
        analysed = {
            film.finding.sop_instance_uid: film for film in study.films if film.is_open and film.finding is not None
        }
        said = self._findings(study, analysed) if analysed else self._refusal(study)
        if said is None:
            return study
        fingerprint, result = said
        report = NewReport(
            revision=result.revision,
            fingerprint=fingerprint,
            outcome=result.outcome,
            documents=build_documents(result, self._reporting.forms),
        )
        return replace(study, report=report)

    def _findings(self, study: Study, analysed: Mapping[str, Film]) -> tuple[str, Result] | None:
        """Return what is said of the films that were read, and its name; None: the current revision says the same."""
        model = self.engine.bundle.identity
        fingerprint = _fingerprint(model.uid, analysed)
        if study.previous is not None and study.previous.fingerprint == fingerprint:
            return None
        outcome = StudyFindings(
            study_instance_uid=study.study_instance_uid,
            films=tuple(film.finding for _, film in sorted(analysed.items()) if film.finding is not None),
            model=model,
            operating_point=self.engine.bundle.operating_point,
        )
        sources = {uid: film.dataset for uid, film in analysed.items() if film.dataset is not None}
        pictures = {uid: film.pixels for uid, film in analysed.items() if film.pixels is not None}
        return fingerprint, self._next(study, outcome, sources, pictures)

    def _refusal(self, study: Study) -> tuple[str, Result] | None:
        """Return why no film was read, and its name; None: nobody is told."""
        bundle = self.engine.bundle
        wanted = self._reporting.not_analysed
        refusal = find_refusal(
            study, wanted, model=bundle.identity, operating_point=bundle.operating_point, decode=self._decode
        )
        if refusal is None:
            return None
        named = "\n".join(["refusal", *(f"{film.sop_instance_uid} {film.reason}" for film in refusal.outcome.films)])
        fingerprint = hashlib.sha256(named.encode()).hexdigest()
        return fingerprint, self._next(study, refusal.outcome, refusal.sources, refusal.pictures)

    def _next(
        self,
        study: Study,
        outcome: Outcome,
        sources: Mapping[str, Dataset],
        pictures: Mapping[str, NDArray[np.float32]],
    ) -> Result:
        assert study.began_at is not None  # noqa: S101 - load comes before
        return next_result(
            outcome,
            sources=sources,
            pictures=pictures,
            previous=study.previous,
            began_at=study.began_at,
            uid_root=self._reporting.uid_root,
        )


def passed(study: Study, stage: Stage) -> Study:
    """Pass a study through one stage; what that raises fails the films that are still open."""
    try:
        return stage(study)
    except Exception as error:  # noqa: BLE001 - the study failed, and whoever passed it on goes on
        _log.error("study %s failed in %s", study.study_instance_uid, stage.__name__, exc_info=without_text(error))
        return study.all_failed(error, stage.__name__)


def _with(remarks: tuple[str, ...], remark: str | None) -> tuple[str, ...]:
    return (*remarks, remark) if remark else remarks


def _fingerprint(model_uid: str, analysed: Mapping[str, Film]) -> str:
    """Name what findings say: which films with which remarks, read by which model.

    The forms are no part of it: a late film that is refused must make no revision where a form was added meanwhile.
    """
    films = sorted(" ".join([uid, *film.remarks]) for uid, film in analysed.items())
    return hashlib.sha256("\n".join([_KIND, model_uid, *films]).encode()).hexdigest()


def _log_failure(film: Film, error: Exception) -> None:
    # The file's name holds UIDs only; the error's text could hold what the file says, so only its type is logged.
    _log.error("%s failed: %s", film.path.name, type(error).__name__, exc_info=without_text(error))
