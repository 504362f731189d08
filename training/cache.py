"""Every film is decoded once: squares on disk, found by the content of the file.

::

    <cache>/index-<cut>.json                       what each path held when it was last read
    <cache>/<content>-<side>-<dtype>-<cut>.npy     (side, side) in [0, 1]: float32 exact, uint8 as 0 to 255

`cut` is ``whole``, or names the weights of the segmentation that cut the films to their lungs.

An uint8 square is for augmentation, a float32 one is exactly what the service computes from the same file.
"""

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import sha256
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from rich.progress import track

from pneumo_monai.errors import Refused
from pneumo_monai.findings import View
from pneumo_monai.geometry import Window
from pneumo_monai.lungs import find_lungs
from pneumo_monai.network import LungNet
from pneumo_monai.pixels import read_film
from pneumo_monai.preprocessing import square
from pneumo_monai.weights import load_network
from training.records import Exam

__all__ = ["Depth", "PixelCache", "Skipped"]

Depth = Literal["uint8", "float32"]

_PIXELS = 2
"""Raised whenever pixels.py, transforms.py or lungs.py changes what they compute: other squares are not used."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A film that could not be read, and why."""

    exam: Exam
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What stood at a path: its size and time tell whether it still does."""

    size: int
    modified: int
    content: str
    view: str
    problem: str = ""
    rows: int = 0
    columns: int = 0
    window: tuple[int, int, int] = (0, 0, 0)


class PixelCache:
    """Squares of films on disk.

    Parameters
    ----------
    folder : Path
        Made when missing; several runs may share it.
    workers : int
        Processes that decode; 0: this one.
    lungs : Path or None
        Weights of `LungNet`, by which films are cut to their lungs; None: whole films.
    """

    def __init__(self, folder: Path, *, workers: int = 0, lungs: Path | None = None) -> None:
        self.folder = folder
        self.workers = workers
        self._lungs = lungs
        self._cut = f"lungs{sha256(lungs.read_bytes()).hexdigest()[:16]}" if lungs else "whole"
        folder.mkdir(parents=True, exist_ok=True)
        self._index_file = folder / f"index-{self._cut}.json"
        self._index = self._read_index()

    def fill(self, exams: Iterable[Exam], *, side: int, depth: Depth) -> tuple[list[Exam], list[Skipped]]:
        """Make sure that the square of every exam is on disk.

        Returns
        -------
        tuple of list
            The exams that can be used, with view and content, and those that cannot.
        """
        exams = list(exams)
        todo = [exam for exam in exams if not self._is_filled(exam, side, depth)]
        if todo:
            # Another process, or another run, may have decoded them since the index was read.
            self._index |= self._read_index()
            todo = [exam for exam in todo if not self._is_filled(exam, side, depth)]
        if todo:
            _log.info("decoding %d of %d films at %d pixels a side", len(todo), len(exams), side)
            jobs = [_Job(exam.path, self.folder, side, depth, self._cut, self._lungs) for exam in todo]
            made: dict[str, _Entry] = {}
            try:
                with _mapper(self.workers if len(todo) > 500 else 0) as run:
                    pairs = zip(todo, run(_decode, jobs))  # noqa: B905
                    for exam, entry in track(pairs, "Decoding", total=len(todo), transient=True):
                        made[str(exam.path.resolve())] = entry
            finally:
                # Also of a run that is stopped here: what was decoded need not be decoded again.
                self._enter(made)
        usable, skipped = [], []
        for exam in exams:
            entry = self._index[str(exam.path.resolve())]
            if entry.problem:
                skipped.append(Skipped(exam=exam, reason=entry.problem))
            else:
                left, top, span = entry.window
                read = {"rows": entry.rows, "columns": entry.columns, "window": Window(left=left, top=top, side=span)}
                usable.append(replace(exam, view=View(entry.view), content=entry.content, **read))
        return usable, skipped

    def square(self, exam: Exam, *, side: int, depth: Depth) -> NDArray[Any]:
        """Return the square of a filled exam, (side, side), uint8 0 to 255 or float32 in [0, 1]."""
        # The trainer waits for this: parsing NumPy's header, always the same, takes three times as long as reading.
        stored = np.fromfile(_square_file(self.folder, exam.content, side, depth, self._cut), np.uint8)
        return stored[-side * side * np.dtype(depth).itemsize :].view(depth).reshape(side, side)

    def _is_filled(self, exam: Exam, side: int, depth: Depth) -> bool:
        entry = self._index.get(str(exam.path.resolve()))
        if entry is None or (entry.size, entry.modified) != _stamp(exam.path):
            return False
        return bool(entry.problem) or _square_file(self.folder, entry.content, side, depth, self._cut).is_file()

    def _read_index(self) -> dict[str, _Entry]:
        if not self._index_file.is_file():
            return {}
        stored = json.loads(self._index_file.read_text(encoding="utf-8"))
        if stored["version"] != _PIXELS:
            return {}
        return {path: _Entry(**entry) for path, entry in stored["entries"].items()}

    def _enter(self, made: dict[str, _Entry]) -> None:
        """Add entries to the index on disk, beside those that another run has made meanwhile."""
        with self._index_file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._index = {**self._index, **self._read_index(), **made}
            entries = {path: asdict(entry) for path, entry in self._index.items()}
            temporary = self._index_file.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps({"version": _PIXELS, "entries": entries}), encoding="utf-8")
            temporary.replace(self._index_file)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _square_file(folder: Path, content: str, side: int, depth: Depth, cut: str) -> Path:
    return folder / f"{content}-{side}-{depth}-{cut}-{_PIXELS}.npy"


class _Job(NamedTuple):
    path: Path
    folder: Path
    side: int
    depth: Depth
    cut: str
    lungs: Path | None


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterable[_Entry]]]:
    """Give `map`, in this process or over several that share nothing with it."""
    if workers == 0:
        yield map
        return
    # One thread each: processes that all use every core wait for each other ten times as long as they compute.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield lambda function, jobs: pool.map(function, jobs, chunksize=32)


@cache
def _lung_network(file: Path) -> LungNet:
    return load_network(LungNet(), file)


def _decode(job: _Job) -> _Entry:
    path, folder, side, depth, cut, lungs = job
    size, modified = _stamp(path)
    try:
        encoded = path.read_bytes()
        content = sha256(encoded).hexdigest()
        dataset = pydicom.dcmread(BytesIO(encoded))
        film = read_film(dataset)
        fields = find_lungs(_lung_network(lungs), film) if lungs else None
        made = square(film, side, fields)
        pixels, window = made.picture[0].numpy(), made.geometry.window
    except FileNotFoundError:
        return _Entry(size=size, modified=modified, content="", view="", problem="the file is missing")
    except InvalidDicomError:
        return _Entry(size=size, modified=modified, content=content, view="", problem="the file is no DICOM file")
    except Refused as refusal:
        return _Entry(size=size, modified=modified, content=content, view="", problem=str(refusal))
    except Exception as error:  # noqa: BLE001 a hostile file may break the parser in any way; the list names it
        problem = f"the file cannot be parsed ({type(error).__name__})"
        return _Entry(size=size, modified=modified, content="", view="", problem=problem)
    file = _square_file(folder, content, side, depth, cut)
    temporary = file.with_suffix(f".{os.getpid()}.tmp.npy")
    np.save(temporary, np.round(pixels * 255.0).astype(np.uint8) if depth == "uint8" else pixels)
    temporary.replace(file)
    stated = str(dataset.get("ViewPosition", "") or "").strip().upper()
    view = stated if stated in {View.AP, View.PA} else View.NOT_STATED
    return _Entry(
        size=size,
        modified=modified,
        content=content,
        view=str(view),
        rows=film.shape[0],
        columns=film.shape[1],
        window=(window.left, window.top, window.side),
    )
