"""Real peers for integration tests: the service in processes of its own, Orthanc, DCMTK."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from pneumo_monai.overview import StudyOverview, overview
from pneumo_monai.records import Records
from pneumo_monai.settings import Settings, load_settings
from pneumo_monai.tables import connect

COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"


def need(tool: str, package: str) -> str:
    """Return the path of an outside tool; skip the test by its name where it is missing, fail it in CI."""
    path = shutil.which(tool) or shutil.which(tool, path="/usr/sbin")
    if path is None:
        missing(f"{tool} (Debian package {package}) is not installed")
    return path


def missing(what: str) -> NoReturn:
    """Skip the test, for it cannot run here; in CI, where nothing may be missing, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(what: str, look: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return the first true value of `look`; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := look():
            return value
        time.sleep(0.05)
    pytest.fail(f"not within {seconds:.0f} s: {what}")


@dataclass
class Orthanc:
    """A real PACS on free ports."""

    folder: Path
    dicom_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    plugins: Sequence[Path] = ()
    modalities: dict[str, list[Any]] = field(default_factory=dict)
    """DicomModalities: name to AE title, host and port."""
    scripts: Sequence[Path] = ()
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, on what an earlier start stored."""
        executable = need("Orthanc", "orthanc")
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "orthanc.json"
        configuration.write_text(
            json.dumps(
                {
                    "Name": "PACS",
                    "StorageDirectory": str(self.folder / "db"),
                    "IndexDirectory": str(self.folder / "db"),
                    "DicomAet": "PACS",
                    "DicomPort": self.dicom_port,
                    "HttpPort": self.http_port,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": False,
                    "DicomCheckCalledAet": False,
                    "Plugins": [str(plugin) for plugin in self.plugins],
                    "DicomModalities": self.modalities,
                    "LuaScripts": [str(script) for script in self.scripts],
                }
            )
        )
        with (self.folder / "orthanc.log").open("ab") as log:
            self.process = subprocess.Popen([executable, str(configuration)], stdout=log, stderr=log)
        wait_until("Orthanc answers", self._answers)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def store(self, encoded: bytes) -> None:
        """Store a Part 10 file by REST."""
        url = f"http://127.0.0.1:{self.http_port}/instances"
        with urllib.request.urlopen(urllib.request.Request(url, encoded, method="POST"), timeout=60) as answer:
            assert json.load(answer)["Status"] == "Success"

    def get(self, path: str) -> Any:
        """Return the JSON of a REST resource."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
            return json.load(answer)

    def instances(self, study_instance_uid: str | None = None) -> list[Dataset]:
        """Return what it stores, of one study or of all, in order of Instance Number."""
        found = []
        for instance in self.get("/instances"):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/instances/{instance}/file") as file:
                dataset = dcmread(BytesIO(file.read()))
            if study_instance_uid in (None, dataset.StudyInstanceUID):
                found.append(dataset)
        return sorted(found, key=lambda instance: int(instance.InstanceNumber))

    def reports(self, study_instance_uid: str | None = None) -> list[Dataset]:
        """Return the Comprehensive 3D SRs among them."""
        return [found for found in self.instances(study_instance_uid) if found.SOPClassUID == COMPREHENSIVE_3D_SR]

    def _answers(self) -> bool:
        try:
            return bool(self.get("/system"))
        except OSError:
            return False


@dataclass
class PostgreSql:
    """A database server of the tests' own, on a free port."""

    folder: Path
    port: int = field(default_factory=free_port)
    databases: int = 0

    def __post_init__(self) -> None:
        need("pg_lsclusters", "postgresql")
        (self._binaries,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
        # PostgreSQL refuses to run as root: the data belongs to the user that the package made for it.
        self._prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._prefix:
            for parent in (self.folder, *list(self.folder.parents)[:3]):
                parent.chmod(0o755)
            self.folder.chmod(0o777)
        self._data = str(self.folder / "data")
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "test")

    def start(self) -> None:
        """Start it, on what an earlier start left."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "-D", self._data, "-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def stop(self) -> None:
        """End it at once, as a crash does."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop", check=False)

    @contextmanager
    def kept_running(self) -> Iterator[None]:
        """Start it again at the end of the context, for the tests that follow, if it is down."""
        try:
            yield
        finally:
            self.stop()
            self.start()

    def database(self) -> str:
        """Return the URL of an empty database."""
        self.databases += 1
        name = f"ledger{self.databases}"
        self.run("createdb", name)
        return f"postgresql://test@127.0.0.1:{self.port}/{name}"

    def run(self, program: str, *arguments: str) -> str:
        """Run one of its client programs, and return what it says."""
        return self._run(program, "-h", "127.0.0.1", "-p", str(self.port), "-U", "test", *arguments)

    def _run(self, program: str, *arguments: str, check: bool = True) -> str:
        # Files, not pipes: the server that pg_ctl leaves behind would hold a pipe open.
        command = [*self._prefix, str(self._binaries / program), *arguments]
        with tempfile.TemporaryFile("w+") as said:
            # It would tell whoever started the test that it is ready.
            environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
            done = subprocess.run(command, stdout=said, stderr=said, env=environment, check=False)
            said.seek(0)
            text = said.read()
        assert done.returncode == 0 or not check, text
        return text


@dataclass
class Service:
    """`pneumo-monai serve` in processes of its own."""

    settings: Settings
    config: Path
    log: Path
    process: "subprocess.Popen[bytes]"

    @property
    def listener(self) -> str:
        """``AETITLE@host:port`` of the listener."""
        return f"{self.settings.listener.ae_title}@127.0.0.1:{self.settings.listener.port}"

    def ready(self) -> dict[str, Any]:
        """Return what /ready says; empty while the web port is not there."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.web.port}/ready", timeout=5) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}

    def process_ready(self, name: str) -> bool:
        """Whether one of its processes says that it is ready."""
        return any(process["name"] == name and process["ready"] for process in self.ready().get("processes", ()))

    def child(self, name: str) -> int:
        """Return the process id of ``listener`` or ``worker``."""
        listing = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines():
            pid, parent, *arguments = line.split()
            if parent == str(self.process.pid) and name in arguments:
                return int(pid)
        pytest.fail(f"serve has no child {name}")

    def studies(self) -> dict[str, StudyOverview]:
        """Return the ledger's studies by Study Instance UID."""
        records = Records(connect(self.settings.ledger_url))
        try:
            return {study.study_instance_uid: study for study in overview(records, 10_000)}
        finally:
            records.engine.dispose()

    def open_films(self) -> list[str]:
        """Return the Study Instance UIDs of the studies with films in progress."""
        records = Records(connect(self.settings.ledger_url))
        try:
            return records.open_studies()
        finally:
            records.engine.dispose()

    def wait_for(self, study_instance_uid: str, state: str, objects: int = 1, seconds: float = 60.0) -> StudyOverview:
        """Wait until so many objects of a study were received and the study is in a state."""

        def look() -> StudyOverview | None:
            study = self.studies().get(study_instance_uid)
            return study if study and study.state == state and len(study.films) >= objects else None

        return wait_until(f"study {state}; the log: {self.log.read_text()[-2000:]}", look, seconds)

    def stop(self) -> int:
        """Ask it to end, as an init system does, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


NOBODY = 65534
_CONFINED = """
set -e
folder=$1 closed=$2 python=$3
shift 3
mount --bind "$folder" "$folder"
if [ -n "$closed" ]; then
    mkdir -p "$folder/python"
    mount --bind "$python" "$folder/python"
    mount -t tmpfs -o mode=755 tmpfs "$closed"
    mkdir -p "$python"
    mount --move "$folder/python" "$python"
    rmdir "$folder/python"
fi
mount -o remount,ro,bind /
exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
"""


def confined(folder: Path) -> list[str]:
    """Return what runs a command as the units of deploy/systemd do: another user, no privilege, one folder to write to.

    Empty where this is not root, or the kernel does not let root do that, or nobody else may read this program.
    """
    if os.geteuid() != 0:
        return []
    for parent in (folder, *list(folder.parents)[:3]):
        parent.chmod(0o755)
    os.chown(folder, NOBODY, NOBODY)
    # A Python in root's home is shown to the other user, and nothing else of it.
    python = Path(sys.base_prefix).resolve()
    closed = [str(parent) for parent in reversed(python.parents) if not parent.stat().st_mode & 0o001]
    script = ["sh", "-c", _CONFINED, "confined", str(folder), *(closed[:1] or [""]), str(python)]
    prefix = ["unshare", "--mount", "--propagation", "private", "--", *script]
    # Twice: the first program is still found with root's eyes.
    twice = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import pneumo_monai'], check=True)"
    probe = subprocess.run([*prefix, sys.executable, "-c", twice], capture_output=True, text=True, check=False)
    return prefix if probe.returncode == 0 else []


@contextmanager
def running_service(
    folder: Path,
    bundle: Path | None,
    destinations: Sequence[dict[str, Any]],
    *,
    environment: Mapping[str, str] | None = None,
    within: Sequence[str] = (),
    **sections: Any,
) -> Iterator[Service]:
    """Run the service until the context ends; it must then end cleanly.

    `environment` and `sections` of the settings are added to those of every test; `within` is what runs its command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    content = {
        "data_dir": str(folder / "data"),
        "listener": {"ae_title": "PNEUMO", "host": "127.0.0.1", "port": free_port()},
        "destinations": list(destinations),
        "web": {"host": "127.0.0.1", "port": free_port()},
        "model": {"path": None if bundle is None else str(bundle), "device": "cpu"},
        **sections,
    }
    config.write_text(yaml.safe_dump(content))
    log = folder / "service.log"
    with log.open("ab") as stream:
        command = [*within, sys.executable, "-m", "pneumo_monai", "serve", "--config", str(config)]
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, **(environment or {})})
    service = Service(load_settings(config), config, log, process)
    try:
        yield service
        assert service.stop() == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def dcmsend(service: Service, *files: Path) -> None:
    """Send files with DCMTK, over one association."""
    host, port = "127.0.0.1", str(service.settings.listener.port)
    command = [need("dcmsend", "dcmtk"), "-aet", "SCANNER", "-aec", "PNEUMO", host, port, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def write(film: Dataset, folder: Path) -> Path:
    """Write a film under its SOP Instance UID."""
    path = folder / f"{film.SOPInstanceUID}.dcm"
    film.save_as(path, enforce_file_format=True)
    return path


@dataclass
class StorageScp:
    """A storage SCP of the test's own: takes some SOP Classes, answers others with the statuses it is told."""

    port: int
    received: list[Dataset] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    """SOP Class UID to what is answered instead of success."""
    comment: str = ""
    """Error Comment (0000,0902) of these answers."""
    associations: int = 0

    @property
    def classes(self) -> list[str]:
        """SOP Class UIDs of what it keeps, in the order of receipt."""
        return [str(dataset.SOPClassUID) for dataset in self.received]


@contextmanager
def storage_scp(*sop_classes: str, port: int | None = None) -> Iterator[StorageScp]:
    """Run a peer that supports some SOP Classes only."""
    peer = StorageScp(port or free_port())

    def store(event: evt.Event) -> int | Dataset:
        status = peer.statuses.get(str(event.request.AffectedSOPClassUID), 0x0000)
        if status == 0x0000:
            peer.received.append(event.dataset)
        if not peer.comment or status == 0x0000:
            return status
        answer = Dataset()
        answer.Status, answer.ErrorComment = status, peer.comment
        return answer

    def count(_: evt.Event) -> None:
        peer.associations += 1

    entity = AE(ae_title="PEER")
    entity.require_called_aet = True
    for sop_class in sop_classes:
        entity.add_supported_context(sop_class)
    server = entity.start_server(
        ("127.0.0.1", peer.port), block=False, evt_handlers=[(evt.EVT_C_STORE, store), (evt.EVT_REQUESTED, count)]
    )
    try:
        yield peer
    finally:
        server.shutdown()


@dataclass
class CommitmentScp(StorageScp):
    """A storage SCP that commits to what it keeps, and answers on the association of the request."""

    asked: list[Dataset] = field(default_factory=list)
    """Action Information of each request."""
    status: int = 0x0000
    is_mute: bool = False
    loses: int = 0
    """How many requests it answers with the failure of everything, before it commits."""

    def answer(self, requested: Dataset) -> tuple[int, Dataset]:
        """Return Event Type ID and Event Information (PS3.4 table J.3.3-1)."""
        information = Dataset()
        information.TransactionUID = requested.TransactionUID
        if self.loses <= 0:
            information.ReferencedSOPSequence = requested.ReferencedSOPSequence
            return 1, information
        self.loses -= 1
        information.FailedSOPSequence = requested.ReferencedSOPSequence
        for item in information.FailedSOPSequence:
            item.FailureReason = 0x0112
        return 2, information


@contextmanager
def commitment_scp(
    *sop_classes: str, commits: bool = True, port: int | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[CommitmentScp]:
    """Run a peer that supports some SOP Classes, and the Storage Commitment Push Model if `commits`."""
    peer = CommitmentScp(port or free_port())
    requests: dict[Any, Dataset] = {}

    def store(event: evt.Event) -> int:
        peer.received.append(event.dataset)
        return 0x0000

    def act(event: evt.Event) -> tuple[int, None]:
        peer.asked.append(event.action_information)
        if peer.status == 0x0000 and not peer.is_mute:
            requests[event.assoc] = peer.asked[-1]
        return peer.status, None

    def report(event: evt.Event) -> None:
        # Once the answer to the N-ACTION is on its way.
        if type(event.message).__name__ == "N_ACTION_RSP" and (requested := requests.pop(event.assoc, None)):
            kind, information = peer.answer(requested)
            sop_class, instance = StorageCommitmentPushModel, StorageCommitmentPushModelInstance
            event.assoc.send_n_event_report(information, kind, sop_class, instance)

    entity = AE(ae_title="PEER")
    for sop_class in (*sop_classes, *([StorageCommitmentPushModel] if commits else [])):
        entity.add_supported_context(sop_class)
    handlers: list[Any] = [(evt.EVT_C_STORE, store), (evt.EVT_N_ACTION, act), (evt.EVT_DIMSE_SENT, report)]
    address = ("127.0.0.1", peer.port)
    server = entity.start_server(address, block=False, evt_handlers=handlers, ssl_context=tls)
    try:
        yield peer
    finally:
        server.shutdown()
