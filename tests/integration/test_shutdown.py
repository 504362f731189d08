"""SIGTERM while a PACS is down: the service ends in time, and delivers at its next start."""

from pathlib import Path

import pytest

from tests.films import make_film
from tests.peers import Orthanc, dcmsend, running_service, wait_until, write

pytestmark = pytest.mark.integration


def test_a_service_that_waits_for_a_pacs_ends_cleanly_and_delivers_after_its_next_start(
    tmp_path: Path, bundle: Path
) -> None:
    film = make_film()
    pacs = Orthanc(tmp_path / "orthanc")
    destination = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": pacs.dicom_port}
    with running_service(tmp_path / "service", bundle, [destination]) as service:
        wait_until("the worker is warm", lambda: service.process_ready("worker-0"), 180)
        dcmsend(service, write(film, tmp_path))
        service.wait_for(film.StudyInstanceUID, "waiting for delivery")
        wait_until("an attempt failed", lambda: service.studies()[film.StudyInstanceUID].deliveries[0].detail)
    log = service.log.read_text()
    assert "is killed" not in log
    assert "Traceback" not in log
    pacs.start()
    try:
        with running_service(tmp_path / "service", bundle, [destination]) as service:
            service.wait_for(film.StudyInstanceUID, "reported", seconds=180)
        assert len(pacs.reports(film.StudyInstanceUID)) == 1
    finally:
        pacs.stop()
