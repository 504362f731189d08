"""The MAP's command, one shot over a folder."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from pneumo_monai.bundle import Bundle
from tests.films import make_film
from tests.peers import COMPREHENSIVE_3D_SR, wait_until, write

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


def run_map(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app_package", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, cwd=ROOT, env={**os.environ, **environment}
    )


def test_two_studies_give_two_reports_by_the_bundle_in_the_model_folder(tmp_path: Path, bundle: Path) -> None:
    films, reports = tmp_path / "input", tmp_path / "output"
    films.mkdir()
    reports.mkdir()
    first = make_film()
    for film in (first, make_film(StudyInstanceUID=first.StudyInstanceUID, ViewPosition="AP"), make_film()):
        write(film, films)
    write(make_film(BodyPartExamined="HAND"), films)
    models = bundle.parent
    done = run_map(HOLOSCAN_INPUT_PATH=str(films), HOLOSCAN_OUTPUT_PATH=str(reports), HOLOSCAN_MODEL_PATH=str(models))
    assert done.returncode == 0, done.stderr
    written = [dcmread(file) for file in reports.glob("*.dcm")]
    assert len(written) == 2
    assert {report.SOPClassUID for report in written} == {COMPREHENSIVE_3D_SR}
    (equipment,) = written[0].ContributingEquipmentSequence
    assert equipment.DeviceUID == Bundle(bundle).identity.uid  # not the package's own
    assert "refused, body-part" in " ".join(done.stderr.split())


def test_intended_use_comes_from_the_environment(tmp_path: Path, bundle: Path) -> None:
    films = tmp_path / "input"
    films.mkdir()
    write(make_film(PatientAge="009Y"), films)
    folders = {"HOLOSCAN_INPUT_PATH": str(films), "HOLOSCAN_MODEL_PATH": str(bundle.parent)}
    for younger, count in (("refuse", 0), ("flag", 1)):
        reports = tmp_path / younger
        done = run_map(**folders, HOLOSCAN_OUTPUT_PATH=str(reports), PNEUMO_MONAI_INTENDED_USE__YOUNGER=younger)
        assert done.returncode == 0, done.stderr
        assert ("refused, age" in " ".join(done.stderr.split())) is (count == 0)
        assert len(list(reports.glob("*.dcm"))) == count


def test_an_empty_folder_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    done = run_map("-i", str(tmp_path), "-o", str(tmp_path / "output"))
    assert done.returncode != 0
    assert "put the DICOM files there" in done.stderr


def test_a_signal_leaves_films_unread_and_says_how_many(tmp_path: Path, bundle: Path) -> None:
    films, reports, log = tmp_path / "input", tmp_path / "output", tmp_path / "log"
    films.mkdir()
    count = 60
    for _ in range(count):
        write(make_film(), films)
    command = [sys.executable, "-m", "app_package", "-i", str(films), "-o", str(reports), "-m", str(bundle.parent)]
    with log.open("wb") as stream, subprocess.Popen(command, cwd=ROOT, stderr=stream) as process:
        wait_until("the first report is written", lambda: list(reports.glob("*.dcm")), 120)
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    said = " ".join(log.read_text(encoding="utf-8").split())
    assert status == 1, said
    (unread,) = re.findall(rf"(\d+) of {count} files were not read: a signal ended the run", said)
    written = len(list(reports.glob("*.dcm")))
    assert written + int(unread) == count
    assert f"{count} files = {written} analysed + 0 refused + 0 failed + {unread} not read" in said
