"""The next revision of a study's result: what it supersedes, and which documents are made of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from pneumo_monai.errors import Reason
from pneumo_monai.findings import Outcome
from pneumo_monai.forms import Form
from pneumo_monai.report.result import Result
from pneumo_monai.settings import Destination, Report
from pneumo_monai.study import PreviousReport

__all__ = ["Reporting", "next_result", "read_documents"]


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """What is made of a result.

    Attributes
    ----------
    forms : frozenset of Form
        Every form that any destination may need: all are built at once, and a retry sends what is stored.
    not_analysed : frozenset of Reason
        Reasons for which a study of which no film was read gets a report.
    uid_root : str or None
        See `Result`.
    """

    forms: frozenset[Form] = frozenset({Form.SR_COMPREHENSIVE_3D})
    not_analysed: frozenset[Reason] = frozenset()
    uid_root: str | None = None

    @classmethod
    def to(cls, destinations: Iterable[Destination], report: Report) -> Self:
        """Gather what some destinations may need; without any, the report is made all the same."""
        known = list(destinations)
        forms = frozenset(form for peer in known for alternatives in peer.forms for form in alternatives)
        return cls(
            forms=forms or cls().forms,
            not_analysed=frozenset(reason for peer in known for reason in peer.not_analysed),
            uid_root=report.uid_root,
        )


def next_result(
    outcome: Outcome,
    *,
    sources: Mapping[str, Dataset],
    previous: PreviousReport | None,
    began_at: datetime,
    uid_root: str | None,
    pictures: Mapping[str, NDArray[np.float32]] | None = None,
) -> Result:
    """Make the result that follows another, or is the first."""
    return Result(
        outcome=outcome,
        sources=sources,
        pictures=pictures or {},
        revision=1 if previous is None else previous.revision + 1,
        superseded={} if previous is None else read_documents(previous.documents),
        analysed_at=began_at,
        uid_root=uid_root,
    )


def read_documents(documents: Iterable[tuple[Form, Path]]) -> Mapping[Form, Sequence[Dataset]]:
    """Read stored instances by form, without Pixel Data."""
    by_form: dict[Form, list[Dataset]] = {}
    for form, path in documents:
        by_form.setdefault(form, []).append(dcmread(path, stop_before_pixels=True))
    return by_form
