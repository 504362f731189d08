"""The image as a MONAI Application Package: a folder read once."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.map.containers import Image
from tests.maps import problems
from tests.peers import COMPREHENSIVE_3D_SR, wait_until

pytestmark = pytest.mark.map


def test_a_folder_of_films_gives_reports(
    image: Image, folders: dict[str, Path], films: Path, measured: Callable[[str], None]
):
    began = time.monotonic()
    done = image.run(mounts=folders)
    measured(f"one shot, cold: {time.monotonic() - began:.1f} s for {len(list(films.iterdir()))} films")
    assert done.returncode == 0, done.stderr
    output = folders["/var/holoscan/output"]
    reports = [dcmread(file) for file in output.glob("*.dcm")]
    assert reports
    assert {report.SOPClassUID for report in reports} == {COMPREHENSIVE_3D_SR}
    assert {file.stat().st_uid for file in output.glob("*.dcm")} == {1000}
    last = " ".join(done.stderr.split())
    assert "reads on" in last
    assert f"{len(reports)} reports in /var/holoscan/output" in last
    assert "0 failed" in last


def test_folders_may_be_named_by_arguments(image: Image, tmp_path: Path, folders: dict[str, Path], films: Path):
    mounts = {"/mnt/films": films, "/mnt/reports": folders["/var/holoscan/output"]}
    for spare in sorted(films.iterdir())[1:]:
        spare.unlink()
    done = image.run("-i", "/mnt/films", "-o", "/mnt/reports", mounts=mounts, user="4321:4321")
    # Another user than the folder's owner: said, with a status.
    assert done.returncode != 0
    assert "could not be written to /mnt/reports" in " ".join(done.stderr.split())
    folders["/var/holoscan/output"].chmod(0o777)
    done = image.run("-i", "/mnt/films", "-o", "/mnt/reports", mounts=mounts, user="4321:4321")
    assert done.returncode == 0, done.stderr


def test_an_empty_folder_is_an_error(image: Image, folders: dict[str, Path]):
    done = image.run(mounts=folders)
    assert done.returncode != 0
    assert "put the DICOM files there" in done.stderr


def test_bad_input_is_an_error_that_names_it(image: Image, folders: dict[str, Path], films: Path):
    for arguments, environment, message in (
        (("-i", "/nowhere"), {}, "/nowhere"),
        (("--speed", "9"), {}, "unrecognized arguments: --speed"),
        (("-m", "/var/holoscan/input"), {}, "holds no MONAI Bundle"),
        ((), {"PNEUMO_MONAI_INTENDED_USE__YOUNGER": "ask"}, "PNEUMO_MONAI_INTENDED_USE__YOUNGER"),
    ):
        done = image.run(*arguments, mounts=folders, environment=environment)
        assert done.returncode != 0, arguments
        assert message in done.stderr


def test_what_is_no_dicom_is_refused_by_name(image: Image, folders: dict[str, Path]):
    (folders["/var/holoscan/input"] / "task.json").write_text("{}")
    done = image.run(mounts=folders)
    assert done.returncode == 0, done.stderr
    assert "task.json: refused, unparseable" in done.stderr


def test_show_prints_both_manifests(image: Image):
    for name in ("app", "pkg"):
        manifest = json.loads(image.run("show", name).stdout)
        assert problems(name, manifest) == []
    both = image.run("show").stdout
    assert both.index('"command"') < both.index('"models"')


def test_env_and_help_and_probes(image: Image):
    assert "HOLOSCAN_INPUT_PATH=/var/holoscan/input/" in image.run("env").stdout.splitlines()
    assert "Not a medical device" in image.run("help").stdout
    assert image.run("ready").returncode == 0
    assert image.run("alive").returncode == 0


def test_extract_fills_a_mounted_folder(image: Image, tmp_path: Path):
    tmp_path.chmod(0o777)
    done = image.run("extract", mounts={"/var/run/holoscan/export": tmp_path})
    assert done.returncode == 0, done.stderr
    for file in (
        "config/app.json",
        "config/pkg.json",
        "config/app.yaml",
        "models/pneumonia_resnet18/models/model.pt",
        "docs/sbom.cdx.json",
        "app/app_package/app.py",
    ):
        assert (tmp_path / file).is_file(), file


def test_sigterm_ends_it_in_time_and_says_what_was_not_read(
    image: Image, folders: dict[str, Path], films: Path, tmp_path: Path, measured: Callable[[str], None]
):
    (chest, *_) = sorted(films.iterdir())
    dataset = dcmread(chest)
    for number in range(60):
        dataset.StudyInstanceUID = generate_uid()
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(films / f"copy-{number}", enforce_file_format=True)
    reports = folders["/var/holoscan/output"]
    with image.start(mounts=folders, log=tmp_path / "log") as running:
        wait_until("the first report is written", lambda: list(reports.glob("*.dcm")), 120)
        status, seconds = running.terminate()
    measured(f"one shot, SIGTERM in the middle: ends after {seconds:.1f} s")
    assert status == 1
    assert "files were not read: a signal ended the run" in " ".join(running.log.read_text().split())
    assert seconds < 10  # what docker stop gives
