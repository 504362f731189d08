"""One Orthanc and one warm service for the whole session: their start costs seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import write_random_bundle
from tests.peers import Orthanc, PostgreSql, Service, running_service, wait_until


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: integration tests prove the road, not the model."""
    path = tmp_path_factory.mktemp("model") / "random"
    write_random_bundle(path)
    return path


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Run a real PACS."""
    pacs = Orthanc(tmp_path_factory.mktemp("orthanc"))
    pacs.start()
    yield pacs
    pacs.stop()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, bundle: Path, orthanc: Orthanc) -> Iterator[Service]:
    """Run the service with that PACS as its destination."""
    destination = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": orthanc.dicom_port}
    with running_service(tmp_path_factory.mktemp("service"), bundle, [destination]) as running:
        wait_until("the worker is warm", lambda: running.process_ready("worker-0"), 180)
        yield running


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSql]:
    """Run a real PostgreSQL."""
    server = PostgreSql(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.stop()
