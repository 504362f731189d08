"""Which image is a frontal chest radiograph we may read, row by row; and the manifest of real files."""

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pneumo_monai.equipment import MANUFACTURER, MODEL_NAME
from pneumo_monai.errors import Reason, Refused
from pneumo_monai.findings import View
from pneumo_monai.gate import check, check_age
from pneumo_monai.instances import read_instance
from pneumo_monai.pixels import read_film
from pneumo_monai.settings import IntendedUse
from tests.films import CR, DX, SC, make_film
from tests.shared import manifest, shared_folder

SILENT: dict[str, Any] = {"BodyPartExamined": None, "ViewPosition": None, "PatientOrientation": None}


def refusal(film: Dataset) -> Refused:
    with pytest.raises(Refused) as caught:
        check(film)
    return caught.value


def reason(film: Dataset) -> Reason:
    return refusal(film).reason


def coded(value: str, scheme: str, meaning: str = "a meaning") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


@pytest.mark.parametrize("sop_class", [CR, DX, SC, "1.2.840.10008.5.1.4.1.1.7.2", "1.2.840.10008.5.1.4.1.1.7.3"])
def test_a_frontal_chest_film_passes(sop_class: str) -> None:
    assert check(make_film(sop_class=sop_class)) is View.PA


@pytest.mark.parametrize(
    ("sop_class", "expected"),
    [
        ("1.2.840.10008.5.1.4.1.1.1.1.1", Reason.FOR_PROCESSING),
        ("1.2.840.10008.5.1.4.1.1.1.2", Reason.MODALITY),  # mammography
        ("1.2.840.10008.5.1.4.1.1.1.3", Reason.MODALITY),  # intra-oral
        ("1.2.840.10008.5.1.4.1.1.2", Reason.MODALITY),  # CT
        ("1.2.840.10008.5.1.4.1.1.4", Reason.MODALITY),  # MR
        ("1.2.840.10008.5.1.4.1.1.6.1", Reason.MODALITY),  # US
        ("1.2.840.10008.5.1.4.1.1.6.2", Reason.MODALITY),  # Enhanced US Volume
        ("1.2.840.10008.5.1.4.1.1.12.1", Reason.MODALITY),  # XA
        ("1.2.840.10008.5.1.4.1.1.128", Reason.MODALITY),  # PET
        ("1.2.840.10008.5.1.4.1.1.7.1", Reason.PIXEL_FORMAT),  # single bit secondary capture
        ("1.2.840.10008.5.1.4.1.1.7.4", Reason.COLOUR),  # true colour secondary capture
        ("1.2.840.10008.5.1.4.1.1.88.34", Reason.NOT_AN_IMAGE),  # Comprehensive 3D SR
        ("1.2.840.10008.5.1.4.1.1.88.59", Reason.NOT_AN_IMAGE),  # KO
        ("1.2.840.10008.5.1.4.1.1.11.1", Reason.NOT_AN_IMAGE),  # GSPS
        ("1.2.840.10008.5.1.4.1.1.104.1", Reason.NOT_AN_IMAGE),  # PDF
        ("1.2.840.10008.5.1.4.1.1.66.4", Reason.NOT_AN_IMAGE),  # SEG
        ("1.2.840.10008.1.1", Reason.SOP_CLASS),  # Verification
        ("1.2.3.4.5", Reason.SOP_CLASS),
        ("1.2.03", Reason.SOP_CLASS),
        ("", Reason.SOP_CLASS),
        ("../../etc", Reason.SOP_CLASS),
    ],
)
def test_other_objects_are_refused(sop_class: str, expected: Reason) -> None:
    found = refusal(make_film(sop_class=sop_class))
    assert found.reason is expected
    assert "(0008,0016)" in found.detail
    assert "etc" not in found.detail


def test_raw_detector_data_is_refused() -> None:
    assert reason(make_film(sop_class=DX, PresentationIntentType="FOR PROCESSING")) is Reason.FOR_PROCESSING


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.parametrize("value", [None, "", "..", "1..2", "../1.2", "1.2/3", ".1", "1.", "a.b", "1" * 65])
def test_an_identity_that_cannot_name_a_file_is_refused(keyword: str, value: str | None) -> None:
    found = refusal(make_film(**{keyword: value}))
    assert found.reason is Reason.MISSING_IDENTITY
    assert value is None or len(value) < 5 or value not in found.detail


@pytest.mark.parametrize("uid", ["999.999.01.23.45.6789", "1", "1.2.840.0010008", "2.25." + "9" * 39])
def test_uids_that_real_equipment_sends_are_kept(uid: str) -> None:
    assert check(make_film(SOPInstanceUID=uid, StudyInstanceUID=uid)) is View.PA


def test_our_own_results_are_refused_before_anything_else() -> None:
    us = Dataset()
    us.Manufacturer, us.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    other = Dataset()
    other.Manufacturer = "Somebody"
    report = make_film(sop_class="1.2.840.10008.5.1.4.1.1.88.34", ContributingEquipmentSequence=[other, us])
    assert reason(report) is Reason.OWN_RESULT
    capture = make_film(Manufacturer=MANUFACTURER, ManufacturerModelName=MODEL_NAME, SOPInstanceUID=None)
    assert reason(capture) is Reason.OWN_RESULT
    assert check(make_film(ContributingEquipmentSequence=[other], Manufacturer=MANUFACTURER)) is View.PA


@pytest.mark.parametrize(
    ("sop_class", "modality", "passes"),
    [
        (CR, "CR", True),
        (CR, "DX", True),
        (DX, "RG", True),
        (CR, None, True),
        (DX, "", True),
        (SC, "CR", True),
        (SC, "DX", True),
        (SC, None, False),
        (SC, "OT", False),
        (SC, "MR", False),
        (CR, "OT", False),
        (CR, "PX", False),
        (DX, "MG", False),
    ],
)
def test_modality(sop_class: str, modality: str | None, passes: bool) -> None:
    film = make_film(sop_class=sop_class, Modality=modality)
    if passes:
        assert check(film) is View.PA
    else:
        assert reason(film) is Reason.MODALITY


@pytest.mark.parametrize(
    "part",
    [
        None,
        "",
        "CHEST",
        "Chest ",
        "THORAX",
        "LUNG",
        "LUNGS",
        "TORAX",
        "TÓRAX",
        "CHEST_PA",
        "PORT CHEST",
        "CHEST 2 VIEWS",
    ],
)
def test_a_chest_by_any_name_or_none(part: str | None) -> None:
    assert check(make_film(BodyPartExamined=part)) is View.PA


@pytest.mark.parametrize(
    "part",
    [
        "RIBCAGE",
        "EXTREMITY",
        "ABDOMEN",
        "CHEST_TO_HIP",
        "CHEST ABDOMEN",
        "TSPINE",
        "HEART",
        "KNEE",
        "UNKNOWN",
        "1",
        "?",
    ],
)
def test_another_body_part(part: str) -> None:
    found = refusal(make_film(BodyPartExamined=part, SeriesDescription="Chest PA"))
    assert found.reason is Reason.BODY_PART
    assert "(0018,0015)" in found.detail


@pytest.mark.parametrize(
    ("codes", "passes"),
    [
        ([coded("816094009", "SCT")], True),
        ([coded("51185008", "SCT")], True),
        ([coded("T-D3000", "SRT")], True),
        ([coded("T-D3000", "SNM3")], True),
        ([coded("39607008", "SCT")], True),
        ([Dataset()], True),
        ([coded("72696002", "SCT", "Knee")], False),
        ([coded("816094009", "99LOCAL")], False),
        ([coded("816094009", "SCT"), coded("818981001", "SCT", "Abdomen")], False),
    ],
)
def test_anatomic_region_speaks_when_body_part_is_silent(codes: list[Dataset], passes: bool) -> None:
    film = make_film(BodyPartExamined="", AnatomicRegionSequence=codes)
    if passes:
        assert check(film) is View.PA
    else:
        assert reason(film) is Reason.BODY_PART


def test_body_part_examined_goes_before_the_anatomic_region() -> None:
    assert check(make_film(AnatomicRegionSequence=[coded("72696002", "SCT")])) is View.PA


@pytest.mark.parametrize(
    ("descriptions", "word"),
    [
        ({"StudyDescription": "MODALITYLUT - TEETH"}, "TEETH"),
        ({"SeriesDescription": "Hand links a.p."}, "HAND"),
        ({"ProtocolName": "knee/2 views"}, "KNEE"),
        ({"SeriesDescription": "ABDOMEN_SUPINE"}, "ABDOMEN"),
        ({"SeriesDescription": "Genou droit de face"}, "GENOU"),
        ({"SeriesDescription": "Columna lumbar"}, "COLUMNA"),
        ({"SeriesDescription": "Ellbogen seitlich"}, "ELLBOGEN"),
        ({"SeriesDescription": "Локоть", "SpecificCharacterSet": "ISO_IR 192"}, "ЛОКОТЬ"),
        ({"SeriesDescription": "Abdomen AP", "StudyDescription": "Chest and abdomen"}, "ABDOMEN"),
    ],
)
def test_descriptions_speak_when_the_codes_are_silent(descriptions: dict[str, str], word: str) -> None:
    found = refusal(make_film(**SILENT, **descriptions))
    assert found.reason is Reason.BODY_PART
    assert word in found.detail


@pytest.mark.parametrize(
    "description",
    [
        "Chest PA",
        "Thorax p.a. im Stehen",
        "Torax y abdomen",
        "No Finding",
        "Cardiomegaly",
        "Handling and shoulders-like words: unterhandelt",
        "PORTABLE",
        "Main",
        "Doe^Jane 1970",
    ],
)
def test_descriptions_that_name_no_other_part(description: str) -> None:
    assert check(make_film(**SILENT, SeriesDescription=description, StudyDescription=description)) is View.NOT_STATED


def test_a_description_never_reaches_the_error() -> None:
    found = refusal(make_film(**SILENT, SeriesDescription="KNEE OF DOE JANE"))
    assert "KNEE" in found.detail
    assert "DOE" not in str(found)


@pytest.mark.parametrize(
    ("position", "view"),
    [
        ("PA", View.PA),
        ("AP", View.AP),
        ("pa ", View.PA),
        ("PA ERECT", View.PA),
        ("AP PORTABLE", View.AP),
        ("AP_SUPINE", View.AP),
        ("P-A", View.PA),
        ("A.P.", View.AP),
        ("POSTERO_ANTERIOR", None),
        ("POSTEROANTERIOR", View.PA),
        ("FRONTAL", View.NOT_STATED),
        ("ERECT", View.NOT_STATED),
        ("AP/PA", View.NOT_STATED),
        ("", View.NOT_STATED),
        (None, View.NOT_STATED),
        ("LL", None),
        ("RL", None),
        ("LATERAL", None),
        ("PA LAT", None),
        ("LLO", None),
        ("RLD", None),
        ("LLD", None),
        ("AP LORDOTIC", None),
        ("OBLIQUE", None),
        ("XX", None),
        ("?", None),
        (["PA", "LL"], None),
    ],
)
def test_view_position(position: Any, view: View | None) -> None:
    film = make_film(ViewPosition=position, PatientOrientation=None)
    if view is None:
        found = refusal(film)
        assert found.reason is Reason.VIEW
        assert "(0018,5101)" in found.detail
    else:
        assert check(film) is view


@pytest.mark.parametrize(
    ("position", "code", "view"),
    [
        (None, ("399348003", "SCT"), View.AP),
        (None, ("272479007", "SCT"), View.PA),
        (None, ("R-10206", "SNM3"), View.AP),
        (None, ("R-10214", "SRT"), View.PA),
        (None, ("399033003", "SCT"), View.NOT_STATED),
        ("ERECT", ("399348003", "SCT"), View.AP),
        ("FRONTAL", ("399348003", "SCT"), View.AP),
        ("PA", ("399348003", "SCT"), View.PA),
        (None, ("399067008", "SCT"), None),  # lateral
        (None, ("399173006", "SCT"), None),  # left lateral
        ("PA", ("399173006", "SCT"), None),
    ],
)
def test_view_code(position: str | None, code: tuple[str, str], view: View | None) -> None:
    film = make_film(ViewPosition=position, ViewCodeSequence=[coded(*code)])
    if view is None:
        assert reason(film) is Reason.VIEW
    else:
        assert check(film) is view


@pytest.mark.parametrize(
    ("orientation", "passes"),
    [
        (["L", "F"], True),
        (["R", "F"], True),
        (["L", "FP"], True),
        (["F", "R"], True),  # turned
        (["", ""], True),
        ("LF", True),
        (["P", "F"], False),
        (["A", "F"], False),
        (["PL", "F"], False),
        (["F", "A"], False),
        (["L", "P"], False),
    ],
)
def test_patient_orientation(orientation: Any, passes: bool) -> None:
    film = make_film(PatientOrientation=orientation)
    if passes:
        assert check(film) is View.PA
    else:
        assert reason(film) is Reason.VIEW
        assert reason(make_film(PatientOrientation=orientation, ViewPosition=None)) is Reason.VIEW


@pytest.mark.parametrize(
    ("position", "view"),
    [
        ("PA", View.PA),
        ("AP", View.AP),
        ("AP SUPINE", View.AP),
        ("HFS", View.NOT_STATED),
        ("FFDL", View.NOT_STATED),
        ("ERECT", View.NOT_STATED),
        ("STANDING", View.NOT_STATED),
        ("SEMI-ERECT", View.NOT_STATED),
        ("SUPINE", View.NOT_STATED),
        ("XX", None),
        ("LL", None),
        ("DECUBITUS", None),
    ],
)
def test_patient_position_speaks_when_view_position_is_silent(position: str, view: View | None) -> None:
    film = make_film(ViewPosition=None, PatientOrientation=None, PatientPosition=position)
    if view is None:
        assert reason(film) is Reason.VIEW
    else:
        assert check(film) is view
    assert check(make_film(ViewPosition="PA", PatientPosition=position)) is View.PA


def test_an_orientation_is_quoted_as_it_is_written() -> None:
    assert refusal(make_film(PatientOrientation=["P", "F"])).detail == r"Patient Orientation (0020,0020) is 'P\F'"


@pytest.mark.parametrize(
    ("series", "passes"),
    [
        ("view: PA", True),
        ("Chest", True),
        ("Chest LAT", False),
        ("CHEST_LATERAL", False),
        ("Thorax seitlich", False),
        ("Thorax LL", False),
        ("Poumon profil", False),
        ("Chest PA and lateral", False),
        ("Lateralised", True),
        ("Chest, default profile", True),
    ],
)
def test_the_series_speaks_of_a_lateral_when_the_view_is_silent(series: str, passes: bool) -> None:
    film = make_film(ViewPosition=None, PatientOrientation=None, SeriesDescription=series)
    if passes:
        assert check(film) is View.NOT_STATED
    else:
        assert reason(film) is Reason.VIEW
    assert check(make_film(ViewPosition="PA", SeriesDescription=series)) is View.PA


def test_a_study_of_two_views_says_nothing_of_this_film() -> None:
    film = make_film(ViewPosition=None, PatientOrientation=None, StudyDescription="XR CHEST PA AND LATERAL")
    assert check(film) is View.NOT_STATED


def test_a_lateral_may_hide_in_the_body_part() -> None:
    assert reason(make_film(**{**SILENT, "BodyPartExamined": "CHEST LAT"})) is Reason.VIEW
    assert check(make_film(BodyPartExamined="CHEST LAT", ViewPosition="PA")) is View.PA


def test_free_text_in_a_coded_attribute_is_not_quoted() -> None:
    found = refusal(make_film(BodyPartExamined="left knee of Jane Doe"))
    assert "Jane" not in str(found)
    assert "no code string" in found.detail


def test_pixels_are_judged_after_the_object_and_before_its_content() -> None:
    knee = make_film(BodyPartExamined="KNEE", PixelData=None)
    assert reason(knee) is Reason.NO_PIXEL_DATA
    mr = make_film(sop_class="1.2.840.10008.5.1.4.1.1.4", PixelData=None)
    assert reason(mr) is Reason.MODALITY
    picture = make_film(sop_class=SC, Modality="OT", PhotometricInterpretation="RGB", SamplesPerPixel=3)
    assert reason(picture) is Reason.COLOUR


NOT_STATED = "Patient age is not stated: the model is meant for patients of 18 years or older."


@pytest.mark.parametrize("age", ["018Y", "054Y", "62", "216M"])
@pytest.mark.parametrize("answer", ["refuse", "flag"])
def test_an_adult_passes_without_a_remark(age: str, answer: Any) -> None:
    film = make_film(PatientAge=age, PatientBirthDate=None)
    assert check_age(film, IntendedUse(younger=answer, age_missing=answer)) is None


@pytest.mark.parametrize("age", ["017Y", "17", "003M", "000Y"])
def test_a_child_is_refused_or_remarked_as_the_site_says(age: str) -> None:
    film = make_film(PatientAge=age)
    with pytest.raises(Refused) as caught:
        check_age(film, IntendedUse())
    assert caught.value.reason is Reason.AGE
    assert caught.value.detail == "Patient's Age (0010,1010) is below 18 years"
    remark = check_age(film, IntendedUse(younger="flag", age_missing="refuse"))
    assert remark == "Patient age is below 18 years: the model is meant for patients of 18 years or older."


@pytest.mark.parametrize("age", [None, "", "148"])
def test_an_age_that_is_not_stated_is_remarked_or_refused_as_the_site_says(age: str | None) -> None:
    film = make_film(PatientAge=age, PatientBirthDate=None)
    assert check_age(film, IntendedUse()) == NOT_STATED
    with pytest.raises(Refused) as caught:
        check_age(film, IntendedUse(age_missing="refuse"))
    assert caught.value.reason is Reason.AGE


def test_the_youngest_age_is_the_site_s() -> None:
    film = make_film(PatientAge="016Y")
    assert check_age(film, IntendedUse(minimum_age=16)) is None
    for age in ("000Y", None):
        silent = make_film(PatientAge=age, PatientBirthDate=None)
        assert check_age(silent, IntendedUse(minimum_age=0, younger="refuse", age_missing="refuse")) is None


MANIFEST_REASONS = {
    "nih-body-part-ribcage.dcm": Reason.BODY_PART,
    "nih-view-position-xx.dcm": Reason.VIEW,
    "leg-jpegls.dcm": Reason.BODY_PART,
    "leg-j2k.dcm": Reason.BODY_PART,
    "leg-jpeg-extended-12bit.dcm": Reason.BODY_PART,
    "leg-rle.dcm": Reason.BODY_PART,
    "nested-sequence.dcm": Reason.UNPARSEABLE,
    "declares-65535-rows.dcm": Reason.TOO_LARGE,
    "html-page.dcm": Reason.UNPARSEABLE,
    "mr-truncated.dcm": Reason.MODALITY,
    "dx-no-pixels.dcm": Reason.NO_PIXEL_DATA,
    "panoramic-modality-lut.dcm": Reason.BODY_PART,
    "sc-rgb-rle.dcm": Reason.COLOUR,
    "sc-rgb-big-endian.dcm": Reason.COLOUR,
    "ot-deflated.dcm": Reason.MODALITY,
}
MANIFEST_VIEWS = {
    "rsna-original.dcm": View.PA,
    "rsna-original-monochrome1.dcm": View.PA,
    "chest-philips-15bit-mono1-j2k.dcm": View.PA,
    "chest-fuji-10bit-mono1.dcm": View.PA,
    "chest-nih-8bit-implicit.dcm": View.PA,
    "chest-nih-8bit-implicit-2.dcm": View.AP,
}


@pytest.mark.rsna
@pytest.mark.parametrize(
    "row", [row for row in manifest() if row["expect"] in {"analyse", "refuse"}], ids=lambda row: row["file"]
)
def test_the_manifest_of_real_files(row: dict[str, str]) -> None:
    file = shared_folder("dicom") / row["file"]
    if row["expect"] == "analyse":
        film = read_instance(file)
        assert check(film) is MANIFEST_VIEWS[row["file"]]
        is_silent = row["file"] == "chest-fuji-10bit-mono1.dcm"
        assert check_age(film, IntendedUse()) == (NOT_STATED if is_silent else None)
        shown = read_film(film)
        assert shown.shape == (film.Rows, film.Columns)
        assert 0.0 <= shown.min() < shown.max() <= 1.0
    else:
        with pytest.raises(Refused) as caught:
            check(read_instance(file))
        assert caught.value.reason is MANIFEST_REASONS[row["file"]]


@pytest.mark.rsna
def test_monochrome1_of_the_manifest_is_the_negative() -> None:
    folder = shared_folder("dicom")
    positive = read_film(read_instance(folder / "rsna-original.dcm"))
    negative = read_film(read_instance(folder / "rsna-original-monochrome1.dcm"))
    np.testing.assert_array_equal(negative, np.float32(1) - positive)
