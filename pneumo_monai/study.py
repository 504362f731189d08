"""What travels through the graph: one study, its films, and what becomes of each."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from torch import Tensor

from pneumo_monai.errors import Reason, Refused, Retryable
from pneumo_monai.findings import FilmFinding, Outcome, View
from pneumo_monai.forms import Form
from pneumo_monai.geometry import SquareGeometry
from pneumo_monai.report.documents import Document

__all__ = ["Film", "NewReport", "PreviousReport", "Study"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Film:
    """One received object on its way from file to finding.

    Each stage adds its part; a film that was refused or that failed keeps what it had and is passed on untouched.

    Attributes
    ----------
    path : pathlib.Path
        Part 10 file.
    key : int
        The caller's own name of this film.
    dataset, view, remarks, pixels, tensor, geometry, lungs, finding
        Added by load, gate (view, remarks), preprocess (remarks as well) and infer. `pixels` is (H, W) float32 in
        [0, 1], `tensor` (1, size, size) float32, `geometry` where it lies on the film, `lungs` (size, size) bool which
        of its pixels are of the lungs.
    refused : Refused or None
        Why it may not be read.
    failed : str or None
        What went wrong in us.
    again : bool
        Whether that may go well later: resources lacked.
    """

    path: Path
    key: int = 0
    dataset: Dataset | None = None
    view: View | None = None
    remarks: tuple[str, ...] = ()
    pixels: NDArray[np.float32] | None = None
    tensor: Tensor | None = None
    geometry: SquareGeometry | None = None
    lungs: NDArray[np.bool_] | None = None
    finding: FilmFinding | None = None
    refused: Refused | None = None
    failed: str | None = None
    again: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the next stage has anything to do."""
        return self.refused is None and self.failed is None


@dataclass(frozen=True, kw_only=True)
class PreviousReport:
    """The current revision, which a new one names as its predecessor."""

    revision: int
    fingerprint: str
    documents: tuple[tuple[Form, Path], ...]


@dataclass(frozen=True, kw_only=True)
class NewReport:
    """A revision whose documents are encoded and not yet stored; `fingerprint` names what it says."""

    revision: int
    fingerprint: str
    outcome: Outcome
    documents: tuple[Document, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """The item of the graph.

    Attributes
    ----------
    study_instance_uid : str
        Empty when a folder's file could not be parsed and stands alone.
    films : tuple of Film
        All objects received of the study so far.
    previous : PreviousReport or None
        The current revision of its report.
    began_at : datetime.datetime or None
        When the analysis began, with its timezone; added by the load stage.
    report : NewReport or None
        Added by the report stage when there is something new to say.
    answer : concurrent.futures.Future or None
        Gets the study at the end of a resident graph.
    """

    study_instance_uid: str
    films: tuple[Film, ...]
    previous: PreviousReport | None = None
    began_at: datetime | None = None
    report: NewReport | None = None
    answer: "Future[Study] | None" = None

    def each_open_film(self, stage: Callable[[Film], Film], on_error: Callable[[Film, Exception], None]) -> Self:
        """Apply a stage to each film that is still open.

        What a stage raises ends that film alone: `Refused` refuses it, anything else fails it.
        """
        return replace(
            self, films=tuple(_guarded(stage, film, on_error) if film.is_open else film for film in self.films)
        )

    def all_failed(self, error: Exception, where: str) -> Self:
        """Fail every film that is still open."""
        return replace(self, films=tuple(_failed(film, error, where) if film.is_open else film for film in self.films))


def _guarded(stage: Callable[[Film], Film], film: Film, on_error: Callable[[Film, Exception], None]) -> Film:
    try:
        return stage(film)
    except Refused as refused:
        return replace(film, refused=refused, dataset=None)
    except RecursionError:
        return replace(film, refused=Refused(Reason.UNPARSEABLE, "sequences are nested too deep"))
    except Exception as error:  # noqa: BLE001 - one film must not cost the others; the caller logs it
        on_error(film, error)
        return _failed(film, error, stage.__name__)


def _failed(film: Film, error: Exception, where: str) -> Film:
    # A file that is gone will not come back; anything else the system lacked may be there in a minute.
    again = isinstance(error, Retryable | OSError | MemoryError) and not isinstance(error, FileNotFoundError)
    return replace(film, failed=f"{type(error).__name__} in {where}", again=again)
