"""Real and odd files from many makers, through the service into Orthanc: each comes out as the manifest says."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from pneumo_monai.overview import StudyOverview
from pneumo_monai.report.text import as_text
from pneumo_monai.sender import send_files
from pneumo_monai.settings import Destination
from pneumo_monai.spool import identify
from tests.peers import Orthanc, Service, dcmsend, wait_until, write
from tests.shared import manifest, shared_folder

pytestmark = [
    pytest.mark.integration,
    pytest.mark.rsna,
    # One of the files has a UID with a leading zero, and pydicom says so when it is announced.
    pytest.mark.filterwarnings("ignore:Invalid value for VR UI"),
]

EXPECTED = {row["file"]: row["expect"] for row in manifest()}
NO_C_STORE = frozenset({"html-page.dcm"})
"""What has no file meta information cannot be sent; it is read with the folder below."""

UNPARSEABLE = ("html-page.dcm", "nested-sequence.dcm")


def of(expect: str) -> list[str]:
    return sorted(file for file, expected in EXPECTED.items() if expected == expect)


@pytest.fixture(scope="module")
def answered(service: Service) -> dict[str, StudyOverview]:
    """Send every file that can be sent, each over an association of its own, and wait for all answers."""
    folder = shared_folder("dicom")
    files = [folder / name for name in EXPECTED if name not in NO_C_STORE and EXPECTED[name] != "charset"]
    for file in files:
        # Byte for byte: DCMTK parses what it sends, and gives up on the worst of these.
        send_files(
            [file],
            host="127.0.0.1",
            port=service.settings.listener.port,
            called_ae_title="PNEUMO",
            calling_ae_title="SCANNER",
        )
    studies = {file.name: identify(file.read_bytes()).study_instance_uid for file in files}

    def look() -> dict[str, StudyOverview] | None:
        known = service.studies()
        if not set(studies.values()) <= known.keys():
            return None
        found = {name: known[study] for name, study in studies.items()}
        waiting = {"in progress", "waiting for delivery"}
        return found if not any(study.state in waiting for study in found.values()) else None

    answers: dict[str, StudyOverview] = wait_until("every file is answered", look, 120)
    return answers


@pytest.mark.parametrize("name", of("analyse"))
def test_a_film_gives_exactly_one_report(name: str, answered: dict[str, StudyOverview], orthanc: Orthanc) -> None:
    assert answered[name].state == "reported"
    assert len(orthanc.reports(answered[name].study_instance_uid)) == 1


@pytest.mark.parametrize("name", [name for name in of("refuse") if name not in NO_C_STORE])
def test_what_is_no_frontal_chest_gives_a_reason_and_no_finding(
    name: str, answered: dict[str, StudyOverview], orthanc: Orthanc
) -> None:
    study = answered[name]
    assert study.state == "refused"
    assert all(film.reason and film.detail for film in study.films)
    # What a radiologist waits for is answered all the same, "not analysed, because"; what was misrouted is not.
    if any(film.reason in Destination.model_fields["not_analysed"].default for film in study.films):
        uid = study.study_instance_uid
        (report,) = wait_until("the refusal is delivered", lambda: orthanc.reports(uid))
        assert "Not analysed, because" in as_text(report)
    else:
        assert not orthanc.reports(study.study_instance_uid)


@pytest.mark.parametrize("name", of("charset"))
def test_a_patient_s_name_arrives_in_the_same_characters(
    name: str, service: Service, orthanc: Orthanc, tmp_path: Path
) -> None:
    folder = shared_folder("dicom")
    named = dcmread(folder / name)
    film = dcmread(folder / "rsna-original.dcm")
    film.StudyInstanceUID, film.SeriesInstanceUID, film.SOPInstanceUID = (generate_uid(prefix=None) for _ in range(3))
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
    film.SpecificCharacterSet, film.PatientName = named.SpecificCharacterSet, named.PatientName
    del film.PatientAge  # a real film's invalid value, no matter of this test
    dcmsend(service, write(film, tmp_path))
    service.wait_for(film.StudyInstanceUID, "reported")
    (report,) = orthanc.reports(film.StudyInstanceUID)
    assert str(report.PatientName) == str(named.PatientName)
    assert report.SpecificCharacterSet == named.SpecificCharacterSet


def test_a_folder_of_all_gives_the_same(tmp_path: Path, bundle: Path) -> None:
    folder, reports = shared_folder("dicom"), tmp_path / "reports"
    command = [
        "-m",
        "pneumo_monai",
        "run",
        "-i",
        str(folder),
        "-o",
        str(reports),
        "--model",
        str(bundle),
        "--device",
        "cpu",
    ]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    # The manifest itself lies in the folder, and the character set files are no chests.
    refused = len(of("refuse")) + len(of("charset")) + 1
    assert (
        f"{len(of('analyse')) + refused} files = {len(of('analyse'))} analysed + {refused} refused + 0 failed" in said
    )
    assert len(list(reports.glob("*.dcm"))) == len(of("analyse"))
    for name in UNPARSEABLE:
        assert f"{name}: refused, unparseable" in said
