"""Both judges on reports of every kind: no line may say Error."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import MultiFrameGrayscaleByteSecondaryCaptureImageStorage

from pneumo_monai.findings import View
from pneumo_monai.report import codes
from pneumo_monai.report.encode import encode
from pneumo_monai.report.inheritance import OPTIONAL, REQUIRED
from tests.conformance.judges import dciodvfy, errors, sr_validator
from tests.films import CR, DX, SC, make_film
from tests.names import NAMES
from tests.reports import report_on
from tests.shared import SHARED


def _two_films() -> Dataset:
    first, second = make_film(), make_film(sop_class=DX)
    second.StudyInstanceUID = first.StudyInstanceUID
    return report_on(first, second)


def _revision() -> Dataset:
    first, late = make_film(), make_film()
    late.StudyInstanceUID = first.StudyInstanceUID
    return report_on(first, late, revision=2, predecessor=report_on(first))


def _wrong() -> Dataset:
    report = report_on(make_film())
    report.PatientSex = "X"
    report.ContentSequence = [item for item in report.ContentSequence if item.name != codes.DEVICE_OBSERVER_UID]
    return report


NOT_JUDGED = {"half-width katakana", "GBK"}
"""Sets of PS3.3 C.12.1.1.2 that dciodvfy does not know: it calls their every letter invalid, in the film as well."""

HEADERS: Mapping[str, Mapping[str, object]] = {
    "nothing stated": dict.fromkeys((*REQUIRED, *OPTIONAL)),
    "everything empty": dict.fromkeys((*REQUIRED, *OPTIONAL), ""),
    "everything invalid": {
        "StudyDate": "2024-01-31",
        "StudyTime": "10:15",
        "AccessionNumber": "A" * 17,
        "ReferringPhysicianName": "A^B\\C^D",
        "PatientName": "N" * 70,
        "PatientID": "P" * 65,
        "PatientBirthDate": "00000000",
        "PatientSex": "male",
        "StudyID": "1" * 17,
        "StudyDescription": "D" * 65,
        "IssuerOfPatientID": "I" * 65,
        "PatientAge": "51",
        "TimezoneOffsetFromUTC": "CET",
    },
    "everything as long as may be": {
        "AccessionNumber": "A" * 16,
        "ReferringPhysicianName": "R" * 64,
        "PatientName": "N" * 64,
        "PatientID": "P" * 64,
        "StudyID": "1" * 16,
        "StudyTime": "101500.123456",
        "StudyDescription": "D" * 64,
        "IssuerOfPatientID": "I" * 64,
        "TimezoneOffsetFromUTC": "+1400",
    },
    "letters beyond ASCII in no character set": {"PatientName": "Müller^A"},
    "an unknown character set": {"SpecificCharacterSet": "ISO-8859-1", "PatientName": "Müller^A"},
}

REPORTS: Mapping[str, Callable[[], Dataset]] = {
    "present": lambda: report_on(make_film(), probabilities=[0.9]),
    "absent": lambda: report_on(make_film(), probabilities=[0.1]),
    "at the operating point": lambda: report_on(make_film(), probabilities=[0.349999999]),
    "zero": lambda: report_on(make_film(), probabilities=[0.0]),
    "view not stated": lambda: report_on(make_film(), view=View.NOT_STATED),
    "with remarks": lambda: report_on(make_film(), remarks=[("Patient age is not stated.", "The film is unusual.")]),
    "modality not stated": lambda: report_on(make_film(Modality=None)),
    "many frames' class": lambda: report_on(make_film(sop_class=MultiFrameGrayscaleByteSecondaryCaptureImageStorage)),
    "two films": _two_films,
    "second revision": _revision,
    **{
        f"of {name}": lambda sop_class=sop_class: report_on(make_film(sop_class=sop_class))
        for name, sop_class in (("CR", CR), ("DX", DX), ("SC", SC))
    },
    **{name: lambda header=header: report_on(make_film(**header)) for name, header in HEADERS.items()},
    **{
        f"name in {script}": lambda terms=terms, name=name: report_on(
            make_film(SpecificCharacterSet=terms, PatientName=name)
        )
        for script, (terms, name) in NAMES.items()
        if script not in NOT_JUDGED
    },
}

SHARED_FILMS = (
    "rsna-original",
    "rsna-original-monochrome1",
    "chest-philips-15bit-mono1-j2k",
    "chest-fuji-10bit-mono1",
    "chest-nih-8bit-implicit",
    "chest-nih-8bit-implicit-2",
)
SHARED_NAMES = ("japanese", "korean", "gb", "greek", "russian", "utf8")


def _on_shared(file: str, name_of: str | None = None) -> Dataset:
    film = dcmread(SHARED / "dicom" / f"{file}.dcm")
    if name_of is not None:
        named = dcmread(SHARED / "dicom" / f"charset-{name_of}.dcm")
        film["SpecificCharacterSet"] = named["SpecificCharacterSet"]
        film["PatientName"] = named.get_item("PatientName")
    return report_on(film)


SHARED_REPORTS: Mapping[str, Callable[[], Dataset]] = {
    **{file: lambda file=file: _on_shared(file) for file in SHARED_FILMS},
    **{f"named in {name}": lambda name=name: _on_shared("rsna-original", name) for name in SHARED_NAMES},
}


TREES = (
    "present",
    "absent",
    "at the operating point",
    "view not stated",
    "with remarks",
    "modality not stated",
    "two films",
    "second revision",
    "of DX",
    "of SC",
    "nothing stated",
    "everything invalid",
    "name in Japanese",
    "name in UTF-8",
    "rsna-original",
    *(f"named in {name}" for name in SHARED_NAMES if name != "gb"),
)
"""What the template judge is shown: every tree, not every header around it. Its parser fails on `named in gb`, as it
does on the film: two escapes to ISO 2022 IR 58 in one component group."""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Mapping[str, Path]:
    """Every report as a file, written once, and one that is wrong."""
    folder = tmp_path_factory.mktemp("reports")
    makers = {"wrong": _wrong, **REPORTS, **(SHARED_REPORTS if (SHARED / "dicom").is_dir() else {})}
    written = {name: folder / f"{number}.dcm" for number, name in enumerate(makers)}
    for name, file in written.items():
        file.write_bytes(encode(makers[name]()))
    return written


@pytest.fixture(scope="module")
def iod_verdicts(files) -> Mapping[Path, str]:
    return dciodvfy(list(files.values()))


@pytest.fixture(scope="module")
def template_verdicts(files) -> Mapping[Path, str]:
    return sr_validator([file for name, file in files.items() if name in {"wrong", *TREES}])


def _cases(names: Iterable[str]) -> list[ParameterSet]:
    return [pytest.param(name, id=name, marks=[pytest.mark.rsna] if name in SHARED_REPORTS else []) for name in names]


def _file(files: Mapping[str, Path], name: str) -> Path:
    if name not in files:
        pytest.skip("the shared radiographs are not here")
    return files[name]


@pytest.mark.parametrize("name", _cases([*REPORTS, *SHARED_REPORTS]))
def test_attributes_and_values_conform(name, files, iod_verdicts):
    verdict = iod_verdicts[_file(files, name)]
    assert "Comprehensive3DSR" in verdict
    assert errors(verdict) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", _cases(TREES))
def test_content_tree_conforms(name, files, template_verdicts):
    verdict = template_verdicts[_file(files, name)]
    assert "Found Root Template TID_1500" in verdict
    assert "Root Template Validation Complete" in verdict
    assert errors(verdict) == []


@pytest.mark.slow
def test_the_judges_do_find_fault(files, iod_verdicts, template_verdicts):
    assert any("Patient's Sex" in line for line in errors(iod_verdicts[files["wrong"]]))
    assert any("Device Observer UID" in line for line in errors(template_verdicts[files["wrong"]]))


def test_without_a_judge_ci_fails_and_others_skip(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="dicom3tools"):
        dciodvfy([])
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="pixelmed-apps"):
        sr_validator([])
