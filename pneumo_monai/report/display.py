"""How a film itself is displayed, as a presentation state has to say it: grey levels and shape of its pixels.

A viewer that applies a presentation state forgets what the film says of these (PS3.4 N.2), so all of it is repeated.
"""

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from pneumo_monai.attributes import raw
from pneumo_monai.errors import Refused
from pneumo_monai.grayscale import LookupTable, VoiWindow, stated_transformation
from pneumo_monai.pixel_description import PixelDescription, describe_pixels
from pneumo_monai.report.instance import stated_code

__all__ = ["repeat_display"]

_UNSPECIFIED = "US"
"""Rescale Type of values whose units nobody stated (C.11.1.1.2)."""

_FUNCTIONS = {"LINEAR_EXACT", "SIGMOID"}
"""VOI LUT Functions other than that which is meant where none is written (C.11.2.1.3)."""

_FULL = 0xFFFF

_SPACINGS = ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing")
_ROUND = 0.01
"""Share by which pixels that are called square may differ: spacings are rounded when they are written."""


def repeat_display(film: Dataset, state: Dataset) -> None:
    """Write into a presentation state what the film says of its display, which so stays what it was.

    Rescale (PS3.3 C.11.1), the first VOI LUT or window (C.11.8) with a Modality LUT in it, the polarity as Presentation
    LUT Shape (2050,0020), for Photometric Interpretation is not looked at any more (C.11.6), and the aspect ratio
    (C.10.4).

    Raises
    ------
    Refused
        What the film says cannot be used, or it is not one grey frame.
    """
    description = describe_pixels(film)
    modality, voi = stated_transformation(film, description)
    if isinstance(modality, LookupTable):
        voi = _composed(modality, voi, description)
    elif (modality.slope, modality.intercept) != (1.0, 0.0):
        state.RescaleSlope, state.RescaleIntercept = _decimal(modality.slope), _decimal(modality.intercept)
        state.RescaleType = stated_code(film, "RescaleType") or _UNSPECIFIED
    if voi is not None:
        state.SoftcopyVOILUTSequence = [_voi(voi)]
    state.PresentationLUTShape = "INVERSE" if description.inverted else "IDENTITY"
    (area,) = state.DisplayedAreaSelectionSequence
    area.PresentationPixelAspectRatio = _aspect_ratio(film)


def _composed(modality: LookupTable, voi: LookupTable | VoiWindow | None, description: PixelDescription) -> LookupTable:
    """Make one VOI LUT of a Modality LUT and what follows it: that has 8 or 16 bits here, and films have others."""
    low, high = description.range
    values = modality.apply(np.arange(low, high + 1, dtype=np.float64))
    scaled = np.clip(values / modality.full if voi is None else voi.scaled(values), 0.0, 1.0)
    if scaled.max() < 1.0 and len(scaled) < _FULL:
        # Readers count an entry's bits by the greatest: one that no pixel asks for makes them 16.
        scaled = np.append(scaled, 1.0)
    return LookupTable(low, scaled * _FULL, _FULL)


def _voi(voi: LookupTable | VoiWindow) -> Dataset:
    item = Dataset()
    if isinstance(voi, LookupTable):
        item.VOILUTSequence = [_table(voi)]
        return item
    item.WindowCenter, item.WindowWidth = _decimal(voi.center), _decimal(voi.width)
    function = "LINEAR_EXACT" if voi.width < 1 and voi.function != "SIGMOID" else voi.function
    if function in _FUNCTIONS:
        item.VOILUTFunction = function
    return item


def _table(table: LookupTable) -> Dataset:
    """Write a table (C.11.1.1) as words of 16 bits, all used, whatever the film packs its own in."""
    item = Dataset()
    count = len(table.entries) & _FULL
    signed = table.first < 0
    if signed and count > _FULL // 2:
        count -= _FULL + 1
    words = (table.entries * (_FULL / table.full)).round().astype("<u2")
    descriptor = [count, table.first, _FULL.bit_length()]
    item["LUTDescriptor"] = DataElement("LUTDescriptor", "SS" if signed else "US", descriptor)
    item["LUTData"] = DataElement("LUTData", "OW", words.tobytes())
    return item


def _decimal(value: float) -> DSfloat:
    return DSfloat(value, auto_format=True)


def _aspect_ratio(film: Dataset) -> list[int]:
    """Return the vertical and the horizontal size of the film's pixels, in whole numbers."""
    for keyword in _SPACINGS:
        try:
            vertical, horizontal = (float(part) for part in raw(film, keyword) or ())
        except (Refused, TypeError, ValueError):
            continue
        if vertical > 0 and horizontal > 0 and np.isfinite(vertical / horizontal):
            ratio = vertical / horizontal
            return [1, 1] if abs(ratio - 1.0) < _ROUND else [max(round(1000 * ratio), 1), 1000]
    return [1, 1]
