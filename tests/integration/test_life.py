"""The life of a result between a sender, the service, a real Orthanc, and a peer that does not take every form."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pneumo_monai.overview import StudyOverview
from tests.films import make_film
from tests.integration.conftest import Watched
from tests.peers import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    KEY_OBJECTS,
    Orthanc,
    Service,
    StorageScp,
    dcmsend,
    wait_until,
    write,
)

pytestmark = pytest.mark.integration

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SECONDS = 180.0
WHY = "A sentence that no log may hold."


@pytest.fixture
def service(watched: Watched) -> Service:
    """Return a service with both as its destinations."""
    return watched.service


def command(service: Service, *arguments: str) -> str:
    line = [sys.executable, "-m", "pneumo_monai", *arguments, "--config", str(service.config)]
    return subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=True).stdout


def predecessors(document: Dataset) -> list[str]:
    return [
        reference.ReferencedSOPInstanceUID
        for study in document.get("PredecessorDocumentsSequence", ())
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    ]


def rejected(note: Dataset) -> set[str]:
    return {
        reference.ReferencedSOPInstanceUID
        for study in note.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }


def at(peer: StorageScp, study: str) -> list[Dataset]:
    return [dataset for dataset in peer.received if dataset.StudyInstanceUID == study]


def revision(study: StudyOverview) -> int:
    assert study.report is not None
    return study.report.revision


def test_each_destination_gets_its_forms_and_the_ledger_says_which(
    service: Service, orthanc: Orthanc, picky: StorageScp, tmp_path: Path
) -> None:
    film = make_film()
    uid = str(film.StudyInstanceUID)
    dcmsend(service, write(film, tmp_path))
    study = service.wait_for(uid, "reported", seconds=SECONDS)
    assert {instance.SOPClassUID for instance in orthanc.instances(uid)} == {
        COMPREHENSIVE_3D_SR,
        BASIC_TEXT_SR,
        SECONDARY_CAPTURE,
    }
    assert [dataset.SOPClassUID for dataset in at(picky, uid)] == [COMPREHENSIVE_SR]
    said = "picky: sr-comprehensive delivered (sr-comprehensive sent: sr-comprehensive-3d not accepted)"
    assert [delivery.summary for delivery in study.deliveries][-1] == said
    assert "sr-comprehensive-3d not accepted" in command(service, "status", "--json")


def test_a_child_is_reported_as_not_analysed_and_a_late_film_supersedes_that(
    service: Service, orthanc: Orthanc, picky: StorageScp, tmp_path: Path
) -> None:
    child = make_film(PatientAge="006M")
    uid = str(child.StudyInstanceUID)
    dcmsend(service, write(child, tmp_path))
    study = service.wait_for(uid, "refused", seconds=SECONDS)
    assert {delivery.destination for delivery in study.deliveries} == {"pacs"}
    (refusal,) = wait_until("the refusal", lambda: orthanc.reports(uid))
    assert at(picky, uid) == []
    # The age in this header was wrong.
    dcmsend(service, write(make_film(StudyInstanceUID=uid), tmp_path))
    service.wait_for(uid, "reported", objects=2, seconds=SECONDS)
    _, findings = orthanc.reports(uid)
    assert predecessors(findings) == [refusal.SOPInstanceUID]
    assert [dataset.SOPClassUID for dataset in at(picky, uid)] == [COMPREHENSIVE_SR]


def test_a_result_is_withdrawn_everywhere_and_comes_back_when_it_is_read_again(
    service: Service, orthanc: Orthanc, picky: StorageScp, tmp_path: Path
) -> None:
    film = make_film()
    uid = str(film.StudyInstanceUID)
    dcmsend(service, write(film, tmp_path))
    service.wait_for(uid, "reported", seconds=SECONDS)
    before = {instance.SOPInstanceUID for instance in orthanc.instances(uid)}
    for _ in range(2):
        assert uid in command(service, "retract", uid, "--cause", "safety", "--why", WHY)
    study = service.wait_for(uid, "retracted", seconds=SECONDS)
    assert (revision(study), study.films[0].reason) == (2, "retracted")
    stored = {instance.SOPClassUID: instance for instance in orthanc.instances(uid) if instance.InstanceNumber == 2}
    assert stored.keys() >= {COMPREHENSIVE_3D_SR, BASIC_TEXT_SR, KEY_OBJECTS}
    assert rejected(stored[KEY_OBJECTS]) == before
    assert stored[KEY_OBJECTS].ConceptNameCodeSequence[0].CodeValue == "113037"
    first, superseding, note = at(picky, uid)
    assert [superseding.SOPClassUID, note.SOPClassUID] == [COMPREHENSIVE_SR, KEY_OBJECTS]
    assert rejected(note) == {first.SOPInstanceUID}
    command(service, "reread", uid)
    study = service.wait_for(uid, "reported", seconds=SECONDS)
    assert (revision(study), study.films[0].reason) == (3, None)
    assert predecessors(orthanc.reports(uid)[-1]) == [stored[COMPREHENSIVE_3D_SR].SOPInstanceUID]
    assert WHY not in service.log.read_text()
