"""The wheel holds the model and everything else a service needs, and runs where there is no checkout."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from pneumo_monai.demo.phantoms import write_phantoms

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
MODEL = "pneumo_monai/models/pneumonia_resnet18"


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the backend that is installed: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", ROOT, "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone, beside the dependencies that are there."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", wheel, "--no-deps", "--no-index", "--target", folder)
    return folder


def run(installed: Path, folder: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run Python outside the checkout, where the installed package comes before any other."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_the_wheel_holds_what_a_service_needs_and_nothing_else(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        f"{MODEL}/configs/metadata.json",
        f"{MODEL}/configs/inference.json",
        f"{MODEL}/models/model.pt",
        f"{MODEL}/docs/README.md",
        f"{MODEL}/LICENSE",
        "pneumo_monai/web/status.html",
        "pneumo_monai/evaluation/report.html",
        "pneumo_monai/py.typed",
        f"pneumo_monai-{VERSION}.dist-info/licenses/LICENSE",
        f"pneumo_monai-{VERSION}.dist-info/entry_points.txt",
    ):
        assert needed in names
    assert {name.split("/")[0] for name in names} == {"pneumo_monai", f"pneumo_monai-{VERSION}.dist-info"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".dcm"))]


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path):
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "pneumo_monai"], capture_output=True, text=True, check=False
    )
    if tracked.returncode != 0:
        pytest.skip("no git checkout: which files belong to the package cannot be told")
    files = {name for name in tracked.stdout.split("\0") if name and (ROOT / name).is_file()}
    assert files <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_requires_what_pyproject_says(wheel: Path):
    metadata = zipfile.ZipFile(wheel).read(f"pneumo_monai-{VERSION}.dist-info/METADATA").decode()
    assert f"\nVersion: {VERSION}\n" in metadata
    assert "\nRequires-Python: <3.13,>=3.11\n" in metadata
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    assert "Requires-Dist: dbos<4,>=3.4" in required
    # What the SDK leaves open: Python 3.12 would get a Holoscan that the graph was never run on.
    assert "Requires-Dist: holoscan-cu13==4.6.*" in required
    assert not [line for line in required if "torchvision" in line and "extra == 'train'" not in line]


def test_the_installed_command_explains_itself(installed: Path, tmp_path: Path):
    for start in (["-m", "pneumo_monai"], [installed / "bin" / "pneumo-monai"]):
        done = run(installed, tmp_path, *start, "--help")
        assert done.returncode == 0, done.stderr
        assert "Not a medical device" in done.stdout


def test_the_installed_package_finds_its_model_and_its_page(installed: Path, tmp_path: Path):
    program = (
        "import pneumo_monai\n"
        "from importlib.resources import files\n"
        "from pneumo_monai.bundle import PACKAGED, Bundle\n"
        "assert (files('pneumo_monai.web') / 'status.html').is_file()\n"
        "print(pneumo_monai.__file__, pneumo_monai.__version__, Bundle(PACKAGED).path)"
    )
    done = run(installed, tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr
    package = installed / "pneumo_monai"
    assert done.stdout.split() == [
        str(package / "__init__.py"),
        VERSION,
        str(package / "models" / "pneumonia_resnet18"),
    ]


def test_the_installed_package_reads_a_film(installed: Path, tmp_path: Path):
    films = tmp_path / "films"
    # The shipped gate looks at the picture: only a chest is read.
    for spare in write_phantoms(films)[1:]:
        spare.unlink()
    done = run(installed, tmp_path, "-m", "pneumo_monai", "run", "-i", films, "-o", tmp_path / "reports")
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = (tmp_path / "reports").iterdir()
    shown = run(installed, tmp_path, "-m", "pneumo_monai", "show", report)
    assert "For research use only. Not a medical device." in shown.stdout
