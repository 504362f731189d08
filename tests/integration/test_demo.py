"""The README's first command, without its installation."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from pydicom import dcmread

from tests.films import make_film
from tests.peers import write

pytestmark = pytest.mark.integration


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pneumo_monai", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_the_demo_reports_each_phantom_and_draws_it(tmp_path: Path) -> None:
    done = run_demo("--output", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Each film got its report: 3 of 3" in done.stdout
    assert "For research use only. Not a medical device." in done.stdout
    assert len([file for file in (tmp_path / "pacs").glob("*.dcm") if dcmread(file).Modality == "SR"]) == 3
    pictures = list((tmp_path / "pictures").glob("*.png"))
    assert len(pictures) == 3
    with Image.open(pictures[0]) as picture:
        assert min(picture.size) > 500


def test_the_demo_fails_when_a_film_gets_no_report(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    write(make_film(BodyPartExamined="HAND"), films)
    done = run_demo("--input", str(films), "--output", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "body-part" in done.stdout
