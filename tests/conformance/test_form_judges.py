"""Judges on the forms of a result that are no report: no line of dciodvfy says Error, and DCMTK reads what it knows."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from PIL import Image
from pydicom import dcmread

from pneumo_monai.errors import Reason
from pneumo_monai.findings import RetractionCause
from pneumo_monai.forms import Form
from pneumo_monai.pixels import read_film
from pneumo_monai.report.documents import build_documents
from pneumo_monai.report.result import Result
from tests.conformance.judges import dciodvfy, errors, sr_validator
from tests.conformance.test_report_judges import HEADERS, NOT_JUDGED, SHARED_FILMS
from tests.films import CR, DX, SC, film_bytes, make_film
from tests.names import NAMES
from tests.reports import refuse, result_on, retract
from tests.results import OUTCOMES, result_of, sent_before
from tests.shared import SHARED

FORMS: Mapping[Form, str] = {
    Form.SECONDARY_CAPTURE: "SCImage",
    Form.PRESENTATION_STATE: "GrayscaleSoftcopyPresentationState",
    Form.KEY_OBJECTS: "KeyObjectSelectionDocument",
    Form.REJECTION_NOTE: "KeyObjectSelectionDocument",
    Form.PDF: "EncapsulatedPDF",
}
"""The forms that are judged here, and what dciodvfy calls each."""

MISJUDGED = re.compile(
    r"Purpose of Reference \(Concept\) is forbidden for (IMAGE|COMPOSITE) content item$"
    r"|\[Row [34]\] CODE CID 701[12]: .*Conditional content item present when condition not satisfied$"
)
"""What PixelMed says of TID 2010 against the standard. PS3.3 C.17.3.1 lets a reference have the generic name (Source),
for some readers, highdicom among them, read no item without a name. And it looks for the title that asks for a modifier
(rows 3 and 4) beside that modifier, where no title is."""


def _two_films(kind: str) -> Result:
    first, second = make_film(), make_film(sop_class=DX, PhotometricInterpretation="MONOCHROME1", rows=48, columns=64)
    second.StudyInstanceUID = first.StudyInstanceUID
    return result_of(kind, first, second)


def _unread(reason: Reason, **attributes: object) -> Result:
    film = make_film(**attributes)
    return result_on([film], refuse([film], [reason]))


def _withdrawn(cause: RetractionCause) -> Result:
    """Withdraw a result that was sent in every form."""
    film = make_film()
    return result_on(
        [film], retract([film], cause=cause), revision=2, superseded=sent_before(result_of("present", film))
    )


RESULTS: Mapping[str, Callable[[], Result]] = {
    "withdrawn for safety": lambda: _withdrawn(RetractionCause.SAFETY),
    "withdrawn for quality": lambda: _withdrawn(RetractionCause.QUALITY),
    **{kind: lambda kind=kind: result_of(kind, make_film()) for kind in OUTCOMES},
    **{f"two films, {kind}": lambda kind=kind: _two_films(kind) for kind in OUTCOMES},
    **{
        f"of {name}": lambda sop_class=sop_class: result_of("present", make_film(sop_class=sop_class))
        for name, sop_class in (("CR", CR), ("DX", DX), ("SC", SC))
    },
    **{name: lambda header=header: result_of("present", make_film(**header)) for name, header in HEADERS.items()},
    **{
        f"name in {script}": lambda terms=terms, name=name: result_of(
            "absent", make_film(SpecificCharacterSet=terms, PatientName=name)
        )
        for script, (terms, name) in NAMES.items()
        if script not in NOT_JUDGED
    },
    "lossy": lambda: result_of("present", make_film(LossyImageCompression="01")),
    "part and orientation not stated": lambda: result_of(
        "absent", make_film(BodyPartExamined=None, PatientOrientation=None)
    ),
    "12 bit, MONOCHROME1, a window": lambda: result_of(
        "present",
        make_film(bits_stored=12, PhotometricInterpretation="MONOCHROME1", WindowCenter=2000, WindowWidth=1000.5),
    ),
    "refused for its part": lambda: _unread(Reason.BODY_PART, BodyPartExamined="HAND"),
    "refused for its colours": lambda: _unread(
        Reason.COLOUR, PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0
    ),
}


def _on_shared(file: str, kind: str) -> Result:
    film = dcmread(SHARED / "dicom" / f"{file}.dcm")
    return result_of(kind, film, pictures={film.SOPInstanceUID: read_film(film)})


SHARED_RESULTS: Mapping[str, Callable[[], Result]] = {
    f"{file}, {kind}": partial(_on_shared, file, kind) for file in SHARED_FILMS for kind in OUTCOMES
}


@dataclass(frozen=True)
class _Judged:
    """The files that a result was written to in one form, and what dciodvfy says of each."""

    files: tuple[Path, ...]
    verdicts: tuple[str, ...]


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Mapping[tuple[str, Form], _Judged]:
    """Every result in every form, written once and judged."""
    folder = tmp_path_factory.mktemp("forms")
    makers = {**RESULTS, **(SHARED_RESULTS if (SHARED / "dicom").is_dir() else {})}
    written: dict[tuple[str, Form], list[Path]] = {(name, form): [] for name in makers for form in FORMS}
    for number, (name, make) in enumerate(makers.items()):
        for document in build_documents(make(), FORMS):
            file = folder / f"{number}-{document.sop_instance_uid}.dcm"
            file.write_bytes(document.encoded)
            written[name, document.form].append(file)
    verdicts = dciodvfy([file for files in written.values() for file in files])
    return {key: _Judged(tuple(files), tuple(verdicts[file] for file in files)) for key, files in written.items()}


def _cases(names: Iterable[str]) -> list[ParameterSet]:
    return [pytest.param(name, id=name, marks=[pytest.mark.rsna] if name in SHARED_RESULTS else []) for name in names]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("name", _cases([*RESULTS, *SHARED_RESULTS]))
def test_attributes_and_values_conform(name, form, judged):
    if (name, form) not in judged:
        pytest.skip("the shared radiographs are not here")
    for verdict in judged[name, form].verdicts:
        assert FORMS[form] in verdict
        assert errors(verdict) == []


@pytest.mark.parametrize(
    ("name", "form", "count"),
    [
        ("present", Form.SECONDARY_CAPTURE, 1),
        ("two films, refused", Form.SECONDARY_CAPTURE, 2),
        ("refused for its colours", Form.SECONDARY_CAPTURE, 0),
        ("two films, present", Form.PRESENTATION_STATE, 2),
        ("refused for its part", Form.PRESENTATION_STATE, 1),
        ("refused for its colours", Form.PRESENTATION_STATE, 0),
        ("two films, present", Form.KEY_OBJECTS, 1),
        ("absent", Form.KEY_OBJECTS, 0),
        ("withdrawn for safety", Form.REJECTION_NOTE, 1),
        ("withdrawn for quality", Form.REJECTION_NOTE, 1),
        ("retracted", Form.REJECTION_NOTE, 0),
        ("two films, refused", Form.PDF, 1),
    ],
)
def test_so_many_were_judged(name, form, count, judged):
    assert len(judged[name, form].files) == count


def _needs(tool: str) -> str:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} (Debian package dcmtk) is not installed")
    return tool


@pytest.mark.parametrize("kind", OUTCOMES)
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"PhotometricInterpretation": "MONOCHROME1", "bits_stored": 12},
        {"bits_stored": 12, "WindowCenter": 1000, "WindowWidth": 800, "RescaleSlope": 2, "RescaleIntercept": -1000},
    ],
    ids=["8 bit", "12 bit MONOCHROME1", "a window after a rescale"],
)
def test_dcmtk_shows_a_film_with_its_state_as_it_shows_the_film(attributes, kind, tmp_path):
    film = make_film(**attributes)
    (document,) = build_documents(result_of(kind, film), [Form.PRESENTATION_STATE])
    files = {name: tmp_path / name for name in ("film.dcm", "state.dcm", "shown.pgm")}
    files["film.dcm"].write_bytes(film_bytes(film))
    files["state.dcm"].write_bytes(document.encoded)
    subprocess.run(
        [_needs("dcmp2pgm"), "-p", files["state.dcm"], files["film.dcm"], files["shown.pgm"]], check=True, timeout=60
    )
    shown = np.asarray(Image.open(files["shown.pgm"])) / 255.0
    assert shown == pytest.approx(read_film(film), abs=0.5 / 255 + 0.003)

    checked = subprocess.run(
        [_needs("dcmpschk"), files["state.dcm"]], capture_output=True, text=True, check=False, timeout=60
    )
    assert "Test passed" in checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("name", "form", "title"),
    [
        ("present", Form.KEY_OBJECTS, "Of Interest"),
        ("withdrawn for safety", Form.REJECTION_NOTE, "Rejected for Patient Safety Reasons"),
        ("withdrawn for quality", Form.REJECTION_NOTE, "Rejected for Quality Reasons"),
    ],
)
def test_dcmtk_reads_the_selection(name, form, title, judged):
    (file,) = judged[name, form].files
    done = subprocess.run([_needs("dsrdump"), file], capture_output=True, text=True, check=True, timeout=60)
    assert title in done.stdout
    assert done.stderr.splitlines() == ["W: Check for template constraints not yet supported"]


@pytest.mark.slow
def test_the_selections_follow_their_template(judged):
    keys = [("present", Form.KEY_OBJECTS), ("withdrawn for safety", Form.REJECTION_NOTE)]
    files = [judged[key].files[0] for key in [*keys, ("withdrawn for quality", Form.REJECTION_NOTE)]]
    for verdict in sr_validator(files).values():
        assert "Found Root Template TID_2010" in verdict
        assert "Root Template Validation Complete" in verdict
        assert [line for line in errors(verdict) if not MISJUDGED.search(line)] == []


def test_dcmtk_decodes_the_picture(tmp_path):
    film = make_film()
    (document,) = build_documents(result_of("present", film), [Form.SECONDARY_CAPTURE])
    file, shown = tmp_path / "picture.dcm", tmp_path / "shown.ppm"
    file.write_bytes(document.encoded)
    subprocess.run([_needs("dcm2pnm"), file, shown], check=True, timeout=60)
    assert np.array_equal(np.asarray(Image.open(shown)), dcmread(file).pixel_array)


def test_a_judge_does_find_fault(tmp_path):
    (document,) = build_documents(result_of("present", make_film()), [Form.SECONDARY_CAPTURE])
    file = tmp_path / "wrong.dcm"
    file.write_bytes(document.encoded.replace(b"YES ", b"MAY "))
    assert any("Burned In Annotation" in line for line in errors(dciodvfy([file])[file]))
