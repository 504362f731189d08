"""What becomes of what is received: which SOP Classes are read, and which attributes are looked at."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from pneumo_monai.errors import Reason, Refused
from pneumo_monai.gate import check, check_age
from pneumo_monai.grayscale import displayed_values
from pneumo_monai.pixel_description import check_pixel_description
from pneumo_monai.settings import IntendedUse

__all__ = ["answer_to", "attributes_read"]


class _Watched(Dataset):
    """A data set that remembers which of its attributes were asked for."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "asked", {})

    def get(self, key: Any, default: Any = None) -> Any:
        """Return what a data set does, and remember that it was asked."""
        self.asked.setdefault(str(key))
        return super().get(key, default)


def _film(sop_class: str, **attributes: Any) -> _Watched:
    film = _Watched()
    film.SOPClassUID, film.SOPInstanceUID = sop_class, "2.25.1"
    film.SeriesInstanceUID, film.StudyInstanceUID = "2.25.2", "2.25.3"
    film.Modality, film.SamplesPerPixel, film.PhotometricInterpretation = "DX", 1, "MONOCHROME2"
    film.Rows = film.Columns = 16
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 8, 8, 7, 0
    film.PixelData = bytes(256)
    film["PixelData"].VR = "OB"
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in attributes.items():
        setattr(film, keyword, value)
    return film


def answer_to(sop_class: UID) -> Reason | None:
    """Return why an object of a SOP Class is refused whatever else it says; None: it is read, if it is a chest film."""
    try:
        check(_film(sop_class))
    except Refused as refused:
        return refused.reason
    return None


def attributes_read() -> Iterator[tuple[str, Iterable[str]]]:
    """Yield what attributes are looked at for, and the keywords of those of the top level, in the order of asking."""
    steps: tuple[tuple[str, Callable[[_Watched], object]], ...] = (
        ("whether it is a chest film that may be read", check),
        ("whether the patient is one the model was made for", lambda film: check_age(film, IntendedUse())),
        ("how stored values are displayed", lambda film: displayed_values(film, check_pixel_description(film))),
    )
    before: set[str] = set()
    for purpose, step in steps:
        asked: dict[str, None] = {}
        # Of a film that says nothing, every source is asked; of one that names lookup tables, what describes them.
        for film in (_film(ComputedRadiographyImageStorage), _film(ComputedRadiographyImageStorage, WindowCenter="1")):
            film.asked.clear()
            step(film)
            asked |= film.asked
        yield purpose, [keyword for keyword in asked if keyword not in before]
        before |= asked.keys()
