"""A result as one page of PDF whose text can be searched; the only module that knows reportlab."""

from importlib.resources import files
from io import BytesIO
from math import ceil, sqrt
from xml.sax.saxutils import escape

from PIL import Image
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

from pneumo_monai.equipment import MANUFACTURER, MODEL_NAME, SOFTWARE_VERSION
from pneumo_monai.findings import FilmFinding
from pneumo_monai.report.impression import impression
from pneumo_monai.report.lines import BANNER, describe_film, describe_origin
from pneumo_monai.report.picture import draw_film, finding_on
from pneumo_monai.report.result import Result

__all__ = ["render_page"]

_FONT = "Vera"
"""Comes with reportlab, and is embedded: a page looks the same everywhere."""

_WIDTH, _HEIGHT = A4
_MARGIN, _GAP = 42.0, 10.0
_INNER = _WIDTH - 2 * _MARGIN
_INK, _FAINT, _WARNING = HexColor(0x1A1A1A), HexColor(0x5A5A5A), HexColor(0x9A5B00)
_QUALITY = 90

_BANNER = ParagraphStyle("banner", fontName=_FONT, fontSize=11, leading=15, textColor=_WARNING, alignment=TA_CENTER)
_TITLE = ParagraphStyle("title", fontName=_FONT, fontSize=16, leading=22, textColor=_INK)
_SAID = ParagraphStyle("said", fontName=_FONT, fontSize=13, leading=18, textColor=_INK)
_BODY = ParagraphStyle("body", fontName=_FONT, fontSize=9.5, leading=13.5, textColor=_INK)
_SMALL = ParagraphStyle("small", fontName=_FONT, fontSize=7.5, leading=10.5, textColor=_FAINT)

_LEGEND = "Blue line: region of the finding. Amber: what supports it, the stronger the more, on each film by itself."


def render_page(result: Result) -> bytes:
    """Render what a result says of its study: the impression, every film with a picture, and where it comes from.

    Nothing on it names the patient; a film may have a name burned in. The same result gives the same bytes: no date of
    making stands in the file.

    Returns
    -------
    bytes
        A PDF of one A4 page.

    Raises
    ------
    ValueError
        An assessment contradicts its operating point.
    """
    pdfmetrics.registerFont(TTFont(_FONT, BytesIO(files("reportlab.fonts").joinpath("Vera.ttf").read_bytes())))
    stream = BytesIO()
    canvas = Canvas(stream, pagesize=A4, pageCompression=1, invariant=1, lang="en")
    canvas.setTitle(f"Chest radiograph: {MODEL_NAME}")
    canvas.setAuthor(MANUFACTURER)
    canvas.setCreator(f"{MODEL_NAME} {SOFTWARE_VERSION}")
    canvas.setSubject(BANNER)
    top = _write(canvas, BANNER, _BANNER, _HEIGHT - _MARGIN)
    top = _write(canvas, "Chest radiograph read by a model", _TITLE, top - _GAP)
    said, stop, more = impression(result.outcome).partition(". ")
    top = _write(canvas, said + stop, _SAID, top - _GAP)
    top = _write(canvas, more, _BODY, top - _GAP / 2)
    if any(finding is not None and finding.present for finding in _findings(result)):
        top = _write(canvas, _LEGEND, _SMALL, top - _GAP / 2)
    origin = [*describe_origin(result), f"{MODEL_NAME} {SOFTWARE_VERSION}. {BANNER}"]
    bottom = _MARGIN + sum(_height(line, _SMALL, _INNER) for line in origin)
    below = bottom
    for line in origin:
        below = _write(canvas, line, _SMALL, below)
    _draw_films(canvas, result, top - _GAP, bottom + _GAP)
    canvas.showPage()
    canvas.save()
    return stream.getvalue()


def _findings(result: Result) -> list[FilmFinding | None]:
    return [finding_on(result, uid) for uid in result.outcome.film_uids]


def _write(
    canvas: Canvas, text: str, style: ParagraphStyle, top: float, left: float = _MARGIN, width: float = _INNER
) -> float:
    """Write a paragraph below a height; return where it ends."""
    paragraph = Paragraph(escape(text), style)
    _, height = paragraph.wrap(width, _HEIGHT)
    paragraph.drawOn(canvas, left, top - height)
    return float(top - height)


def _height(text: str, style: ParagraphStyle, width: float) -> float:
    return float(Paragraph(escape(text), style).wrap(width, _HEIGHT)[1])


def _draw_films(canvas: Canvas, result: Result, top: float, bottom: float) -> None:
    """Draw the films in rows, as large as they fit, each with what is said of it."""
    uids = result.outcome.film_uids
    columns = ceil(sqrt(len(uids)))
    width = (_INNER - (columns - 1) * _GAP) / columns
    height = (top - bottom) / ceil(len(uids) / columns)
    for place, uid in enumerate(uids):
        row, column = divmod(place, columns)
        left, upper = _MARGIN + column * (width + _GAP), top - row * height
        lines = describe_film(result, uid)
        caption = [(lines.headline, _BODY), (" ".join(lines.details), _SMALL)]
        room = height - sum(_height(text, style, width) for text, style in caption) - 2 * _GAP
        if uid in result.pictures:
            picture = draw_film(result.pictures[uid], finding_on(result, uid))
            upper = _draw(canvas, picture, (left, upper), (width, room))
        for text, style in caption:
            upper = _write(canvas, text, style, upper, left, width)


def _draw(canvas: Canvas, picture: Image.Image, corner: tuple[float, float], room: tuple[float, float]) -> float:
    """Draw a picture below and right of a corner, in the room that there is; return where it ends."""
    scale = min(room[0] / picture.width, room[1] / picture.height)
    if scale <= 0:
        return corner[1]
    width, height = picture.width * scale, picture.height * scale
    encoded = BytesIO()
    picture.save(encoded, "JPEG", quality=_QUALITY)
    encoded.seek(0)
    canvas.drawImage(ImageReader(encoded), corner[0], corner[1] - height, width, height)
    return corner[1] - height - _GAP / 2
