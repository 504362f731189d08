"""A picture for a person: the film, and beside it the film with its class activation map."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pneumo_monai.findings import FilmFinding, OperatingPoint
from pneumo_monai.report.wording import RESEARCH_USE, in_percent, shown_percentage, shown_threshold

__all__ = ["draw_finding", "key_of_tint", "spread", "tinted"]

_HEIGHT = 720
_BANNER = 92
_AMBER = np.array([255.0, 176.0, 32.0], dtype=np.float32)
_STRONGEST = 0.45
"""Share of the overlay's colour where the map is highest: the film stays readable underneath."""


def spread(finding: FilmFinding, size: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """Spread a class activation map over the film it belongs to, in logits as before.

    Outside of what the network saw, and outside of the lungs where the film was cut to them, it is 0.

    Parameters
    ----------
    finding : FilmFinding
        With its map, and where that lies on the film.
    size : tuple of int, optional
        Rows and columns of the film as it is drawn; by default those that it has.

    Returns
    -------
    numpy.ndarray
        (H, W) float32 of that size.
    """
    rows, columns = size or (finding.geometry.rows, finding.geometry.columns)
    over_film = _over_film(finding.activation, finding, (rows, columns), Image.Resampling.BICUBIC)
    if finding.lungs is None:
        return over_film
    return over_film * _over_film(finding.lungs, finding, (rows, columns), Image.Resampling.BILINEAR)


def tinted(film: NDArray[np.float32], finding: FilmFinding) -> NDArray[np.uint8]:
    """Tint a film (H, W), drawn at any size, amber where its map speaks for pneumonia: (H, W, 3) uint8."""
    return _blended(film, _weight(spread(finding, film.shape)))


def key_of_tint(rows: int, columns: int, grey: float = 0.35) -> NDArray[np.uint8]:
    """Draw the scale of `tinted` over one grey, from no support on the left to the map's highest on the right."""
    weight = np.broadcast_to(np.linspace(0.0, _STRONGEST, columns, dtype=np.float32), (rows, columns))
    return _blended(np.full((rows, columns), grey, dtype=np.float32), weight)


def draw_finding(film: NDArray[np.float32], finding: FilmFinding, operating_point: OperatingPoint) -> Image.Image:
    """Draw the film, the film with the map, and a banner with the assessment and the research-use notice.

    Parameters
    ----------
    film : numpy.ndarray
        (H, W) float32 in [0, 1].
    finding : FilmFinding
        Its finding.
    operating_point : OperatingPoint
        Named in the banner.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    rows, columns = film.shape
    grey = np.repeat(film[..., None] * 255.0, 3, axis=2)
    picture = Image.fromarray(np.concatenate([grey.round().astype(np.uint8), tinted(film, finding)], axis=1))
    picture = picture.resize((round(2 * columns * _HEIGHT / rows), _HEIGHT), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (picture.width, _HEIGHT + _BANNER), (18, 18, 18))
    canvas.paste(picture, (0, _BANNER))
    pen = ImageDraw.Draw(canvas)
    assessment = "present" if finding.present else "absent"
    shown = shown_percentage(finding.probability, threshold=operating_point.threshold, present=finding.present)
    threshold = shown_threshold(operating_point.threshold, shown, present=finding.present)
    lines = (
        (22, (255, 255, 255), f"Pneumonia {assessment}, probability {in_percent(shown)} ({finding.view})"),
        (15, (190, 190, 190), f"{operating_point.name}: present at {in_percent(threshold)} or more"),
        (15, (255, 200, 90), f"{RESEARCH_USE} Amber: where the network found support, the more, the stronger."),
    )
    y = 8
    for size, colour, line in lines:
        pen.text((12, y), line, fill=colour, font=ImageFont.load_default(size))
        y += size + 9
    return canvas


def _blended(film: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.uint8]:
    grey = np.repeat(film[..., None] * np.float32(255.0), 3, axis=2)
    blended: NDArray[np.float32] = grey + (_AMBER - grey) * weight[..., None]
    return blended.round().astype(np.uint8)


def _over_film(
    square: NDArray[np.float32] | NDArray[np.bool_],
    finding: FilmFinding,
    size: tuple[int, int],
    resampling: Image.Resampling,
) -> NDArray[np.float32]:
    """Lay what belongs to the square that the network saw over the film, drawn as (rows, columns), 0 outside of it."""
    geometry, (rows, columns) = finding.geometry, size
    window, cells = geometry.window, square.shape[0]
    # Pillow asks for the way back: from a pixel of the drawn film to a cell of the square.
    cell = cells / window.side
    across, down = cell * geometry.columns / columns, cell * geometry.rows / rows
    left, top = -window.left * cell, -window.top * cell
    drawn = Image.fromarray(square.astype(np.float32)).transform(
        (columns, rows), Image.Transform.AFFINE, (across, 0, left, 0, down, top), resampling
    )
    return np.asarray(drawn, dtype=np.float32)


def _weight(activation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the share of colour: only what speaks for pneumonia gets any, relative to the map's highest value."""
    support = np.clip(activation, 0.0, None)
    highest = float(support.max())
    return np.zeros_like(support) if highest <= 0.0 else support / np.float32(highest) * np.float32(_STRONGEST)
