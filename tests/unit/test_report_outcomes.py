"""Studies without a result: refused or withdrawn, in every form of SR, whatever their films lack."""

from dataclasses import replace
from io import BytesIO

import pytest
from highdicom.sr import MeasurementReport, srread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage, EncapsulatedPDFStorage, EnhancedCTImageStorage

from pneumo_monai.equipment import MANUFACTURER, MODEL_NAME, names_us
from pneumo_monai.errors import Reason
from pneumo_monai.findings import RetractionCause, StudyFindings, View
from pneumo_monai.forms import Form
from pneumo_monai.report import codes
from pneumo_monai.report.encode import encode
from pneumo_monai.report.impression import impression
from pneumo_monai.report.result import Result
from pneumo_monai.report.wording import RESEARCH_USE
from tests.films import CR, DX, make_film
from tests.reports import (
    MODEL,
    WHY,
    children,
    code_of,
    find_on,
    read_back,
    refuse,
    report_of,
    report_on,
    result_on,
    retract,
)

SR_FORMS = (Form.SR_COMPREHENSIVE_3D, Form.SR_COMPREHENSIVE, Form.SR_TEXT)
OUTCOMES = {"found": find_on, "refused": refuse, "withdrawn": retract}
ASSESSMENTS = (codes.FINDING, codes.PNEUMONIA, codes.PROBABILITY)
UNREAD = {"refused": refuse, "withdrawn": retract}


def of_one_study(*films: Dataset) -> list[Dataset]:
    for film in films[1:]:
        film.StudyInstanceUID = films[0].StudyInstanceUID
    return sorted(films, key=lambda film: film.get("SOPInstanceUID", ""))


def groups(report: Dataset) -> list[Dataset]:
    (measurements,) = children(report, codes.IMAGING_MEASUREMENTS)
    return children(measurements, codes.MEASUREMENT_GROUP)


def values(item: Dataset, name: Code) -> list[str]:
    return [
        child.TextValue if child.ValueType == "TEXT" else child.ConceptCodeSequence[0].CodeMeaning
        for child in children(item, name)
    ]


def evidence(report: Dataset) -> set[str]:
    return {
        reference.ReferencedSOPInstanceUID
        for study in report.get("CurrentRequestedProcedureEvidenceSequence", [])
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }


def written_codes(dataset: Dataset) -> set[tuple[str, str, str]]:
    return {
        (item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning)
        for element in dataset.iterall()
        for item in (element.value if element.VR == "SQ" else ())
        if "CodeValue" in item
    }


@pytest.mark.parametrize("form", SR_FORMS[:2])
def test_a_refused_study_says_so_on_every_film(form):
    films = of_one_study(make_film(rows=64, columns=48), make_film(rows=48, columns=64, sop_class=DX))
    reasons = (Reason.VIEW, Reason.UNLIKE_CHEST)
    outcome = refuse(films, reasons, detail="View Position (0018,5101) is 'LL': no frontal view")
    report = read_back(report_of(result_on(films, outcome), form))
    assert isinstance(srread(BytesIO(encode(report))).content, MeasurementReport)

    for group, film, reason in zip(groups(report), films, reasons, strict=True):
        assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"
        assert values(group, codes.TRACKING_IDENTIFIER) == [f"Pneumonia on {film.SOPInstanceUID}"]
        assert values(group, codes.SUMMARY_OF_ANALYSES) == ["Not Attempted"]
        assert values(group, codes.COMMENT) == ["View Position (0018,5101) is 'LL': no frontal view."]
        (why,) = children(group, codes.NOT_ANALYSED_BECAUSE)
        assert code_of(why.ConceptCodeSequence[0]) == codes.NOT_ANALYSED[reason]
        # Nothing that could be taken for an assessment.
        assert (
            not children(group, codes.FINDING) + children(group, codes.PNEUMONIA) + children(group, codes.PROBABILITY)
        )
    (evaluations,) = children(report, codes.QUALITATIVE_EVALUATIONS)
    assert values(evaluations, codes.SUMMARY_OF_ANALYSES) == ["Not Attempted"]
    assert values(evaluations, codes.IMPRESSION) == [impression(outcome)]
    assert values(evaluations, codes.COMMENT) == [RESEARCH_USE]
    assert evidence(report) == {film.SOPInstanceUID for film in films}


@pytest.mark.parametrize("cause", RetractionCause)
def test_a_withdrawn_result_says_so_and_names_what_it_replaces(cause):
    film = make_film()
    before = report_on(film)
    report = report_of(result_on([film], retract([film], cause=cause), revision=2, predecessor=before))
    (group,) = groups(report)
    (why,) = children(group, codes.WITHDRAWN_BECAUSE)
    assert code_of(why.ConceptCodeSequence[0]) == codes.WITHDRAWN[cause]
    assert values(group, codes.SUMMARY_OF_ANALYSES) == ["Failed"]
    assert values(group, codes.COMMENT) == [WHY]
    assert not any(children(group, name) for name in ASSESSMENTS)
    assert report.SeriesInstanceUID == before.SeriesInstanceUID
    series = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID


def test_the_finding_of_a_film_is_tracked_by_one_name_through_all_revisions_and_forms():
    film = make_film()
    tracked = {
        (values(group, codes.TRACKING_IDENTIFIER)[0], children(group, codes.TRACKING_UID)[0].UID)
        for outcome in (find_on([film]), find_on([film], [0.1]), refuse([film]), retract([film]))
        for form in SR_FORMS[:2]
        for group in groups(report_of(result_on([film], outcome), form))
    }
    ((identifier, uid),) = tracked
    assert identifier == f"Pneumonia on {film.SOPInstanceUID}"
    assert uid == result_on([film]).tracking_uid(str(film.SOPInstanceUID), codes.PNEUMONIA.value)


@pytest.mark.parametrize("form", SR_FORMS)
@pytest.mark.parametrize("outcome", UNREAD.values(), ids=UNREAD)
def test_private_codes_are_declared_where_they_are_written(outcome, form):
    film = make_film()
    report = read_back(report_of(result_on([film], outcome([film])), form))
    private = {code for code in written_codes(report) if code[1].startswith("99")}
    if form is Form.SR_TEXT:
        assert not private
        assert "CodingSchemeIdentificationSequence" not in report
        return
    assert {code[1] for code in private} == {codes.PRIVATE_DESIGNATOR}
    (scheme,) = report.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == codes.PRIVATE_DESIGNATOR
    assert scheme.CodingSchemeUID == codes.PRIVATE_SCHEME_UID
    assert scheme.CodingSchemeUID.startswith("2.25.")


def test_a_finding_has_one_private_code_and_declares_it():
    film = make_film()
    for form in SR_FORMS[:2]:
        report = report_of(result_on([film]), form)
        private = {code for code in written_codes(report) if code[1].startswith("99")}
        assert private == {("present-from", codes.PRIVATE_DESIGNATOR, codes.PRESENT_FROM.meaning)}
        assert report.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == codes.PRIVATE_DESIGNATOR


def test_private_codes_fit_their_value_representations():
    for code in (codes.PRESENT_FROM, *codes.WITHDRAWN.values(), *codes.NOT_ANALYSED.values()):
        assert len(code.value) <= 16
        assert len(code.meaning) <= 64
    assert set(codes.NOT_ANALYSED) == set(Reason)
    assert len({code.value for code in codes.ALL}) == len({(c.value, c.scheme_designator) for c in codes.ALL})


def test_every_code_written_stands_in_the_table():
    film = make_film()
    made = [
        find_on([film]),
        find_on([film], [0.1]),
        find_on([film], view=View.AP, remarks=[("Odd.",)]),
        *(retract([film], cause=cause) for cause in RetractionCause),
        *(refuse([film], [reason]) for reason in Reason),
    ]
    written = {code for outcome in made for code in written_codes(report_of(result_on([film], outcome)))}
    for other in (make_film(sop_class=DX), make_film(Modality="RG")):
        written |= written_codes(report_on(other))
    for outcome in (find_on([film]), refuse([film])):
        written |= written_codes(report_of(result_on([film], outcome), Form.SR_TEXT))
    assert written == {(code.value, code.scheme_designator, code.meaning) for code in codes.ALL}


ODD = {
    "no rows": {"Rows": None},
    "one column": {"Columns": 1},
    "rows of no number": {"Rows": ["many", "more"]},
    "no series": {"SeriesInstanceUID": None},
    "a series that is no UID": {"SeriesInstanceUID": "none"},
    "a series of leading zeros": {"SeriesInstanceUID": "1.02.3"},
    "a root that is none": {"SOPInstanceUID": "999.1.2"},
    "no class": {"SOPClassUID": None},
    "no study": {"StudyInstanceUID": None},
    "another study": {"StudyInstanceUID": "2.25.9"},
}
REFERRED_TO = {"no rows", "one column", "rows of no number"}


@pytest.mark.parametrize("form", SR_FORMS)
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("outcome", UNREAD.values(), ids=UNREAD)
def test_whatever_a_film_lacks_its_report_is_made(outcome, name, form):
    good, odd = make_film(), make_film(**ODD[name])
    if "StudyInstanceUID" not in ODD[name]:
        odd.StudyInstanceUID = good.StudyInstanceUID
    for films in ([good, odd], [odd]):
        told = replace(outcome(films), study_instance_uid=str(good.StudyInstanceUID))
        report = read_back(report_of(result_on(films, told), form))
        known = films if name in REFERRED_TO else films[:-1]
        assert evidence(report) == {film.SOPInstanceUID for film in known}
        assert report.StudyInstanceUID == good.StudyInstanceUID
        if form is Form.SR_TEXT:
            continue
        assert not any(children(group, codes.IMAGE_REGION) for group in groups(report))
        assert len(groups(report)) == len(films)
        # Viewers look for the library of every measurement report.
        assert len(children(report, codes.IMAGE_LIBRARY)) == 1


@pytest.mark.parametrize("sop_class", [CTImageStorage, EnhancedCTImageStorage, EncapsulatedPDFStorage, "1.2.3.4.5"])
@pytest.mark.parametrize("form", SR_FORMS)
def test_a_refused_object_may_be_of_any_class(sop_class, form):
    film = make_film(sop_class=sop_class, Modality="OT")
    if sop_class == EncapsulatedPDFStorage:
        del film.Rows, film.Columns
    report = read_back(report_of(result_on([film], refuse([film], [Reason.MODALITY])), form))
    assert evidence(report) == {film.SOPInstanceUID}
    assert values(report, codes.PROCEDURE_REPORTED) == [codes.IMAGING_PROCEDURE.meaning]


@pytest.mark.parametrize("form", SR_FORMS)
@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
def test_equipment_says_the_same_as_the_tree_and_names_us(outcome, form):
    film = make_film()
    report = read_back(report_of(result_on([film], outcome([film])), form))
    (item,) = report.ContributingEquipmentSequence
    purpose = item.PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109102", "DCM")
    (device,) = children(report, codes.DEVICE_OBSERVER_UID)
    assert item.DeviceUID == device.UID == MODEL.uid
    assert [item.Manufacturer] == values(report, codes.DEVICE_OBSERVER_MANUFACTURER) == [MANUFACTURER]
    assert [item.ManufacturerModelName] == values(report, codes.DEVICE_OBSERVER_MODEL_NAME) == [MODEL.name]
    assert values(report, codes.DEVICE_OBSERVER_NAME) == [MODEL_NAME]
    assert item.SoftwareVersions == MODEL.version
    for group in groups(report) if form is not Form.SR_TEXT else ():
        assert values(group, codes.ALGORITHM_NAME) == [item.ManufacturerModelName]
        assert values(group, codes.ALGORITHM_VERSION) == [item.SoftwareVersions]
    assert names_us(report)


@pytest.mark.parametrize("form", SR_FORMS)
@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
def test_flags_dates_and_what_is_type_2(outcome, form):
    film = make_film(TimezoneOffsetFromUTC="+0530")
    report = read_back(report_of(result_on([film], outcome([film])), form))
    assert report.CompletionFlag == "COMPLETE"
    assert report.VerificationFlag == "UNVERIFIED"
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert (report.ContentDate, report.ContentTime) == ("20260203", "093506.789000")
    assert report.TimezoneOffsetFromUTC == "+0530"
    assert report.AccessionNumber == film.AccessionNumber
    assert report.PerformedProcedureCodeSequence == []
    assert report.ReferencedPerformedProcedureStepSequence == []
    assert report.Modality == "SR"


@pytest.mark.parametrize("form", SR_FORMS)
@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
def test_all_uids_of_a_report_stand_under_the_root_of_the_institution(outcome, form):
    root = "1.2.826.0.1.3680043.10.1"
    film = make_film()
    own, others = (
        {
            element.value
            for element in read_back(report_of(result_on([film], outcome([film]), **more), form)).iterall()
            if element.VR == "UI"
        }
        - {film[keyword].value for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
        # What a class or a coding scheme is called does not depend on who writes it.
        - {CR, codes.PRIVATE_SCHEME_UID}
        for more in ({"uid_root": root}, {})
    )
    own = {uid for uid in own if not uid.startswith("1.2.840.10008.")}
    assert len(own) == (4 if form is not Form.SR_TEXT else 3)  # series, instance, device, tracked finding
    assert all(uid.startswith(f"{root}.") and len(uid) <= 64 for uid in own)
    assert all(uid.startswith(("2.25.", "1.2.840.10008.")) for uid in others)


def test_the_device_changes_with_the_model_under_any_root():
    film = make_film()
    devices = set()
    for root in (None, "1.2.3"):
        for uid in ("2.25.17", "2.25.18"):
            outcome = find_on([film], model=type(MODEL)(name="A", version="1", uid=uid))
            devices.add(Result(**{**vars(result_on([film], outcome)), "uid_root": root}).device_uid)
    assert len(devices) == 4


def test_bytes_are_the_same_when_a_report_is_made_again():
    film = make_film()
    for form in SR_FORMS:
        for outcome in OUTCOMES.values():
            first, second = (encode(report_of(result_on([film], outcome([film])), form)) for _ in range(2))
            assert first == second
    assert isinstance(find_on([film]), StudyFindings)
