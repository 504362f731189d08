"""Storage Commitment between a service in processes of its own and PACS that keep, lose, or answer at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pneumo_monai.commitments import Commitments
from pneumo_monai.entries import CommitmentState, Transaction
from tests.films import make_film
from tests.peers import (
    COMPREHENSIVE_3D_SR,
    CommitmentScp,
    Orthanc,
    Service,
    commitment_scp,
    dcmsend,
    running_service,
    wait_until,
    write,
)

pytestmark = pytest.mark.integration

SECONDS = 120.0
LOSES = """
lost = {}
function ReceivedInstanceFilter(dicom, origin, info)
  -- It answers the C-STORE with success all the same.
  if dicom.PatientID == 'LOST' and not lost[dicom.SOPInstanceUID] then
    lost[dicom.SOPInstanceUID] = true
    return false
  end
  return true
end
"""


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Name the ports of a PACS; it is started once it can know the service."""
    folder = tmp_path_factory.mktemp("committing")
    script = folder / "loses.lua"
    script.write_text(LOSES)
    orthanc = Orthanc(folder / "orthanc", scripts=[script])
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="module")
def prompt() -> Iterator[CommitmentScp]:
    """Run the PACS that answers at once."""
    with commitment_scp(COMPREHENSIVE_3D_SR) as peer:
        yield peer


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, bundle: Path, pacs: Orthanc, prompt: CommitmentScp
) -> Iterator[Service]:
    """Run a service that asks both of them for commitment."""
    destinations = [
        {
            "name": "pacs",
            "ae_title": "PACS",
            "host": "127.0.0.1",
            "port": pacs.dicom_port,
            "storage_commitment": {"association_seconds": 0},
        },
        {
            "name": "prompt",
            "ae_title": "PEER",
            "host": "127.0.0.1",
            "port": prompt.port,
            "storage_commitment": True,
        },
    ]
    with running_service(tmp_path_factory.mktemp("commitment"), bundle, destinations) as running:
        pacs.modalities = {"pneumo": ["PNEUMO", "127.0.0.1", running.settings.listener.port]}
        pacs.start()
        wait_until("the worker is warm", lambda: running.process_ready("worker-0"), SECONDS)
        yield running


def transactions(service: Service, study: str, destination: str) -> list[Transaction]:
    engine = sa.create_engine(service.settings.ledger_url)
    try:
        commitments = Commitments(engine)
        record = commitments.get(study, 1, destination)
        assert record is not None
        return commitments.transactions(record)
    finally:
        engine.dispose()


def test_both_pacs_commit_to_a_result_each_in_its_way(
    service: Service, pacs: Orthanc, prompt: CommitmentScp, tmp_path: Path
) -> None:
    film = make_film()
    uid = str(film.StudyInstanceUID)
    dcmsend(service, write(film, tmp_path))
    study = service.wait_for(uid, "reported", seconds=SECONDS)
    assert {c.destination: c.state for c in study.commitments} == dict.fromkeys(
        ("pacs", "prompt"), CommitmentState.COMMITTED
    )
    for name in ("pacs", "prompt"):
        (asked,) = transactions(service, uid, name)
        assert asked.instances == tuple(document.sop_instance_uid for document in study.documents)
        assert asked.failures == {}
    assert transactions(service, uid, "prompt")[0].transaction_uid in [
        request.TransactionUID for request in prompt.asked
    ]


def test_what_a_pacs_lost_is_sent_again_and_then_committed_to(service: Service, pacs: Orthanc, tmp_path: Path) -> None:
    film = make_film(PatientID="LOST")
    uid = str(film.StudyInstanceUID)
    dcmsend(service, write(film, tmp_path))
    study = service.wait_for(uid, "reported", seconds=SECONDS)
    (document,) = study.documents
    first, second = transactions(service, uid, "pacs")
    assert list(first.failures) == [document.sop_instance_uid]
    assert second.failures == {}
    assert first.transaction_uid != second.transaction_uid
    assert [report.SOPInstanceUID for report in pacs.reports(uid)] == [document.sop_instance_uid]
    assert len(transactions(service, uid, "prompt")) == 1
