"""The units of deploy/systemd: systemd finds nothing wrong with them, and the service runs as confined as they ask."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.films import make_film
from tests.integration.conftest import Watched
from tests.peers import NOBODY, Orthanc, dcmsend, write

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))


@pytest.fixture
def analyze() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    if (program := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze (Debian package systemd) is not installed")
    return lambda *arguments: subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_every_line_and_finds_little_exposed(
    unit: Path, tmp_path: Path, analyze: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    # It looks for the program, too.
    here = tmp_path / unit.name.replace("@", "@one")
    here.write_text(unit.read_text().replace("/opt/pneumo-monai/bin/pneumo-monai", "/bin/true"))
    verified = analyze("verify", "--man=no", str(here))
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    exposed = analyze("security", "--offline=true", "--no-pager", "--threshold=18", str(here))
    assert exposed.returncode == 0, exposed.stdout + exposed.stderr


def test_another_user_without_privileges_reads_and_delivers_where_it_may_write_to_its_folder_alone(
    watched: Watched, orthanc: Orthanc, tmp_path: Path
) -> None:
    if not watched.is_confined:
        pytest.skip("only root can start a service as another user, in a mount namespace of its own")
    service = watched.service
    for process in (service.process.pid, service.child("listener"), service.child("worker")):
        about = Path(f"/proc/{process}")
        status = dict(line.split(":\t", 1) for line in (about / "status").read_text().splitlines())
        assert status["Uid"].split() == [str(NOBODY)] * 4
        assert {int(status[f"Cap{which}"], 16) for which in ("Prm", "Eff", "Bnd", "Amb")} == {0}
        assert status["NoNewPrivs"] == "1"
        mounts = [line.split() for line in (about / "mountinfo").read_text().splitlines()]
        options = {mount[4]: mount[5].split(",") for mount in mounts}
        assert "ro" in options["/"]
        assert "rw" in options[str(watched.folder)]
    film = make_film()
    dcmsend(service, write(film, tmp_path))
    service.wait_for(film.StudyInstanceUID, "reported", seconds=180)
    (report,) = orthanc.reports(film.StudyInstanceUID)
    assert {path.stat().st_uid for path in service.settings.data_dir.rglob("*")} == {NOBODY}
    assert report.StudyInstanceUID == film.StudyInstanceUID
