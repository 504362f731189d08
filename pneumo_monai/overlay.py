"""A picture for a person: the film, and beside it the film with its class activation map."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pneumo_monai.findings import FilmFinding, OperatingPoint

__all__ = ["RESEARCH_NOTICE", "draw_finding", "spread", "tinted"]

RESEARCH_NOTICE = "For research use only. Not a medical device."

_HEIGHT = 720
_BANNER = 92
_AMBER = np.array([255.0, 176.0, 32.0], dtype=np.float32)
_STRONGEST = 0.45
"""Share of the overlay's colour where the map is highest: the film stays readable underneath."""


def spread(finding: FilmFinding) -> NDArray[np.float32]:
    """Spread a class activation map over the film it belongs to: (rows, columns) float32, in logits as before.

    Outside of what the network saw it is 0.
    """
    geometry = finding.geometry
    window, rows, columns = geometry.window, geometry.rows, geometry.columns
    square = Image.fromarray(finding.activation.astype(np.float32)).resize((window.side,) * 2, Image.Resampling.BICUBIC)
    canvas = Image.new("F", (columns, rows))
    canvas.paste(square, (window.left, window.top))
    return np.asarray(canvas, dtype=np.float32)


def tinted(film: NDArray[np.float32], finding: FilmFinding) -> NDArray[np.uint8]:
    """Tint a film (H, W) amber where its map speaks for pneumonia: (H, W, 3) uint8."""
    grey = np.repeat(film[..., None] * 255.0, 3, axis=2)
    weight = _weight(spread(finding))[..., None]
    blended: NDArray[np.float32] = grey * (1.0 - weight) + _AMBER * weight
    return blended.round().astype(np.uint8)


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
    lines = (
        (22, (255, 255, 255), f"Pneumonia {assessment}, probability {finding.probability:.4f} ({finding.view})"),
        (15, (190, 190, 190), f"{operating_point.name}: present at {operating_point.threshold:.4f} or more"),
        (15, (255, 200, 90), f"{RESEARCH_NOTICE} Amber: where the network found support, the more, the stronger."),
    )
    y = 8
    for size, colour, line in lines:
        pen.text((12, y), line, fill=colour, font=ImageFont.load_default(size))
        y += size + 9
    return canvas


def _weight(activation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the share of colour: only what speaks for pneumonia gets any, relative to the map's highest value."""
    support = np.clip(activation, 0.0, None)
    highest = float(support.max())
    return np.zeros_like(support) if highest <= 0.0 else support / np.float32(highest) * np.float32(_STRONGEST)
