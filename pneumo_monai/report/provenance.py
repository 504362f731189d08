"""Who made an instance, when, and of whom: what every form of a result carries alike."""

from highdicom import ContributingEquipment
from pydicom.dataset import Dataset

from pneumo_monai.attributes import text
from pneumo_monai.equipment import MANUFACTURER, MODEL_NAME, SOFTWARE_VERSION
from pneumo_monai.forms import Form
from pneumo_monai.report import codes
from pneumo_monai.report.inheritance import inherit
from pneumo_monai.report.result import Result
from pneumo_monai.report.wording import name_in_ascii

__all__ = ["SERIES_DESCRIPTIONS", "SERIES_NUMBERS", "stamp"]

SERIES_NUMBERS = {form: 9001 + place for place, form in enumerate(Form)}
"""Series Number (0020,0011): beyond what modalities count to, so that viewers list results after the images."""

_PARTS = {
    Form.SR_COMPREHENSIVE_3D: "finding",
    Form.SR_COMPREHENSIVE: "finding, 2D",
    Form.SR_TEXT: "report, text",
    Form.SECONDARY_CAPTURE: "picture",
    Form.PRESENTATION_STATE: "outline",
    Form.KEY_OBJECTS: "key films",
    Form.PDF: "report, PDF",
    Form.REJECTION_NOTE: "withdrawn",
}
SERIES_DESCRIPTIONS = {form: f"Pneumonia {part} (research use), {MANUFACTURER}" for form, part in _PARTS.items()}
"""Series Description (0008,103E), what a viewer's list of series shows: what it is first, for lists are narrow and cut
it after some twenty letters."""


def stamp(instance: Dataset, result: Result, form: Form) -> None:
    """Write equipment, contributing equipment, dates, timezone, patient and study into an instance.

    What it carries of these is replaced. Its own texts must be in ASCII, for it gets the character set of the film.

    Parameters
    ----------
    instance : Dataset
        With its SOP Class, series and content.
    result : Result
        What it is an instance of.
    form : Form
        In which form.
    """
    moment = result.moment
    instance.Manufacturer = MANUFACTURER
    instance.ManufacturerModelName = MODEL_NAME
    instance.SoftwareVersions = SOFTWARE_VERSION
    instance.SeriesNumber = SERIES_NUMBERS[form]
    instance.SeriesDescription = SERIES_DESCRIPTIONS[form]
    instance.ContentDate, instance.ContentTime = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S.%f")
    instance.InstanceCreationDate, instance.InstanceCreationTime = instance.ContentDate, instance.ContentTime
    instance.TimezoneOffsetFromUTC = f"{moment:%z}"
    _date_series(instance, next(iter(result.superseded.get(form, ())), None))
    instance.ContributingEquipmentSequence = [_contribution(result)]
    inherit(result.films[0], instance)


def _date_series(instance: Dataset, predecessor: Dataset | None) -> None:
    """Date the series, not the instance: Series Date and Time (0008,0021) (0008,0031) are one for all its revisions."""
    dated = instance if predecessor is None else predecessor
    date, time = ("ContentDate", "ContentTime") if predecessor is None else ("SeriesDate", "SeriesTime")
    same_series = text(dated, "SeriesInstanceUID") == instance.SeriesInstanceUID
    same_timezone = text(dated, "TimezoneOffsetFromUTC") == instance.TimezoneOffsetFromUTC
    if same_series and same_timezone and text(dated, date) and text(dated, time):
        instance.SeriesDate, instance.SeriesTime = text(dated, date), text(dated, time)


def _contribution(result: Result) -> ContributingEquipment:
    """Return the item of Contributing Equipment Sequence (0018,A001) that the tree's observer and algorithm repeat."""
    model = result.outcome.model
    item = ContributingEquipment(
        manufacturer=MANUFACTURER,
        manufacturer_model_name=name_in_ascii(model.name),
        software_versions=name_in_ascii(model.version),
        purpose_of_reference=codes.PROCESSING_EQUIPMENT,
    )
    item.DeviceUID = result.device_uid
    return item
