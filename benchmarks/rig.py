"""The whole road for a benchmark: a warm service and a real Orthanc, films to send, and what their processes used."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import sqlalchemy as sa
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pneumo_monai.demo.phantoms import draw_phantom
from pneumo_monai.entries import DeliveryState
from pneumo_monai.processes import Child
from pneumo_monai.tables import DELIVERIES, connect
from pneumo_monai.uids import derive_uid
from tests.films import SC, make_film
from tests.peers import Orthanc, Service, need, running_service, wait_until

__all__ = ["Rig", "machine", "radiograph", "rig", "write_films"]

_WARM_SECONDS = 180.0


def radiograph(file: Path | None = None) -> Dataset:
    """Return the film that is sent: a real one, or a drawn chest as the RSNA challenge stores it.

    That is 1024 x 1024, 8 bit, JPEG baseline, Secondary Capture with Modality CR.
    """
    if file is not None:
        return dcmread(file)
    pixels = np.round(draw_phantom(1024, 1024, opacity=True, seed=1) * 255).astype(np.uint8)
    encoded = BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=90)
    film = make_film(pixels=pixels, sop_class=SC, ConversionType="WSD")
    film.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    film.PixelData = encapsulate([encoded.getvalue()])
    film["PixelData"].VR = "OB"
    film.LossyImageCompression = "01"
    return film


def write_films(film: Dataset, folder: Path, count: int, run: str) -> list[Path]:
    """Write so many copies of a film, each a study of its own; `run` names them apart from those of another run."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(film, folder / f"{number:06}.dcm", f"{run}-{number}") for number in range(count)]


def _write(film: Dataset, path: Path, name: str) -> Path:
    film.StudyInstanceUID = derive_uid("benchmark", "study", name)
    film.SeriesInstanceUID = derive_uid("benchmark", "series", name)
    film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = derive_uid("benchmark", "film", name)
    film.save_as(path, enforce_file_format=True)
    return path


@dataclass
class Rig:
    """The service while it runs, and the PACS it delivers to."""

    service: Service
    pacs: Orthanc
    seconds_until_ready: Mapping[str, float]
    """Of the listener and of the warm worker, from the start of the service."""
    more_workers: Sequence[Child] = ()

    def send(self, files: Sequence[Path], associations: int = 1) -> list["subprocess.Popen[bytes]"]:
        """Begin to send files with DCMTK over so many associations at once, each a process of its own."""
        port = str(self.service.settings.listener.port)
        command = [need("dcmsend", "dcmtk"), "--no-uid-checks", "--no-halt", "-aet", "SCANNER", "-aec", "PNEUMO"]
        shares = [files[first::associations] for first in range(min(associations, len(files)))]
        return [
            subprocess.Popen([*command, "127.0.0.1", port, *map(str, share)])  # noqa: S603 - our own command line
            for share in shares
        ]

    def delivered(self) -> Mapping[str, float]:
        """Return when the PACS answered that it stored a study's result, by Study Instance UID; epoch seconds."""
        engine = connect(self.service.settings.ledger_url)
        query = sa.select(DELIVERIES.c.study_instance_uid, DELIVERIES.c.updated_at)
        try:
            with engine.connect() as connection:
                rows = connection.execute(query.where(DELIVERIES.c.state == DeliveryState.DELIVERED)).all()
        finally:
            engine.dispose()
        return dict(tuple(row) for row in rows)

    def wait_for(self, count: int, seconds: float) -> None:
        """Wait until so many results were delivered; looks seldom, for it takes time from what is measured."""
        deadline = time.monotonic() + seconds
        while len(self.delivered()) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(self.delivered())} of {count} results within {seconds:.0f} s")
            time.sleep(0.5)

    def processes(self) -> Mapping[str, psutil.Process]:
        """Return the processes that take part, by what they are."""
        found: dict[str, psutil.Process] = {}
        serve = psutil.Process(self.service.process.pid)
        for process in [serve, *serve.children(recursive=True)]:
            found[_kind(process)] = process
        for child in self.more_workers:
            worker = psutil.Process(child.state.pid)
            found[child.name] = worker
            found |= {f"decoder of {child.name}": each for each in worker.children()}
        if self.pacs.process is not None:
            found["Orthanc"] = psutil.Process(self.pacs.process.pid)
        return found

    def processor_seconds(self) -> Mapping[str, float]:
        """Return how much processor time each of them has used."""
        return {name: sum(process.cpu_times()[:2]) for name, process in self.processes().items()}

    def memory(self) -> Mapping[str, int]:
        """Return the resident memory of each of them in bytes."""
        return {name: process.memory_info().rss for name, process in self.processes().items()}


def _kind(process: psutil.Process) -> str:
    line = process.cmdline()
    if any("decoding_process" in word for word in line):
        return "decoder"
    for kind in ("listener", "worker"):
        if kind in line:
            return line[line.index("--slot") + 1] if kind == "worker" else kind
    return "serve"


@contextmanager
def rig(folder: Path, workers: int = 1, sections: Mapping[str, Any] | None = None) -> Iterator[Rig]:
    """Run Orthanc and a warm service that delivers to it, until the context ends.

    `workers` beyond the first are processes beside the service, as on a second machine; `sections` of the settings are
    added.
    """
    pacs = Orthanc(folder / "pacs")
    pacs.start()
    destination = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": pacs.dicom_port}
    try:
        began = time.monotonic()
        with running_service(folder / "service", None, [destination], **(sections or {})) as service:
            ready = {}
            for name, is_ready in (
                ("listener", lambda: _answers(service)),
                ("worker-0", lambda: service.process_ready("worker-0")),
            ):
                _wait_closely(name, is_ready)
                ready[name] = round(time.monotonic() - began, 2)
            with _more_workers(service, folder, workers - 1) as more:
                yield Rig(service, pacs, ready, more)
    finally:
        pacs.stop()


def _answers(service: Service) -> bool:
    """Tell whether the listener answers a C-ECHO."""
    try:
        # Asks for less than an association does: what it costs is taken from the listener's start.
        socket.create_connection(("127.0.0.1", service.settings.listener.port)).close()
    except ConnectionRefusedError:
        return False
    entity = AE("SCANNER")
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", service.settings.listener.port, ae_title="PNEUMO")
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool(status) and status.Status == 0


def _wait_closely(what: str, is_ready: Callable[[], bool]) -> None:
    """Wait as `wait_until` does, but look often enough for a start of less than a second."""
    deadline = time.monotonic() + _WARM_SECONDS
    while not is_ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} is not ready within {_WARM_SECONDS:.0f} s")
        time.sleep(0.02)


@contextmanager
def _more_workers(service: Service, folder: Path, count: int) -> Iterator[Sequence[Child]]:
    command = [sys.executable, "-m", "pneumo_monai", "worker", "--config", str(service.config), "--slot"]
    children = [Child(name, [*command, name], folder) for name in (f"worker-{number + 1}" for number in range(count))]
    for child in children:
        child.start()

    def all_ready() -> bool:
        for child in children:
            child.tend()
        return all(child.state.ready for child in children)

    try:
        wait_until("the other workers are warm", all_ready, _WARM_SECONDS)
        yield children
    finally:
        for child in children:
            child.stop()


def machine() -> Mapping[str, object]:
    """Return what a reader must know of where it ran."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "load": [round(x, 2) for x in os.getloadavg()]}
