"""What a film and its header show that is no finding, as numbers and words: what a network could go by instead.

Everything of the pixels is measured on the square that is cached for training, not on the whole film: a network cannot
see more than that. Shape legend: N films, F features, S side of a square.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pneumo_monai.age import age_in_years
from pneumo_monai.attributes import text
from pneumo_monai.errors import Refused
from pneumo_monai.geometry import Window
from training.records import Exam

__all__ = ["ALL", "FACTS", "OUTSIDE", "Fact", "matrix", "measure"]

ALL = "all together"
OUTSIDE = "all that shows no lung"

FACTS = {
    "source": "data folder",
    "view": "View Position",
    "size and spacing": "Rows, Columns, Pixel Spacing",
    "header": "manufacturer, modality, photometric interpretation, bits, transfer syntax, compression and the like",
    "sex and age": "Patient's Sex and Patient's Age",
    "border": "mean and standard deviation of the outer 5 % on each side",
    "corners": "mean and maximum of the four corners, 12 % of each side",
    "burned-in marks": "share of small bright pieces in the four corners, 25 % of each side",
    "grey levels": "histogram, mean, standard deviation and percentiles of the whole film",
    "lung area": "share of the film that is lung",
    "lung outline": "the lung mask in 8 x 8 cells",
    "thumbnail": "the film in 8 x 8 cells",
}
"""Every fact and what it is made of."""

SHOWS_LUNG = ("grey levels", "lung area", "lung outline", "thumbnail")
"""Facts that the finding itself changes: they are shortcuts in part only."""

_HEADER = (
    "Manufacturer",
    "ManufacturerModelName",
    "Modality",
    "SOPClassUID",
    "ConversionType",
    "PhotometricInterpretation",
    "BitsStored",
    "BurnedInAnnotation",
    "PixelIntensityRelationship",
    "LossyImageCompressionMethod",
    "SpecificCharacterSet",
)
_WORDS = 12
"""As many of the commonest words of a place are told apart; all others are one."""


@dataclass(frozen=True, eq=False)
class Fact:
    """One fact of one film: numbers, NaN where unknown, and words."""

    numbers: Sequence[float] = ()
    words: tuple[str, ...] = ()


def measure(exam: Exam, square: NDArray[np.uint8], lungs: NDArray[np.bool_] | None) -> dict[str, Fact]:
    """Return every fact of a film.

    Parameters
    ----------
    exam : Exam
        That was read.
    square : numpy.ndarray
        (S, S) uint8, the cached film, padded to a square where it is none.
    lungs : numpy.ndarray or None
        (S', S') bool, its lung fields over the same square; None where they are not known.
    """
    header = pydicom.dcmread(exam.path, stop_before_pixels=True)
    film = _without_padding(square, exam).astype(np.float32) / 255.0
    age = age_in_years(header)
    years = float("nan") if age is None else age
    known = lungs is not None
    return {
        "source": Fact(words=(exam.folder,)),
        "view": Fact(words=(exam.view.value,)),
        "size and spacing": Fact([np.log(exam.rows), np.log(exam.columns)], (_text(header, "PixelSpacing"),)),
        "header": Fact(words=(*(_text(header, word) for word in _HEADER), _syntax(header))),
        "sex and age": Fact([years, years**2], (_text(header, "PatientSex"),)),
        "border": Fact(_border(film)),
        "corners": Fact(_corners(film, 0.12, lambda corner: [corner.mean(), corner.max()])),
        "burned-in marks": Fact(_marks(film)),
        "grey levels": Fact(_grey_levels(film)),
        "lung area": Fact([float(lungs.mean()) if known else float("nan")]),
        "lung outline": Fact(_cells(lungs.astype(np.float32)) if known else [float("nan")] * 64),
        "thumbnail": Fact(_cells(film)),
    }


def _text(header: Dataset, keyword: str) -> str:
    try:
        return text(header, keyword)
    except Refused:
        return "cannot be decoded"


def _syntax(header: Dataset) -> str:
    return str(header.file_meta.get("TransferSyntaxUID", ""))


def _without_padding(square: NDArray[np.uint8], exam: Exam) -> NDArray[np.uint8]:
    """Take off what made a whole film a square; a film that is cut to its lungs has nothing to take off."""
    if exam.window != Window.whole(exam.rows, exam.columns):
        return square
    side, longer = square.shape[0], max(exam.rows, exam.columns)
    rows, columns = (max(round(side * extent / longer), 1) for extent in (exam.rows, exam.columns))
    top, left = (side - rows) // 2, (side - columns) // 2
    return square[top : top + rows, left : left + columns]


def _border(film: NDArray[np.float32]) -> list[float]:
    high, wide = (max(round(0.05 * extent), 1) for extent in film.shape)
    sides = (film[:high], film[-high:], film[:, :wide], film[:, -wide:])
    return [float(value) for side in sides for value in (side.mean(), side.std())]


def _corners(
    film: NDArray[np.float32], share: float, of: Callable[[NDArray[np.float32]], list[np.float32]]
) -> list[float]:
    high, wide = (max(round(share * extent), 1) for extent in film.shape)
    corners = (film[:high, :wide], film[:high, -wide:], film[-high:, :wide], film[-high:, -wide:])
    return [float(value) for corner in corners for value in of(corner)]


def _marks(film: NDArray[np.float32]) -> list[float]:
    """Share of each corner that is brighter than an opening leaves it: letters and markers, not the shoulder."""
    plane = torch.from_numpy(np.ascontiguousarray(film))[None]
    lowered = -torch.nn.functional.max_pool2d(-plane, 9, stride=1, padding=4)
    opened = torch.nn.functional.max_pool2d(lowered, 9, stride=1, padding=4)
    small = ((plane - opened)[0] > 0.25).numpy() & (film > 0.5)
    return _corners(small.astype(np.float32), 0.25, lambda corner: [corner.mean()])


def _grey_levels(film: NDArray[np.float32]) -> list[float]:
    counts, _ = np.histogram(film, bins=16, range=(0.0, 1.0))
    percentiles = np.percentile(film, [1, 5, 50, 95, 99])
    return [*(counts / film.size).tolist(), float(film.mean()), float(film.std()), *percentiles.tolist()]


def _cells(film: NDArray[np.float32]) -> list[float]:
    plane = torch.from_numpy(np.ascontiguousarray(film))[None]
    cells: list[float] = torch.nn.functional.adaptive_avg_pool2d(plane, 8).flatten().tolist()
    return cells


def matrix(facts: Sequence[Fact]) -> NDArray[np.float64]:
    """Lay one fact of many films out as features.

    An unknown number becomes the mean of the known ones and a feature of its own says so; each of the commonest words
    is a feature. What is the same for all films is left out.

    Returns
    -------
    numpy.ndarray
        (N, F) with mean 0 and standard deviation 1; F may be 0.
    """
    numbers = np.array([fact.numbers for fact in facts], dtype=np.float64).reshape(len(facts), -1)
    unknown = np.isnan(numbers)
    columns = [np.where(unknown, 0.0, numbers - _known_mean(numbers)), unknown.astype(np.float64)]
    for place in range(len(facts[0].words)):
        words = [fact.words[place] for fact in facts]
        common = [word for word, _ in Counter(words).most_common(_WORDS)]
        columns.append(np.array([[float(word == other) for other in common] for word in words]))
    features = np.hstack(columns)
    spread = features.std(axis=0)
    varied = spread > 1e-9
    standard: NDArray[np.float64] = (features[:, varied] - features[:, varied].mean(axis=0)) / spread[varied]
    return standard


def _known_mean(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(numbers)
    mean: NDArray[np.float64] = np.where(known, numbers, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return mean
