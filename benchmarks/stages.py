"""``python -m benchmarks.stages``: each stage of the road alone, one film at a time."""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)
from rich.console import Console

from benchmarks.forms import measure_forms
from benchmarks.listening import AE_TITLE, listening
from benchmarks.rig import machine, radiograph, write_films
from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.decoding_process import DecodingProcess
from pneumo_monai.demo.phantoms import draw_phantom
from pneumo_monai.engine import Engine, Runtime, choose_device
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.onnx_runtime import OnnxRuntime
from pneumo_monai.pixels import read_film
from pneumo_monai.reading import Reading
from pneumo_monai.sender import open_association
from pneumo_monai.spool import Spool, identify
from pneumo_monai.study import Film, Study
from pneumo_monai.torch_runtime import TorchRuntime
from tests.films import DX, film_bytes, make_film
from tests.peers import Orthanc, need

__all__ = ["forward_passes", "measure_stages"]

Measured = Mapping[str, float]

_RECEIVED = 100
_SIZES = {"1024 x 1024, 12 bit": (1024, 1024, 12), "3000 x 2500, 16 bit": (3000, 2500, 16)}
_SYNTAXES: Mapping[str, tuple[str, Sequence[str]]] = {
    # By pydicom, or by a tool of DCMTK where pydicom encodes nothing.
    "uncompressed": (ExplicitVRLittleEndian, ()),
    "deflated": (DeflatedExplicitVRLittleEndian, ()),
    "RLE lossless": (RLELossless, ()),
    "JPEG lossless, SV1": (ExplicitVRLittleEndian, ("dcmcjpeg", "+e1")),
    "JPEG-LS lossless": (JPEGLSLossless, ()),
    "JPEG 2000 lossless": (JPEG2000Lossless, ()),
}


def stages(
    *,
    repeats: Annotated[int, typer.Option(min=3, help="Times that each is measured.")] = 15,
    film: Annotated[Path | None, typer.Option(help="A file to read. [a drawn chest]")] = None,
) -> None:
    """Measure every stage alone; milliseconds, medians."""
    Console().print_json(json.dumps({**measure_stages(radiograph(film), repeats), **machine()}))


def measure_stages(film: Dataset, repeats: int) -> dict[str, Any]:
    """Return the milliseconds of each stage, by its name."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        return {
            "receive": _receive(film, folder / "receive", repeats),
            "ledger": _ledger(film, folder / "ledger", repeats),
            "decode": _decode(film, folder, repeats),
            "read": _read(film, folder, repeats),
            "inference": _inference(repeats),
            "forms": measure_forms(None, repeats),
            "deliver": _deliver(film, folder, repeats),
        }


def forward_passes(seconds: float = 5.0, repeats: int = 5) -> dict[str, Any]:
    """Return how many films a second bare forward passes of the service's engine read, one lane and one a core.

    The limit of the whole road: nothing but the classifier, on a tensor that is there already.
    """
    engine = Engine(Bundle(PACKAGED), choose_device("auto"))
    size = engine.bundle.contract.preprocessing.size
    image = torch.randn(1, size, size, generator=torch.Generator().manual_seed(0))
    cores = len(os.sched_getaffinity(0))
    rates = {
        lanes: statistics.median(_rate(lambda: engine.read(image), seconds, lanes) for _ in range(repeats))
        for lanes in (1, cores)
    }
    return {"films_a_second": rates[cores], "films_a_second_one_lane": rates[1]}


def _rate(call: Callable[[], object], seconds: float, lanes: int) -> float:
    call()
    end = time.perf_counter() + seconds

    def run(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            call()
            done += 1
        return done

    with ThreadPoolExecutor(lanes) as pool:
        return round(sum(pool.map(run, range(lanes))) / seconds, 1)


def _milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median of so many calls; one before them is not counted."""
    call()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        took.append(1000.0 * (time.perf_counter() - began))
    return round(statistics.median(took), 2)


def _receive(film: Dataset, folder: Path, repeats: int) -> Measured:
    """C-STORE of one film after the other, by DCMTK over one association, to a listener without a worker."""
    rates = []
    with listening(folder, {}) as listener:
        for number in range(min(repeats, 5) + 1):
            files = write_films(film, folder / f"films-{number}", _RECEIVED, f"receive-{number}")
            command = [need("dcmsend", "dcmtk"), "--no-uid-checks", "-aec", AE_TITLE, "127.0.0.1", str(listener.port)]
            began = time.perf_counter()
            subprocess.run([*command, *map(str, files)], check=True, capture_output=True)  # noqa: S603 - our own command line
            rates.append(1000.0 * (time.perf_counter() - began) / _RECEIVED)
    return {"C-STORE, durable before it is answered": round(statistics.median(rates[1:]), 2)}


def _ledger(film: Dataset, folder: Path, repeats: int) -> Measured:
    """The two things that a listener does in the ledger, and the file that it writes before."""
    folder.mkdir()
    spool, inbox = Spool(folder), Inbox(prepare(f"sqlite:///{folder / 'ledger.sqlite'}"))
    numbers, studies = count(), []

    def keep() -> str:
        encoded = _renamed(film)
        return spool.keep_film(identify(encoded), encoded)

    def enter() -> None:
        encoded = _renamed(film)
        identity = identify(encoded)
        inbox.receive(identity, f"films/{next(numbers)}", "SCANNER")
        studies.append(identity.study_instance_uid)

    told = {
        "file, synchronised": _milliseconds(keep, repeats),
        "row of a film, committed": _milliseconds(enter, repeats),
    }
    waiting = iter(studies)
    told["study asked for"] = _milliseconds(lambda: inbox.close_study(next(waiting)), repeats - 1)
    # Naming a film anew is the benchmark's own.
    own = _milliseconds(lambda: identify(_renamed(film)), repeats)
    inbox.close()
    return {name: round(max(took - own, 0.0), 2) if "study" not in name else took for name, took in told.items()}


def _renamed(film: Dataset) -> bytes:
    film.StudyInstanceUID = generate_uid(prefix=None)
    film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    return film_bytes(film)


def _decode(film: Dataset, folder: Path, repeats: int) -> Mapping[str, Measured]:
    """From a data set to displayed values, through the worker's child where something is compressed."""
    told: dict[str, dict[str, float]] = {}
    with DecodingProcess() as process:
        name = f"{film.Rows} x {film.Columns}, {film.BitsStored} bit"
        syntax = film.file_meta.TransferSyntaxUID.name
        told[syntax] = {name: _milliseconds(lambda: read_film(film, process.decode), repeats)}
        for name, size in _SIZES.items():
            for syntax, encoded in _encoded(folder, *size):
                took = _milliseconds(lambda encoded=encoded: read_film(encoded, process.decode), repeats)  # type: ignore[misc]
                told.setdefault(syntax, {})[name] = took
    return told


def _encoded(folder: Path, rows: int, columns: int, bits: int) -> Iterator[tuple[str, Dataset]]:
    # A real film has noise in its last bits, and lossless codecs pay for it.
    noise = np.random.default_rng(0).normal(0.0, 4.0, (rows, columns))
    stored = np.clip(draw_phantom(rows, columns, opacity=True, seed=1) * ((1 << bits) - 1) + noise, 0, (1 << bits) - 1)
    for name, (syntax, tool) in _SYNTAXES.items():
        native = syntax in {ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian}
        film = make_film(
            pixels=stored.astype(np.uint16),
            bits_stored=bits,
            sop_class=DX,
            transfer_syntax=syntax if native else ExplicitVRLittleEndian,
        )
        if not native:
            film.compress(syntax, generate_instance_uid=False)
        plain, made = folder / "plain.dcm", folder / "encoded.dcm"
        film.save_as(plain, enforce_file_format=True)
        if tool:
            command = [need(tool[0], "dcmtk"), *tool[1:], str(plain), str(made)]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command line
        else:
            shutil.copy(plain, made)
        yield name, dcmread(made)


def _read(film: Dataset, folder: Path, repeats: int) -> Measured:
    """The five stages of the graph, one call each, on one film."""
    (file,) = write_films(film, folder / "read", 1, "read")
    study = Study(study_instance_uid=str(film.StudyInstanceUID), films=(Film(path=file, key=1),))
    told: dict[str, list[float]] = {}
    with DecodingProcess() as process:
        reading = Reading(Engine(Bundle(PACKAGED), choose_device("auto")), decode=process.decode)
        for _ in range(repeats + 1):
            travelling = study
            for stage in reading.stages:
                began = time.perf_counter()
                travelling = stage(travelling)
                told.setdefault(stage.__name__, []).append(1000.0 * (time.perf_counter() - began))
    return {name: round(statistics.median(took[1:]), 2) for name, took in told.items()}


def _inference(repeats: int) -> Mapping[str, Measured]:
    """Milliseconds a film of the classifier, by what runs it and by how many films it is given at once."""
    bundle = Bundle(PACKAGED)
    cpu = torch.device("cpu")
    runtimes: dict[str, Runtime] = {
        "ONNX Runtime": OnnxRuntime(bundle.weights, bundle.lung_weights),
        "PyTorch": TorchRuntime(bundle.weights, bundle.lung_weights, cpu),
    }
    size = bundle.contract.preprocessing.size
    told: dict[str, dict[str, float]] = {}
    for name, runtime in runtimes.items():
        for batch in (1, 2, 4, 8):
            images = torch.randn(batch, 1, size, size, generator=torch.Generator().manual_seed(0))
            took = _milliseconds(lambda runtime=runtime, images=images: runtime.read(images), repeats)  # type: ignore[misc]
            told.setdefault(name, {})[f"{batch} at once"] = round(took / batch, 2)
    return told


@contextmanager
def _pacs(folder: Path) -> Iterator[Orthanc]:
    pacs = Orthanc(folder)
    pacs.start()
    try:
        yield pacs
    finally:
        pacs.stop()


def _deliver(film: Dataset, folder: Path, repeats: int) -> Measured:
    """One report to Orthanc: over an association of its own, and over one that stands."""
    (file,) = write_films(film, folder / "deliver", 1, "deliver")
    study = Study(study_instance_uid=str(film.StudyInstanceUID), films=(Film(path=file, key=1),))
    reading = Reading(Engine(Bundle(PACKAGED), choose_device("auto")))
    for stage in reading.stages:
        study = stage(study)
    if study.report is None:
        raise RuntimeError("the film of the benchmark is not read")
    report = folder / "report.dcm"
    report.write_bytes(study.report.documents[0].encoded)
    with _pacs(folder / "pacs") as pacs:
        peer = {"host": "127.0.0.1", "port": pacs.dicom_port, "called_ae_title": "PACS", "calling_ae_title": "PNEUMO"}

        def alone() -> None:
            with open_association([report], **peer) as association:  # type: ignore[arg-type]
                association.store(report)

        told = {"association, C-STORE, release": _milliseconds(alone, repeats)}
        with open_association([report], **peer) as association:  # type: ignore[arg-type]
            told["C-STORE on an association that stands"] = _milliseconds(lambda: association.store(report), repeats)
    return told


if __name__ == "__main__":
    typer.run(stages)
