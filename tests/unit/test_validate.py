"""`pneumo-monai validate` on drawn films: what is matched, refused, counted and written."""

import csv
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumo_monai.bundle import Bundle
from pneumo_monai.cli import validate as command
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.evaluation.figures import PREVALENCE
from pneumo_monai.evaluation.labels import read_labels
from pneumo_monai.evaluation.validation import validate
from pneumo_monai.uids import derive_uid
from tests.bundles import write_random_bundle
from tests.films import film_bytes, make_film


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("model") / "bundle"
    return Bundle(write_random_bundle(folder, preprocessing={"size": 32, "mean": 0.4, "std": 0.25}))


def uid(kind: str, number: int) -> str:
    return derive_uid("film", f"{kind}-{number}")


def write_film(path: Path, number: int, **attributes: Any) -> Path:
    """Write a film that has something of its own to show; four films are of two persons."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (64, 48))
    settings = {
        "SOPInstanceUID": uid("sop", number),
        "StudyInstanceUID": uid("study", number),
        "AccessionNumber": f"A-{number}",
        "PatientID": f"SECRET-{number // 2}",
        "PatientName": "Doe^John",
        **attributes,
    }
    path.write_bytes(film_bytes(make_film(pixels=pixels, **settings)))
    return path


def write_labels(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Write six films in three folders, a file that is no film, and a hidden one."""
    folder = tmp_path / "films"
    for number in range(6):
        write_film(folder / f"day-{number % 3}" / f"IM{number:03d}", number)
    (folder / "notes.txt").write_text("John Doe was here")
    (folder / ".hidden").write_text("x")
    return folder


def run(folder: Path, rows: list[dict[str, Any]], bundle: Bundle, **settings: Any) -> dict[str, Any]:
    labels = write_labels(folder / "labels.csv", rows)
    return validate(folder, labels, folder.parent / "out", bundle=bundle, resamples=20, **settings)


def test_films_are_found_at_every_depth_and_everything_is_counted(films: Path, bundle: Bundle) -> None:
    write_film(films / "leg.dcm", 10, BodyPartExamined="LEG")
    write_film(films / "lateral.dcm", 11, ViewPosition="LL")
    (films / "once-more.dcm").write_bytes((films / "day-0" / "IM000").read_bytes())
    write_film(films / "other.dcm", 1, PatientID="changed")
    numbers = [0, 1, 2, 3, 4, 10, 11, 99]
    rows = [{"SOPInstanceUID": uid("sop", n), "label": n % 2, "class": "x"} for n in numbers]
    metrics = run(films, [*rows, rows[0]], bundle)
    data = metrics["data"]
    assert data["files"]["files"] == 11
    assert data["files"]["analysed"] == 5
    assert data["files"]["refused"] == {"body-part": 1, "conflicting-content": 1, "unparseable": 1, "view": 1}
    assert (data["files"]["without_label"], data["files"]["repeated"]) == (1, 1)
    assert data["files"]["sum"] == "11 files = 5 analysed + 4 refused + 0 failed + 1 without a label + 1 repeated"
    assert data["labels"]["not_read"] == {"positive": 1, "negative": 1}
    assert (data["labels"]["without_file"], data["labels"]["repeated"]) == (1, 1)
    assert metrics["notes"][0].startswith("2 of 7 with a label (1 of them positive) were refused or failed")
    figures = metrics["site"]["films"]["all"]
    assert (figures["exams"], figures["positive"], figures["persons"]) == (5, 2, 3)
    assert metrics["model"]["uid"] == bundle.identity.uid


def test_what_may_be_shared_identifies_nobody(films: Path, bundle: Bundle) -> None:
    run(films, [{"SOPInstanceUID": uid("sop", n), "label": n % 2} for n in range(6)], bundle)
    out = films.parent / "out"
    for name in ("report.html", "metrics.json"):
        # Base64 holds any three letters.
        text = re.sub('base64,[^"]+', "", (out / name).read_text())
        for secret in ("SECRET", "Doe", "IM00", "A-1", uid("sop", 1), uid("study", 1), str(films)):
            assert secret not in text, (name, secret)
    cases = list(csv.DictReader((out / "cases.csv").read_text().splitlines()))
    assert [row["SOPInstanceUID"] for row in cases] == [uid("sop", n) for n in range(6)]
    assert [row["number"] for row in cases] == ["1", "2", "3", "4", "5", "6"]
    assert (out / "cases.csv").stat().st_mode & 0o777 == 0o600
    assert "SECRET" not in (out / "cases.csv").read_text()


@pytest.mark.parametrize("column", ["file", "name", "StudyInstanceUID", "AccessionNumber"])
def test_a_label_may_name_file_study_or_accession(films: Path, bundle: Bundle, column: str) -> None:
    keys = {
        "file": lambda n: f"day-{n % 3}/IM{n:03d}",
        "name": lambda n: f"IM{n:03d}",
        "StudyInstanceUID": lambda n: uid("study", n),
        "AccessionNumber": lambda n: f"A-{n}",
    }
    heading = "file" if column == "name" else column
    metrics = run(films, [{heading: keys[column](n), "label": n % 2} for n in range(6)], bundle)
    unit = "films" if heading == "file" else "studies"
    assert metrics["data"]["unit"] == unit
    assert metrics["site"][unit]["all"]["exams"] == 6


def test_a_study_is_as_positive_as_its_highest_frontal_film(films: Path, bundle: Bundle) -> None:
    # A second frontal film and a lateral one in the study of the first film.
    write_film(films / "second", 20, StudyInstanceUID=uid("study", 0))
    write_film(films / "lateral", 21, StudyInstanceUID=uid("study", 0), ViewPosition="LL")
    by_film = [{"SOPInstanceUID": uid("sop", n), "label": int(n == 1)} for n in (0, 20, 1)]
    run(films, by_film, bundle, films=False)
    cases = films.parent / "out" / "cases.csv"
    alone = [float(row["probability"]) for row in csv.DictReader(cases.read_text().splitlines())]
    metrics = run(films, [{"StudyInstanceUID": uid("study", n), "label": n} for n in (0, 1)], bundle, films=False)
    together = [float(row["probability"]) for row in csv.DictReader(cases.read_text().splitlines())]
    assert together == pytest.approx([max(alone[:2]), alone[2]])
    assert metrics["data"]["files"]["analysed"] == 3
    assert metrics["data"]["not_read"]["view"] == 1


def test_a_person_of_the_table_goes_before_the_header(films: Path, bundle: Bundle) -> None:
    rows = [{"SOPInstanceUID": uid("sop", n), "label": n % 2, "person": "one"} for n in range(6)]
    metrics = run(films, rows, bundle)
    assert metrics["site"]["films"]["all"]["persons"] == 1
    assert "one" not in json.dumps(metrics["data"])


def test_films_without_a_patient_id_are_of_a_person_each(films: Path, bundle: Bundle) -> None:
    for number in range(6):
        write_film(films / f"day-{number % 3}" / f"IM{number:03d}", number, PatientID=None)
    metrics = run(films, [{"SOPInstanceUID": uid("sop", n), "label": n % 2} for n in range(6)], bundle)
    assert metrics["site"]["films"]["all"]["persons"] == 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "names none of SOPInstanceUID, file"),
        ("patient,label\nx,1\n", "names none of SOPInstanceUID, file"),
        ("file,truth\nx,1\n", "the column label is missing"),
        ("file,label\n", "there is no row"),
        ("file,label\nDoe,yes\n", "line 2: label must be 0 or 1"),
        ("file,label\n,1\n", "line 2: file is empty"),
        ("file,label\nDoe,1\nx,0\nDoe,0\n", "lines 2 and 4 give one file two labels"),
    ],
)
def test_a_table_that_cannot_be_used_is_named_by_its_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_labels(file)
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("text", ["file;label;class\nx;1;a\n", "\ufeffFile,Label\r\nx,1\r\n", "label\tfile\n1\tx\n\n"])
def test_spreadsheets_write_tables_in_many_ways(tmp_path: Path, text: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(text.encode())
    table = read_labels(file)
    assert (table.column, table.rows["x"].target) == ("file", 1)


def test_no_table_no_folder_no_film(tmp_path: Path, films: Path, bundle: Bundle) -> None:
    labels = write_labels(tmp_path / "labels.csv", [{"file": "x", "label": 1}])
    out = tmp_path / "out"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        validate(films, tmp_path / "nothing.csv", out, bundle=bundle)
    with pytest.raises(ConfigurationError, match="is no folder"):
        validate(tmp_path / "nowhere", labels, out, bundle=bundle)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="holds no file"):
        validate(tmp_path / "empty", labels, out, bundle=bundle)
    with pytest.raises(ConfigurationError, match="none of its 1 rows is about any of the 6 DICOM files"):
        validate(films, labels, out, bundle=bundle)
    assert not out.exists()


def test_one_class_is_not_enough(films: Path, bundle: Bundle) -> None:
    with pytest.raises(ConfigurationError, match="all 2 rows that a file belongs to have label 1"):
        run(films, [{"SOPInstanceUID": uid("sop", n), "label": 1} for n in (0, 1)], bundle)
    write_film(films / "lateral.dcm", 11, ViewPosition="LL")
    with pytest.raises(ConfigurationError, match="all 1 rows whose films could be read have label 0"):
        run(films, [{"SOPInstanceUID": uid("sop", n), "label": int(n == 11)} for n in (0, 11)], bundle)


def test_when_nothing_can_be_read_the_reasons_are_said(films: Path, bundle: Bundle) -> None:
    for number in (11, 12):
        write_film(films / f"lateral-{number}.dcm", number, ViewPosition="LL")
    with pytest.raises(ConfigurationError, match=r"none of the films with a label could be read \(view 2\)"):
        run(films, [{"SOPInstanceUID": uid("sop", n), "label": n % 2} for n in (11, 12)], bundle)


def test_a_name_that_stands_for_two_files_is_an_error(films: Path, bundle: Bundle) -> None:
    write_film(films / "other" / "IM000", 30)
    with pytest.raises(ConfigurationError, match="line 2: 2 files are called so"):
        run(films, [{"file": f"IM{n:03d}", "label": n % 2} for n in range(3)], bundle)


def test_the_command_assumes_the_prevalence_that_figures_do() -> None:
    # The command line must start without what computes them.
    assert inspect.signature(command).parameters["prevalence"].default == PREVALENCE


def test_the_command_from_end_to_end(films: Path, bundle: Bundle, tmp_path: Path) -> None:
    rows = [{"SOPInstanceUID": uid("sop", n), "label": n % 2} for n in range(6)]
    labels, out = write_labels(tmp_path / "labels.csv", rows), tmp_path / "out"
    (tmp_path / "config.yaml").write_text(
        f"data_dir: {tmp_path / 'data'}\nmodel: {{path: {bundle.path}, device: cpu}}\n"
    )
    arguments = [sys.executable, "-m", "pneumo_monai", "validate", "--data", films, "--labels", labels, "--out", out]
    arguments += ["--config", tmp_path / "config.yaml", "--prevalence", "0.2"]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert "7 files = 6 analysed + 1 refused + 0 failed" in done.stdout
    assert "report.html" in done.stdout
    assert not {word for word in ("Doe", "SECRET") if word in done.stdout + done.stderr}
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["prevalence"] == 0.2
    assert metrics["model"]["name"] == "random"
    assert "20.0 %" in (out / "report.html").read_text()
