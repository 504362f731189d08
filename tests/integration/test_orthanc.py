"""From DCMTK's sender to a real Orthanc, through the service in processes of its own."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import highdicom as hd
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import ComputedRadiographyImageStorage

from pneumo_monai.entries import FilmState
from tests.films import make_film
from tests.peers import Orthanc, Service, dcmsend, need, wait_until, write

pytestmark = pytest.mark.integration


def referenced_films(report: Dataset) -> set[str]:
    return {
        image.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    }


def test_a_film_becomes_one_report_with_a_finding(service: Service, orthanc: Orthanc, tmp_path: Path) -> None:
    film = make_film()
    dcmsend(service, write(film, tmp_path))
    service.wait_for(film.StudyInstanceUID, "reported")
    (stored,) = orthanc.reports(film.StudyInstanceUID)
    report = hd.sr.Comprehensive3DSR.from_dataset(stored)
    (group,) = report.content.get_planar_roi_measurement_groups()
    (probability,) = group.get_measurements(hd.sr.CodedConcept("122157", "DCM", "Probability"))
    assert 0.0 <= probability.value <= 100.0
    assert probability.unit.value == "%"
    assert group.finding_type.value == "233604007"
    (assessment,) = [
        item.value.value
        for item in group.get_qualitative_evaluations()
        if item.value.value in {"52101004", "272519000"}
    ]
    assert assessment
    assert referenced_films(stored) == {film.SOPInstanceUID}
    assert (stored.PatientName, stored.PatientID) == (film.PatientName, film.PatientID)


def test_sending_a_film_again_changes_nothing(service: Service, orthanc: Orthanc, tmp_path: Path) -> None:
    film = make_film()
    file = write(film, tmp_path)
    dcmsend(service, file)
    service.wait_for(film.StudyInstanceUID, "reported")
    other = make_film()
    for _ in range(3):
        dcmsend(service, file)
    # A later study is through: so was anything that the repeats could have caused.
    dcmsend(service, write(other, tmp_path))
    service.wait_for(other.StudyInstanceUID, "reported")
    assert len(service.studies()[film.StudyInstanceUID].films) == 1
    assert len(orthanc.reports(film.StudyInstanceUID)) == 1


def test_a_late_frontal_film_makes_a_revision_that_names_its_predecessor(
    service: Service, orthanc: Orthanc, tmp_path: Path
) -> None:
    first = make_film()
    late = make_film(StudyInstanceUID=first.StudyInstanceUID, ViewPosition="AP")
    dcmsend(service, write(first, tmp_path))
    service.wait_for(first.StudyInstanceUID, "reported")
    dcmsend(service, write(late, tmp_path))
    service.wait_for(first.StudyInstanceUID, "reported", objects=2)
    one, two = wait_until(
        "two revisions", lambda: r if len(r := orthanc.reports(first.StudyInstanceUID)) == 2 else None
    )
    assert one.SeriesInstanceUID == two.SeriesInstanceUID
    (predecessor,) = two.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert predecessor.ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert referenced_films(two) == {first.SOPInstanceUID, late.SOPInstanceUID}


def test_a_late_lateral_film_makes_no_revision(service: Service, orthanc: Orthanc, tmp_path: Path) -> None:
    first = make_film()
    lateral = make_film(StudyInstanceUID=first.StudyInstanceUID, ViewPosition="LL", PatientOrientation=["A", "F"])
    dcmsend(service, write(first, tmp_path))
    service.wait_for(first.StudyInstanceUID, "reported")
    dcmsend(service, write(lateral, tmp_path))
    study = service.wait_for(first.StudyInstanceUID, "reported", objects=2)
    assert [film.reason for film in study.films] == [None, "view"]
    assert len(orthanc.reports(first.StudyInstanceUID)) == 1


def test_our_own_result_coming_back_is_refused(service: Service, orthanc: Orthanc, tmp_path: Path) -> None:
    film = make_film()
    dcmsend(service, write(film, tmp_path))
    service.wait_for(film.StudyInstanceUID, "reported")
    (report,) = orthanc.reports(film.StudyInstanceUID)
    dcmsend(service, write(report, tmp_path))
    study = service.wait_for(film.StudyInstanceUID, "reported", objects=2)
    assert study.films[1].reason == "own-result"
    assert len(orthanc.reports(film.StudyInstanceUID)) == 1


def test_other_content_under_the_same_uid_is_kept_apart(service: Service, orthanc: Orthanc, tmp_path: Path) -> None:
    film = make_film()
    dcmsend(service, write(film, tmp_path))
    service.wait_for(film.StudyInstanceUID, "reported")
    film.PatientID = "SOMEBODY-ELSE"
    dcmsend(service, write(film, tmp_path))
    study = service.wait_for(film.StudyInstanceUID, "reported", objects=2)
    assert study.films[1].reason == "conflicting-content"
    assert len({film.path for film in study.films}) == 2
    assert len(orthanc.reports(film.StudyInstanceUID)) == 1


def test_what_is_no_frontal_chest_is_refused_with_its_reason(
    service: Service, orthanc: Orthanc, tmp_path: Path
) -> None:
    film = make_film(BodyPartExamined="HAND")
    dcmsend(service, write(film, tmp_path))
    study = service.wait_for(film.StudyInstanceUID, "refused")
    assert study.films[0].reason == "body-part"
    command = ["pneumo_monai", "status", "--config", str(service.config), "--json"]
    shown = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "body-part" in shown
    assert not orthanc.reports(film.StudyInstanceUID)


def test_an_association_that_is_aborted_still_gets_its_report(
    service: Service, orthanc: Orthanc, tmp_path: Path
) -> None:
    film = make_film()
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(ComputedRadiographyImageStorage)
    association = entity.associate("127.0.0.1", service.settings.listener.port)
    assert association.send_c_store(film).Status == 0x0000
    association.abort()
    service.wait_for(film.StudyInstanceUID, "reported")
    assert len(orthanc.reports(film.StudyInstanceUID)) == 1


def test_studies_on_one_open_association_are_reported_when_the_next_begins_or_after_silence(
    service: Service, orthanc: Orthanc
) -> None:
    first, second = make_film(), make_film()
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(ComputedRadiographyImageStorage)
    association = entity.associate("127.0.0.1", service.settings.listener.port)
    for film in (first, second):
        assert association.send_c_store(film).Status == 0x0000
    service.wait_for(first.StudyInstanceUID, "reported")
    service.wait_for(second.StudyInstanceUID, "reported")
    assert association.is_established
    association.release()
    assert len(orthanc.reports(second.StudyInstanceUID)) == 1


def test_a_killed_worker_is_started_again_and_finishes_what_it_left(
    service: Service, orthanc: Orthanc, tmp_path: Path
) -> None:
    films = [make_film() for _ in range(12)]
    dcmsend(service, *[write(film, tmp_path) for film in films])
    os.kill(service.child("worker"), signal.SIGKILL)
    late = make_film()
    dcmsend(service, write(late, tmp_path))
    for film in [*films, late]:
        service.wait_for(film.StudyInstanceUID, "reported", seconds=180)
        assert len(orthanc.reports(film.StudyInstanceUID)) == 1


def test_a_killed_listener_loses_nothing_it_acknowledged(service: Service, orthanc: Orthanc, tmp_path: Path) -> None:
    film = make_film()
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(ComputedRadiographyImageStorage)
    association = entity.associate("127.0.0.1", service.settings.listener.port)
    assert association.send_c_store(film).Status == 0x0000
    os.kill(service.child("listener"), signal.SIGKILL)
    service.wait_for(film.StudyInstanceUID, "reported", seconds=120)
    assert len(orthanc.reports(film.StudyInstanceUID)) == 1
    wait_until("the listener is back", lambda: service.process_ready("listener"))


def test_a_pacs_that_was_down_gets_the_same_object_later(service: Service, orthanc: Orthanc, tmp_path: Path) -> None:
    film = make_film()
    orthanc.stop()
    try:
        dcmsend(service, write(film, tmp_path))
        study = service.wait_for(film.StudyInstanceUID, "waiting for delivery")
        wait_until("an attempt failed", lambda: service.studies()[film.StudyInstanceUID].deliveries[0].detail)
    finally:
        orthanc.start()
    service.wait_for(film.StudyInstanceUID, "reported")
    (stored,) = orthanc.reports(film.StudyInstanceUID)
    (document,) = study.documents
    assert stored.SOPInstanceUID == document.sop_instance_uid


def test_the_listener_answers_c_echo_and_survives_a_bare_connection(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.settings.listener.port)):
        pass
    echo = [need("echoscu", "dcmtk"), "-aec", "PNEUMO", "127.0.0.1", str(service.settings.listener.port)]
    assert subprocess.run(echo, timeout=30, check=False).returncode == 0


def test_every_received_object_is_in_exactly_one_state(service: Service) -> None:
    films = [film for study in service.studies().values() for film in study.films]
    assert films
    assert all(film.state in set(FilmState) for film in films)
    assert not [film for film in films if film.state is FilmState.FAILED]


def test_nothing_a_patient_is_known_by_is_in_the_log(service: Service, tmp_path: Path) -> None:
    marks = {"PatientName": "Zyxwv^Marker", "PatientID": "MARKER-4711", "AccessionNumber": "ACC-MARKER"}
    good, refused = make_film(**marks), make_film(**marks, BodyPartExamined="HAND")
    broken = make_film(**marks, PatientBirthDate="MARKER-BIRTH", StudyInstanceUID=generate_uid(prefix=None))
    dcmsend(service, write(good, tmp_path), write(refused, tmp_path))
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(ComputedRadiographyImageStorage)
    association = entity.associate("127.0.0.1", service.settings.listener.port)
    assert association.send_c_store(broken).Status == 0x0000
    association.release()
    service.wait_for(good.StudyInstanceUID, "reported")
    service.wait_for(refused.StudyInstanceUID, "refused")
    service.wait_for(broken.StudyInstanceUID, "reported")
    assert "MARKER" not in service.log.read_text().upper()
