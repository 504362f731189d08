"""What is said of a film as one picture: banner, film with heat map and outline, and the words under it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pneumo_monai.findings import FilmFinding, StudyFindings
from pneumo_monai.overlay import key_of_tint, tinted
from pneumo_monai.region import finding_region
from pneumo_monai.report.lines import BANNER, describe_film, describe_origin
from pneumo_monai.report.result import Result

__all__ = ["draw_film", "draw_result", "finding_on"]

_SIDE = 1024
"""Pixels of the film's longer side: with the words under it, what a viewer shows about full size."""

_LEAST_WIDTH = 768
"""Pixels that the words need, however narrow the film is."""

_Colour = tuple[int, int, int]
_BACKGROUND: _Colour = (18, 18, 18)
_WHITE: _Colour = (255, 255, 255)
_GREY: _Colour = (205, 205, 205)
_YELLOW: _Colour = (255, 208, 96)
_CYAN: _Colour = (80, 220, 255)
_MARGIN, _GAP, _OUTLINE = 20, 10, 3
_BANNER, _HEADLINE, _BODY = 28, 38, 24
"""Heights of letters in pixels: at half the picture's size the smallest is still read."""


def draw_result(result: Result, uid: str) -> Image.Image:
    """Draw what a result says of one of its films.

    Parameters
    ----------
    result : Result
        With the picture of that film.
    uid : str
        SOP Instance UID of the film.

    Returns
    -------
    PIL.Image.Image
        RGB, its longer side between 1024 and about 1500 pixels.
    """
    lines = describe_film(result, uid)
    finding = finding_on(result, uid)
    film = draw_film(result.pictures[uid], finding)
    width = max(film.width, _LEAST_WIDTH)
    marked = finding is not None and finding.present
    words = _wrapped(
        [
            (lines.headline, _HEADLINE, _WHITE),
            *((line, _BODY, _GREY) for line in (*lines.details, *describe_origin(result))),
        ],
        width - 2 * _MARGIN,
    )
    banner = _BANNER + 2 * _GAP
    height = banner + film.height + _MARGIN + sum(size + _GAP for _, size, _ in words) + _MARGIN
    canvas = Image.new("RGB", (width, height + (_BODY + _GAP if marked else 0)), _BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    pen.text((width / 2, _GAP), BANNER, fill=_YELLOW, font=ImageFont.load_default(_BANNER), anchor="ma")
    canvas.paste(film, ((width - film.width) // 2, banner))
    top = banner + film.height + _GAP
    if marked:
        _draw_legend(canvas, top)
        top += _BODY + _GAP
    for text, size, colour in words:
        pen.text((_MARGIN, top), text, fill=colour, font=ImageFont.load_default(size))
        top += size + _GAP
    return canvas


def draw_film(film: NDArray[np.float32], finding: FilmFinding | None = None) -> Image.Image:
    """Draw a film with what was found on it; where the finding is absent or unknown, the film alone.

    A heat map is drawn relative to its own maximum: on a film without the finding it would colour what is nothing.

    Parameters
    ----------
    film : numpy.ndarray
        Displayed values, (H, W) float32 in [0, 1].
    finding : FilmFinding, optional
        What was found on it.

    Returns
    -------
    PIL.Image.Image
        RGB, the longer side 1024 pixels.
    """
    rows, columns = film.shape
    scale = _SIDE / max(rows, columns)
    size = max(round(columns * scale), 1), max(round(rows * scale), 1)
    grey = Image.fromarray((film * np.float32(255.0)).round().astype(np.uint8)).resize(size, Image.Resampling.LANCZOS)
    if finding is None or not finding.present:
        return grey.convert("RGB")
    drawn = Image.fromarray(tinted(np.asarray(grey, dtype=np.float32) / np.float32(255.0), finding))
    outline = finding_region(finding) * (size[0] / columns, size[1] / rows)
    ImageDraw.Draw(drawn).line([tuple(point) for point in outline.tolist()], fill=_CYAN, width=_OUTLINE, joint="curve")
    return drawn


def finding_on(result: Result, uid: str) -> FilmFinding | None:
    """Return what a result found on one of its films; None where it is no finding."""
    if not isinstance(result.outcome, StudyFindings):
        return None
    return next(film for film in result.outcome.films if film.sop_instance_uid == uid)


def _draw_legend(canvas: Image.Image, top: int) -> None:
    """Say what the colours are: the line, and the scale of the heat map."""
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(_BODY - 4)
    middle, x = top + _BODY // 2, _MARGIN
    pen.line([(x, middle), (x + 40, middle)], fill=_CYAN, width=_OUTLINE)
    x += 50
    for text in ("region of the finding", "support on this film: none"):
        pen.text((x, middle), text, fill=_GREY, font=font, anchor="lm")
        x += round(font.getlength(text)) + (40 if text.startswith("region") else 10)
    canvas.paste(Image.fromarray(key_of_tint(_BODY - 6, 160)), (x, middle - _BODY // 2 + 3))
    pen.text((x + 170, middle), "highest", fill=_GREY, font=font, anchor="lm")


def _wrapped(paragraphs: Sequence[tuple[str, int, _Colour]], width: int) -> list[tuple[str, int, _Colour]]:
    """Break paragraphs into lines that fit; a word that does not fit alone stays whole."""
    lines = []
    for text, size, colour in paragraphs:
        font = ImageFont.load_default(size)
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append((line, size, colour))
                longer = word
            line = longer
        lines.append((line, size, colour))
    return lines
