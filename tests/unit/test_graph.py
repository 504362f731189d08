"""The resident graph, for real: it reads, survives what fails inside it, and ends when it is told to."""

import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from pydicom import dcmread

from pneumo_monai.bundle import Bundle
from pneumo_monai.engine import Engine
from pneumo_monai.errors import Reason, Retryable
from pneumo_monai.forms import Form
from pneumo_monai.graph import ResidentGraph
from pneumo_monai.reading import Reading
from pneumo_monai.report.text import as_text
from pneumo_monai.settings import IntendedUse
from pneumo_monai.study import Film, NewReport, PreviousReport, Study
from tests.bundles import add_gate, write_random_bundle
from tests.films import make_film
from tests.peers import wait_until, write


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return Reading(Engine(Bundle(write_random_bundle(tmp_path_factory.mktemp("m") / "b")), torch.device("cpu")))


@pytest.fixture(scope="module")
def graph(reading: Reading) -> Iterator[ResidentGraph]:
    with ResidentGraph(reading) as running:
        yield running
    with pytest.raises(Retryable, match="not running"):
        running.read(Study(study_instance_uid="", films=()))


def study_of(folder: Path, *attributes: dict[str, object]) -> Study:
    uid = make_film().StudyInstanceUID
    films = [write(make_film(**{"StudyInstanceUID": uid, **some}), folder) for some in attributes]
    return Study(study_instance_uid=uid, films=tuple(Film(path=path, key=key) for key, path in enumerate(films)))


def store(study: Study, folder: Path) -> Path:
    """Write the only document of a study's report."""
    assert study.report is not None
    (document,) = study.report.documents
    path = folder / f"{document.sop_instance_uid}.dcm"
    path.write_bytes(document.encoded)
    return path


def test_a_study_comes_back_with_findings_and_a_report(graph: ResidentGraph, tmp_path: Path) -> None:
    study = graph.read(study_of(tmp_path, {}, {"ViewPosition": "AP"}))
    assert [film.finding is not None for film in study.films] == [True, True]
    assert study.report is not None
    assert study.report.revision == 1
    assert [document.form for document in study.report.documents] == [Form.SR_COMPREHENSIVE_3D]


def test_a_refused_film_does_not_keep_the_others_from_being_read(graph: ResidentGraph, tmp_path: Path) -> None:
    study = graph.read(study_of(tmp_path, {"BodyPartExamined": "HAND"}, {}))
    assert study.films[0].refused is not None
    assert study.films[0].refused.reason is Reason.BODY_PART
    assert study.films[1].finding is not None
    assert study.report is not None


def test_a_study_without_a_readable_film_gets_no_report(graph: ResidentGraph, tmp_path: Path) -> None:
    (garbage := tmp_path / "garbage.dcm").write_bytes(b"no DICOM at all")
    study = graph.read(Study(study_instance_uid="1.2", films=(Film(path=garbage),)))
    assert study.report is None
    assert study.films[0].refused is not None


def test_a_file_that_is_gone_fails_its_film_and_the_graph_reads_on(graph: ResidentGraph, tmp_path: Path) -> None:
    study = graph.read(Study(study_instance_uid="1.2", films=(Film(path=tmp_path / "gone.dcm"),)))
    assert study.films[0].failed == "FileNotFoundError in load"
    assert graph.read(study_of(tmp_path, {})).report is not None


def test_what_a_stage_raises_does_not_leave_its_operator(
    graph: ResidentGraph, reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(reading.engine, "read", broken)
    assert graph.read(study_of(tmp_path, {})).films[0].failed == "ZeroDivisionError in infer"
    monkeypatch.undo()
    assert graph.read(study_of(tmp_path, {})).report is not None


def test_the_same_films_again_say_nothing_new_and_one_more_makes_a_revision(
    graph: ResidentGraph, tmp_path: Path
) -> None:
    study = study_of(tmp_path, {}, {})
    first = graph.read(replace(study, films=study.films[:1]))
    assert first.report is not None
    stored = store(first, tmp_path)
    previous = PreviousReport(
        revision=1, fingerprint=first.report.fingerprint, documents=((Form.SR_COMPREHENSIVE_3D, stored),)
    )
    assert graph.read(replace(study, films=study.films[:1], previous=previous)).report is None
    second = graph.read(replace(study, previous=previous))
    assert second.report is not None
    assert second.report.revision == 2
    assert "PredecessorDocumentsSequence" in dcmread(store(second, tmp_path))


def test_several_threads_get_their_own_study_back(graph: ResidentGraph, tmp_path: Path) -> None:
    studies = [study_of(tmp_path, {}) for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(graph.read, studies))
    assert [a.study_instance_uid for a in answers] == [s.study_instance_uid for s in studies]
    assert all(answer.report is not None for answer in answers)


def test_a_study_is_gone_with_whoever_asked_for_it(graph: ResidentGraph, tmp_path: Path) -> None:
    gc.disable()
    try:
        study = weakref.ref(graph.read(study_of(tmp_path, {})))
        # Its pictures take megabytes: they must not wait for the garbage collector.
        wait_until("the study is gone", lambda: study() is None, 5)
    finally:
        gc.enable()


def test_the_film_gives_the_network_the_same_tensor_as_preprocessing_it_by_hand(
    reading: Reading, tmp_path: Path
) -> None:
    from pneumo_monai.pixels import read_film
    from pneumo_monai.transforms import preprocessing

    study = study_of(tmp_path, {})
    by_graph = reading.preprocess(reading.gate(reading.load(study))).films[0].tensor
    constants = reading.engine.bundle.contract.preprocessing.model_dump()
    by_hand = preprocessing(**constants)(read_film(dcmread(study.films[0].path)))
    assert by_graph is not None
    assert torch.equal(by_graph, by_hand)


@pytest.mark.parametrize("declared", ["ISO_IR 100", "\\ISO 2022 IR 87"])
def test_a_name_goes_through_the_graph_byte_for_byte(graph: ResidentGraph, tmp_path: Path, declared: str) -> None:
    name = "Müller^Jürgen" if declared == "ISO_IR 100" else "Yamada^Tarou=山田^太郎"
    film = make_film(SpecificCharacterSet=declared.split("\\"), PatientName=name)
    path = write(film, tmp_path)
    study = graph.read(Study(study_instance_uid=film.StudyInstanceUID, films=(Film(path=path),)))
    stored = store(study, tmp_path)
    report, source = dcmread(stored), dcmread(path)
    assert report.get_item("PatientName").value == source.get_item("PatientName").value
    assert str(report.PatientName) == name


def test_a_child_is_refused_and_a_film_without_age_is_read_with_a_remark(graph: ResidentGraph, tmp_path: Path) -> None:
    silent = {"PatientAge": None, "PatientBirthDate": None}
    study = graph.read(study_of(tmp_path, {"PatientAge": "006M"}, silent, {}))
    assert study.films[0].refused is not None
    assert study.films[0].refused.reason is Reason.AGE
    remarks = [film.finding.remarks for film in study.films if film.finding is not None]
    assert [len(said) for said in remarks] == [1, 0]
    stored = store(study, tmp_path)
    assert "Patient age is not stated" in as_text(dcmread(stored))


def test_the_content_is_dated_by_the_start_of_the_analysis(reading: Reading, tmp_path: Path) -> None:
    study = reading.load(study_of(tmp_path, {}))
    assert study.began_at is not None
    assert study.began_at.utcoffset() is not None
    study = replace(study, began_at=datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC))
    for stage in (reading.gate, reading.preprocess, reading.infer, reading.report):
        study = stage(study)
    document = dcmread(store(study, tmp_path))
    assert (document.ContentDate, document.ContentTime[:6], document.TimezoneOffsetFromUTC) == (
        "20260203",
        "040506",
        "+0000",
    )


def test_a_remark_is_something_new_to_say(reading: Reading, tmp_path: Path) -> None:
    def report(of: Reading, study: Study) -> NewReport | None:
        for stage in (of.load, of.gate, of.preprocess, of.infer, of.report):
            study = stage(study)
        return study.report

    study = study_of(tmp_path, {"PatientAge": "006M"})
    flagging = Reading(reading.engine, IntendedUse(younger="flag"))
    everyone = Reading(reading.engine, IntendedUse(minimum_age=0))
    assert report(reading, study) is None
    flagged, unmarked = report(flagging, study), report(everyone, study)
    assert flagged is not None
    assert unmarked is not None
    assert flagged.fingerprint != unmarked.fingerprint


def test_what_is_no_chest_by_its_picture_is_refused_or_read_with_a_remark(tmp_path: Path) -> None:
    path = add_gate(write_random_bundle(tmp_path / "b"), distance=1e-3)
    engine = Engine(Bundle(path), torch.device("cpu"))
    study = study_of(tmp_path, {})

    def outcome(of: Reading) -> Film:
        return of.infer(of.preprocess(of.gate(of.load(study)))).films[0]

    refused = outcome(Reading(engine)).refused
    assert refused is not None
    assert refused.reason is Reason.UNLIKE_CHEST
    finding = outcome(Reading(engine, IntendedUse(unlike_chest="flag"))).finding
    assert finding is not None
    assert len(finding.remarks) == 1
    accepted = outcome(Reading(engine, IntendedUse(unlike_chest="accept", inverted="accept"))).finding
    assert accepted is not None
    assert accepted.remarks == ()
