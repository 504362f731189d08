"""One Orthanc, one PostgreSQL and two warm services for the whole session: their start costs seconds."""

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider

from tests.bundles import write_random_bundle
from tests.peers import (
    COMPREHENSIVE_SR,
    KEY_OBJECTS,
    Orthanc,
    PostgreSql,
    Service,
    StorageScp,
    confined,
    running_service,
    storage_scp,
    wait_until,
)

FAULTS = Path(__file__).with_name("faults")


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


@pytest.fixture(scope="session")
def picky() -> Iterator[StorageScp]:
    """Run a peer that knows no Comprehensive 3D SR."""
    with storage_scp(COMPREHENSIVE_SR, KEY_OBJECTS) as peer:
        yield peer


@dataclass
class Watched:
    """A service of which everything is kept that it writes or sends, but to its destinations."""

    service: Service
    folder: Path
    """Holds all that it writes: `data`, `tmp` for temporary files, `service.log`, `audit.xml`."""
    alarms: list[bytes]
    """Bodies that its webhook got."""
    is_confined: bool
    """Whether it runs as another user, and may write to `folder` alone."""


@contextmanager
def _webhook() -> Iterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", bodies
        server.shutdown()


@pytest.fixture(scope="session")
def watched(
    tmp_path_factory: pytest.TempPathFactory, bundle: Path, orthanc: Orthanc, picky: StorageScp
) -> Iterator[Watched]:
    """Run a service with two destinations in many forms, an audit trail, and alarms that are raised at once.

    Where that is possible, it runs as another user, and may write to its folder alone.
    """
    folder = tmp_path_factory.mktemp("watched")
    within = confined(folder)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o777)
    for parent in (bundle, *list(bundle.parents)[:3]):
        parent.chmod(0o755)
    destinations: list[dict[str, Any]] = [
        {
            "name": "pacs",
            "ae_title": "PACS",
            "host": "127.0.0.1",
            "port": orthanc.dicom_port,
            "forms": [["sr-comprehensive-3d"], ["sr-text"], ["sc"]],
        },
        {
            "name": "picky",
            "ae_title": "PEER",
            "host": "127.0.0.1",
            "port": picky.port,
            "forms": [["sr-comprehensive-3d", "sr-comprehensive"]],
            "not_analysed": [],
        },
    ]
    with (
        _webhook() as (address, bodies),
        running_service(
            folder,
            bundle,
            destinations,
            environment={
                "TMPDIR": str(folder / "tmp"),
                "PYTHONPATH": f"{FAULTS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            },
            within=within,
            audit={"file": str(folder / "audit.xml")},
            alarms={
                "webhook": address,
                "silence_minutes": 0.001,
                "weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
                "hours": "00:00-24:00",
            },
        ) as running,
    ):
        wait_until("the worker is warm", lambda: running.process_ready("worker-0"), 180)
        yield Watched(running, folder, bodies, bool(within))


@pytest.fixture
def left_sockets() -> Iterator[None]:
    """Have the sockets that refused associations leave collected before the next test is blamed for them."""
    yield
    kinds = (Association, DULServiceProvider)
    wait_until("no association is open", lambda: not any(isinstance(t, kinds) for t in threading.enumerate()), 120)
    gc.collect()
