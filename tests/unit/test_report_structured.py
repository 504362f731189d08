"""The structured report, read back through highdicom's own filters."""

from datetime import datetime, timedelta, timezone
from io import BytesIO

import numpy as np
import pytest
from highdicom.sr import MeasurementReport, PlanarROIMeasurementsAndQualitativeEvaluations, srread
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dictionary

from pneumo_monai.equipment import MANUFACTURER, names_us
from pneumo_monai.errors import Broken
from pneumo_monai.findings import ModelIdentity, OperatingPoint, View
from pneumo_monai.forms import Form
from pneumo_monai.region import finding_region
from pneumo_monai.report import codes
from pneumo_monai.report.encode import encode
from pneumo_monai.report.provenance import SERIES_DESCRIPTIONS, SERIES_NUMBERS
from pneumo_monai.report.result import Result
from pneumo_monai.report.wording import RESEARCH_USE, as_sentence, in_ascii, name_in_ascii, shown_percentage
from tests.films import CR, DX, SC, make_film
from tests.reports import ANALYSED_AT, MODEL, OPERATING_POINT, find_on, read_back, report_of, report_on


def tree(report: Dataset) -> MeasurementReport:
    content = srread(BytesIO(encode(report))).content
    assert isinstance(content, MeasurementReport)
    return content


def groups(report: Dataset) -> list[PlanarROIMeasurementsAndQualitativeEvaluations]:
    return tree(report).get_planar_roi_measurement_groups()


def source_of(group: PlanarROIMeasurementsAndQualitativeEvaluations) -> str:
    return group.roi.ContentSequence[0].referenced_sop_instance_uid


def texts(item: Dataset, name: object) -> list[str]:
    return [child.TextValue for child in item.ContentSequence if child.name == name and child.ValueType == "TEXT"]


@pytest.mark.parametrize("sop_class", [CR, DX, SC])
@pytest.mark.parametrize(("probability", "assessment"), [(0.8, codes.PRESENT), (0.1, codes.ABSENT)])
def test_one_film_gives_one_group_with_all_that_was_found(sop_class, probability, assessment):
    film = make_film(sop_class=sop_class)
    (group,) = groups(report_on(film, probabilities=[probability]))

    assert group.finding_type == codes.PNEUMONIA
    (measurement,) = group.get_measurements(name=codes.PROBABILITY)
    assert measurement.value == pytest.approx(100 * probability)
    assert measurement.unit == codes.PERCENT
    (evaluation,) = group.get_qualitative_evaluations(name=codes.PNEUMONIA)
    assert evaluation.value == assessment
    (source,) = group.roi.ContentSequence
    assert source.RelationshipType == "SELECTED FROM"
    assert source.referenced_sop_instance_uid == film.SOPInstanceUID
    assert source.referenced_sop_class_uid == sop_class


@pytest.mark.parametrize("probability", [0.8, 0.1])
@pytest.mark.parametrize(("rows", "columns"), [(64, 48), (48, 64)])
def test_region_is_an_outline_on_the_film(rows, columns, probability):
    film = make_film(rows=rows, columns=columns)
    (group,) = groups(report_on(film, probabilities=[probability]))
    (finding,) = find_on([film], [probability]).films
    assert group.reference_type == codes.IMAGE_REGION
    assert group.roi.GraphicType == "POLYLINE"
    assert group.roi.value == pytest.approx(finding_region(finding), abs=1e-4)
    whole_film = np.ptp(group.roi.value, axis=0).tolist() == [columns - 1, rows - 1]
    assert whole_film is (probability < OPERATING_POINT.threshold)


def test_the_films_of_a_report_stand_in_its_image_library():
    first, second = make_film(), make_film(sop_class=SC, Modality="RG")
    third = make_film(sop_class=DX, Modality=None)
    for film in (second, third):
        film.StudyInstanceUID = first.StudyInstanceUID
    root = tree(report_on(first, second, third))[0]
    (library,) = [item for item in root.ContentSequence if item.name == codes.IMAGE_LIBRARY]
    (group,) = library.ContentSequence
    modalities = {
        entry.referenced_sop_instance_uid: entry.ContentSequence[0].value.value for entry in group.ContentSequence
    }
    assert modalities == {first.SOPInstanceUID: "CR", second.SOPInstanceUID: "RG", third.SOPInstanceUID: "RG"}


def test_probability_stands_beside_the_one_from_which_it_is_called_present():
    report = report_on(make_film())
    assert encode(report).count(b"\x40\x00\x0a\xa3DS") == 2  # Numeric Value (0040,A30A)
    (group,) = groups(report)
    (threshold,) = group.get_measurements(name=codes.PRESENT_FROM)
    assert (threshold.value, threshold.unit) == (35.0, codes.PERCENT)
    assert texts(group[0], codes.ALGORITHM_PARAMETERS) == [str(OPERATING_POINT)]
    assert texts(group[0], codes.ALGORITHM_NAME) == [MODEL.name]
    assert texts(group[0], codes.ALGORITHM_VERSION) == [MODEL.version]


@pytest.mark.parametrize("view", View)
def test_view_is_stated_as_text(view):
    (group,) = groups(report_on(make_film(), view=view))
    assert texts(group[0], codes.IMAGE_VIEW) == [view.value]


def test_a_remark_stands_beside_its_film_and_in_the_impression_once():
    first, second = sorted((make_film(), make_film()), key=lambda film: film.SOPInstanceUID)
    second.StudyInstanceUID = first.StudyInstanceUID
    report = report_on(first, second, remarks=[("Age not stated.", "Film odd."), ("Age not stated.",)])
    assert [texts(group[0], codes.COMMENT) for group in groups(report)] == [
        ["Age not stated.", "Film odd."],
        ["Age not stated."],
    ]
    evaluations = next(i for i in tree(report)[0].ContentSequence if i.name == codes.QUALITATIVE_EVALUATIONS)
    (impression,) = texts(evaluations, codes.IMPRESSION)
    assert impression.endswith(f"{RESEARCH_USE} Age not stated. Film odd.")
    assert texts(evaluations, codes.COMMENT) == [RESEARCH_USE]


def test_root_names_procedure_device_and_research_use():
    content = tree(report_on(make_film()))
    root = content[0]
    assert root.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    procedures = [item.value for item in root.ContentSequence if item.name == codes.PROCEDURE_REPORTED]
    assert procedures == [codes.PLAIN_CHEST_XRAY]
    (observer,) = content.get_observer_contexts(observer_type=dictionary.DCM.Device)
    device = observer.observer_identifying_attributes
    assert (device.uid, device.manufacturer_name, device.model_name) == (MODEL.uid, MANUFACTURER, MODEL.name)
    (evaluations,) = [item for item in root.ContentSequence if item.name == codes.QUALITATIVE_EVALUATIONS]
    assert texts(evaluations, codes.COMMENT) == [RESEARCH_USE]


def test_highest_film_decides_the_study():
    first, second = sorted((make_film(), make_film()), key=lambda film: film.SOPInstanceUID)
    second.StudyInstanceUID = first.StudyInstanceUID
    report = report_on(second, first, probabilities=[0.9, 0.1])

    found = [(source_of(group), group) for group in groups(report)]
    assert [uid for uid, _ in found] == [first.SOPInstanceUID, second.SOPInstanceUID]
    assert [group.get_measurements()[0].value for _, group in found] == [10.0, 90.0]
    assert len({group.tracking_uid for _, group in found}) == 2
    evaluations = next(i for i in tree(report)[0].ContentSequence if i.name == codes.QUALITATIVE_EVALUATIONS)
    (impression,) = texts(evaluations, codes.IMPRESSION)
    assert impression.startswith(
        "Pneumonia: present. Probability 90.00 % on that of 2 frontal films where it is highest;"
    )


def test_a_revision_keeps_series_and_tracking_and_names_its_predecessor():
    first, late = make_film(), make_film()
    late.StudyInstanceUID = first.StudyInstanceUID
    one = read_back(report_on(first))
    two = report_on(first, late, revision=2, predecessor=one, analysed_at=ANALYSED_AT + timedelta(hours=1))

    assert two.SeriesInstanceUID == one.SeriesInstanceUID
    assert two.SOPInstanceUID != one.SOPInstanceUID
    assert (one.InstanceNumber, two.InstanceNumber) == (1, 2)
    # The series began with its first instance; this one was made later.
    assert (two.SeriesDate, two.SeriesTime) == (one.SeriesDate, one.SeriesTime)
    assert two.ContentTime != one.ContentTime
    (study,) = two.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (reference,) = series.ReferencedSOPSequence
    assert study.StudyInstanceUID == one.StudyInstanceUID
    assert series.SeriesInstanceUID == one.SeriesInstanceUID
    assert reference.ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == one.SOPClassUID
    assert "PredecessorDocumentsSequence" not in one
    tracked = {source_of(group): group.tracking_uid for group in groups(two)}
    assert tracked[first.SOPInstanceUID] == groups(one)[0].tracking_uid


def test_a_predecessor_of_four_uids_is_enough():
    one = report_on(make_film())
    bare = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(bare, keyword, one[keyword].value)
    two = report_on(make_film(StudyInstanceUID=one.StudyInstanceUID), revision=2, predecessor=bare)
    assert "SeriesDate" not in two


def test_another_model_reports_in_another_series_about_the_same_finding():
    film = make_film()
    other = ModelIdentity(name=MODEL.name, version="2.0.0", uid="2.25.18")
    one, two = report_on(film), report_on(film, model=other)
    assert one.SeriesInstanceUID != two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert groups(one)[0].tracking_uid == groups(two)[0].tracking_uid


def test_the_same_call_gives_the_same_bytes():
    film = make_film()
    assert encode(report_on(film)) == encode(report_on(film))


def test_status_flags_dates_and_series():
    report = read_back(report_on(make_film()))
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    assert {report.ContentDate, report.SeriesDate, report.InstanceCreationDate} == {"20260203"}
    assert {report.ContentTime, report.SeriesTime, report.InstanceCreationTime} == {"040506.789000"}
    assert report.TimezoneOffsetFromUTC == "+0000"
    assert (report.SeriesNumber, report.SeriesDescription) == (
        SERIES_NUMBERS[Form.SR_COMPREHENSIVE_3D],
        SERIES_DESCRIPTIONS[Form.SR_COMPREHENSIVE_3D],
    )
    assert report.Modality == "SR"


@pytest.mark.parametrize(
    ("stated", "written", "date", "time"),
    [
        (None, "-0330", "20260203", "003506.789000"),
        ("+0545", "+0545", "20260203", "095006.789000"),
        ("-0500", "-0500", "20260202", "230506.789000"),
        ("+9999", "-0330", "20260203", "003506.789000"),
        ("CET", "-0330", "20260203", "003506.789000"),
    ],
)
def test_one_timezone_holds_for_the_study_and_for_the_report(stated, written, date, time):
    here = ANALYSED_AT.astimezone(timezone(-timedelta(hours=3, minutes=30)))
    report = read_back(report_on(make_film(TimezoneOffsetFromUTC=stated), analysed_at=here))
    assert (report.TimezoneOffsetFromUTC, report.ContentDate, report.ContentTime) == (written, date, time)


def test_what_only_went_through_us_names_us_and_a_film_does_not():
    film = make_film()
    assert not names_us(film)
    film.ContributingEquipmentSequence = report_on(film).ContributingEquipmentSequence
    assert names_us(film)


def test_evidence_lists_every_analysed_film():
    first, second = make_film(), make_film()
    second.StudyInstanceUID = first.StudyInstanceUID
    (study,) = report_on(first, second).CurrentRequestedProcedureEvidenceSequence
    listed = {
        reference.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }
    assert listed == {first.SOPInstanceUID, second.SOPInstanceUID}


def test_pixel_data_is_not_needed_and_the_film_is_not_changed():
    film = make_film()
    del film.PixelData
    before = film.to_json()
    report_on(film)
    assert film.to_json() == before


def test_a_report_that_cannot_be_true_is_not_built():
    film = make_film()
    sources = {film.SOPInstanceUID: film}
    common = {"outcome": find_on([film]), "sources": sources, "revision": 1, "analysed_at": ANALYSED_AT}
    with pytest.raises(ValueError, match="among the sources"):
        Result(**{**common, "sources": {}})
    with pytest.raises(ValueError, match="count from 1"):
        Result(**{**common, "revision": 0})
    with pytest.raises(ValueError, match="no timezone"):
        Result(**{**common, "analysed_at": datetime(2026, 1, 1)})  # noqa: DTZ001
    with pytest.raises(Broken, match="has no SeriesInstanceUID"):
        report_on(make_film(SeriesInstanceUID=None))
    with pytest.raises(Broken, match="has no Columns"):
        report_on(make_film(Columns=None))
    film.StudyInstanceUID = "2.25.5"
    with pytest.raises(Broken, match="stands among"):
        report_of(Result(**common))


@pytest.mark.parametrize(
    ("probability", "threshold", "shown"),
    [
        (0.123456789, 0.5, 12.35),
        (0.49996, 0.5, 49.996),
        (0.499999996, 0.5, 49.9999996),
        (0.5, 0.5, 50.0),
        (0.35004, 0.35003, 35.004),
        (0.0, 0.5, 0.0),
        (1.0, 1.0, 100.0),
    ],
)
def test_rounding_stays_on_its_side_of_the_operating_point(probability, threshold, shown):
    assert shown_percentage(probability, threshold=threshold, present=probability >= threshold) == pytest.approx(
        shown, abs=1e-12
    )


@given(st.floats(0, 1), st.floats(0, 1))
def test_shown_percentage_never_contradicts_the_assessment(probability, threshold):
    present = probability >= threshold
    shown = shown_percentage(probability, threshold=threshold, present=present)
    assert abs(shown - 100 * probability) <= 5.1e-3
    assert len(f"{shown:.12f}") <= 16
    if abs(probability - threshold) > 1e-13:
        assert (shown >= 100 * threshold) is present


@pytest.mark.parametrize("wrong", [float("nan"), -0.1, 1.1])
def test_no_probability_is_no_report(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        shown_percentage(wrong, threshold=0.5, present=False)


def test_an_assessment_that_contradicts_the_operating_point_is_no_report():
    with pytest.raises(ValueError, match="contradicts"):
        shown_percentage(0.4, threshold=0.5, present=True)


def test_our_own_texts_fit_every_character_set():
    model = ModelIdentity(name="Réseau \\ pulmonaire " + "x" * 80, version="1.0-bêta", uid="2.25.19")
    point = OperatingPoint(name="équilibré", threshold=0.5, sensitivity=0.8, specificity=0.8)
    report = report_on(make_film(), model=model, operating_point=point)
    written = [element.value for element in report.iterall() if element.VR in {"LO", "SH", "UT"}]
    assert len(written) > 20
    assert all(str(value).isascii() for value in written)
    item = report.ContributingEquipmentSequence[0]
    assert item.ManufacturerModelName.startswith("Reseau pulmonaire xxx")
    assert len(item.ManufacturerModelName) == 64
    assert item.SoftwareVersions == "1.0-beta"
    assert in_ascii("équilibré: 0.5") == "equilibre: 0.5"
    assert as_sentence("C'est tout ", otherwise="No") == "C'est tout."
    assert as_sentence("Why?", otherwise="No") == "Why?"
    assert as_sentence("肺炎。", otherwise="No reason") == as_sentence(" .", otherwise="No reason") == "No reason."
    assert name_in_ascii("a\\b") == "a b"
    with pytest.raises(ValueError, match="no letters"):
        in_ascii("肺炎")
