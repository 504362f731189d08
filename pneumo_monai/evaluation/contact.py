"""The most confident errors as a contact sheet: each film, and beside it the film with map and boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from pneumo_monai.errors import PneumoMonaiError
from pneumo_monai.evaluation.cases import CaseReading
from pneumo_monai.instances import read_instance
from pneumo_monai.overlay import tinted
from pneumo_monai.pixels import read_film

__all__ = ["SHOWN", "Tile", "confident_errors", "tiles"]

SHOWN = 8
"""Errors of each kind that the sheet shows."""

_HEIGHT = 300
_BOX = (80, 220, 255)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """One error: its reading and its picture, a JPEG."""

    reading: CaseReading
    picture: bytes


def confident_errors(
    readings: Sequence[CaseReading], count: int = SHOWN
) -> tuple[list[CaseReading], list[CaseReading]]:
    """Return false positives, the highest probability first, and false negatives, the lowest first."""
    false_positive = [one for one in readings if one.finding.present and one.case.target == 0]
    false_negative = [one for one in readings if not one.finding.present and one.case.target == 1]
    false_positive.sort(key=lambda one: (-one.probability, one.case.identifier))
    false_negative.sort(key=lambda one: (one.probability, one.case.identifier))
    return false_positive[:count], false_negative[:count]


def tiles(readings: Sequence[CaseReading]) -> list[Tile]:
    """Draw a tile for each reading; the film is read once more, and left out if it is gone by now."""
    drawn = []
    for reading in readings:
        try:
            drawn.append(Tile(reading=reading, picture=_picture(reading)))
        except (OSError, PneumoMonaiError):
            continue
    return drawn


def _picture(reading: CaseReading) -> bytes:
    film = read_film(read_instance(reading.case.path))
    rows, columns = film.shape
    scale = _HEIGHT / rows
    size = max(round(columns * scale), 1), _HEIGHT
    plain = Image.fromarray((film * 255.0).round().astype(np.uint8)).convert("RGB")
    plain = plain.resize(size, Image.Resampling.LANCZOS)
    marked = Image.fromarray(tinted(film, reading.finding)).resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(marked)
    for x, y, width, height in reading.case.boxes:
        pen.rectangle([x * scale, y * scale, (x + width) * scale, (y + height) * scale], outline=_BOX, width=2)
    pair = Image.new("RGB", (2 * size[0] + 2, _HEIGHT), (255, 255, 255))
    pair.paste(plain, (0, 0))
    pair.paste(marked, (size[0] + 2, 0))
    file = BytesIO()
    pair.save(file, "JPEG", quality=80, optimize=True)
    return file.getvalue()
