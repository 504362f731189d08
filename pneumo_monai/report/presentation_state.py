"""A result on the film itself: one Grayscale Softcopy Presentation State for each film (PS3.3 A.33.1)."""

from collections.abc import Iterator, Sequence

import numpy as np
from highdicom.color import CIELabColor
from highdicom.pr import (
    AnnotationUnitsValues,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GraphicTypeValues,
    GrayscaleSoftcopyPresentationState,
    TextJustificationValues,
    TextObject,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pneumo_monai.equipment import MANUFACTURER, MODEL_NAME, SOFTWARE_VERSION
from pneumo_monai.errors import Broken, Refused
from pneumo_monai.findings import StudyFindings
from pneumo_monai.forms import Form
from pneumo_monai.region import finding_region
from pneumo_monai.report import codes
from pneumo_monai.report.display import repeat_display
from pneumo_monai.report.instance import instance_number, place_series
from pneumo_monai.report.lines import BANNER, FilmLines, describe_film
from pneumo_monai.report.picture import finding_on
from pneumo_monai.report.provenance import SERIES_NUMBERS, stamp
from pneumo_monai.report.result import Result

__all__ = ["build_presentation_states"]

_LABEL = "PNEUMONIA"
"""Content Label (0070,0080), by which a viewer lists the state, and the name of its only layer: a Code String."""

_LAYER = GraphicLayer(
    layer_name=_LABEL,
    order=1,
    description="Result of a model, research use only",
    display_color=CIELabColor.from_rgb(80, 220, 255),
)
_TOP, _BOTTOM = (0.02, 0.02, 0.98, 0.07), (0.02, 0.93, 0.98, 0.98)
"""Where words stand that belong to no place on the film: left, top, right, bottom of what is displayed."""

_LINE = 0.04
"""Height of a line of words, as a share of the film's."""

_SHORT_TEXT = 1024
"""Characters that Unformatted Text Value (0070,0006) holds (PS3.5 table 6.2-1)."""


def build_presentation_states(result: Result) -> Sequence[Dataset]:
    """Build a state for each film: the region and the assessment, or only words where there is no region.

    Grey levels stay what they are, see `repeat_display`. On a film without the finding, and of a study that was refused
    or whose result is withdrawn, there are words only.

    Parameters
    ----------
    result : Result
        What is said, of which films.

    Returns
    -------
    sequence of Dataset
        One instance for each film of the outcome, in their order; none for what is not one grey frame, which no such
        state can be of.

    Raises
    ------
    ValueError
        An assessment contradicts its operating point.
    """
    return list(_states(result))


def _states(result: Result) -> Iterator[Dataset]:
    for uid in result.outcome.film_uids:
        try:
            state, film = _state(result, uid), result.sources[uid]
            repeat_display(film, state)
        except (Broken, Refused):
            continue
        place_series(film, state)
        stamp(state, result, Form.PRESENTATION_STATE)
        state.PresentationCreationDate, state.PresentationCreationTime = state.ContentDate, state.ContentTime
        # The standard calls them by these names here, and knows no others.
        del state.ContentDate, state.ContentTime
        yield state


def _state(result: Result, uid: str) -> GrayscaleSoftcopyPresentationState:
    film = result.reference(uid)
    film.SamplesPerPixel = 1
    lines = describe_film(result, uid)
    region = _region(result, uid)
    annotation = GraphicAnnotation(
        referenced_images=[film],
        graphic_layer=_LAYER,
        graphic_objects=None if region is None else [_outline(result, uid, region)],
        text_objects=[
            _on_top(result, lines) if region is None else _beside(lines.headline, region, film),
            _text(BANNER, _BOTTOM),
        ],
    )
    return GrayscaleSoftcopyPresentationState(
        referenced_images=[film],
        series_instance_uid=result.series_uid(Form.PRESENTATION_STATE),
        series_number=SERIES_NUMBERS[Form.PRESENTATION_STATE],
        sop_instance_uid=result.instance_uid(Form.PRESENTATION_STATE, uid),
        instance_number=instance_number(result, uid),
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=SOFTWARE_VERSION,
        device_serial_number=None,  # type: ignore[arg-type]  # software has none, and the class it is given to allows that
        content_label=_LABEL,
        content_description=lines.headline[:64],
        graphic_annotations=[annotation],
        graphic_layers=[_LAYER],
    )


def _region(result: Result, uid: str) -> NDArray[np.float64] | None:
    finding = finding_on(result, uid)
    return finding_region(finding) if finding is not None and finding.present else None


def _outline(result: Result, uid: str, region: NDArray[np.float64]) -> GraphicObject:
    return GraphicObject(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=region,
        units=AnnotationUnitsValues.PIXEL,
        tracking_id=f"{codes.TRACKED}{uid}",
        tracking_uid=result.tracking_uid(uid, codes.PNEUMONIA.value),
    )


def _on_top(result: Result, lines: FilmLines) -> TextObject:
    """Write what is said without a region; why, where nothing was assessed."""
    why = () if isinstance(result.outcome, StudyFindings) else lines.details
    return _text(". ".join((lines.headline, " ".join(why))) if why else lines.headline, _TOP)


def _beside(words: str, region: NDArray[np.float64], film: Dataset) -> TextObject:
    """Write above the region, below it where there is no room."""
    line = _LINE * film.Rows
    left, top = (float(edge) for edge in region.min(axis=0))
    bottom = float(region[:, 1].max())
    start = top - line if top >= line else min(bottom, film.Rows - line)
    right = float(film.Columns)
    box = (min(left, 0.5 * right), start, right, start + line)
    return _text(words, box, AnnotationUnitsValues.PIXEL)


def _text(
    words: str,
    box: tuple[float, float, float, float],
    units: AnnotationUnitsValues = AnnotationUnitsValues.DISPLAY,
) -> TextObject:
    return TextObject(
        text_value=words[:_SHORT_TEXT],
        units=units,
        bounding_box=box,
        text_justification=TextJustificationValues.LEFT,
    )
