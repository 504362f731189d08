"""Every film is decoded once: squares on disk, found by the content of the file.

::

    <cache>/index.json                        what each path held when it was last read
    <cache>/<content>-<side>-<dtype>.npy      (side, side) in [0, 1]: float32 exact, uint8 as 0 to 255

An uint8 square is for augmentation, a float32 one is exactly what the service computes from the same file.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from rich.progress import track

from pneumo_monai.errors import Refused
from pneumo_monai.findings import View
from pneumo_monai.pixels import read_film
from pneumo_monai.transforms import SquareResize
from training.records import Exam

__all__ = ["Depth", "PixelCache", "Skipped"]

Depth = Literal["uint8", "float32"]

_PIXELS = 1
"""Raised whenever pixels.py or transforms.py changes what they compute: squares of another version are not used."""

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


class PixelCache:
    """Squares of films on disk.

    Parameters
    ----------
    folder : Path
        Made when missing; several runs may share it.
    workers : int
        Processes that decode; 0: this one.
    """

    def __init__(self, folder: Path, *, workers: int = 0) -> None:
        self.folder = folder
        self.workers = workers
        folder.mkdir(parents=True, exist_ok=True)
        self._index_file = folder / "index.json"
        self._index: dict[str, _Entry] = {}
        if self._index_file.is_file():
            stored = json.loads(self._index_file.read_text(encoding="utf-8"))
            if stored["version"] == _PIXELS:
                self._index = {path: _Entry(**entry) for path, entry in stored["entries"].items()}

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
            _log.info("decoding %d of %d films at %d pixels a side", len(todo), len(exams), side)
            with _mapper(self.workers if len(todo) > 500 else 0) as run:
                jobs = [(exam.path, self.folder, side, depth) for exam in todo]
                for exam, entry in track(zip(todo, run(_decode, jobs)), "Decoding", total=len(todo), transient=True):  # noqa: B905
                    self._index[str(exam.path.resolve())] = entry
            self._write_index()
        usable, skipped = [], []
        for exam in exams:
            entry = self._index[str(exam.path.resolve())]
            if entry.problem:
                skipped.append(Skipped(exam=exam, reason=entry.problem))
            else:
                usable.append(replace(exam, view=View(entry.view), content=entry.content))
        return usable, skipped

    def square(self, exam: Exam, *, side: int, depth: Depth) -> NDArray[Any]:
        """Return the square of a filled exam, (side, side), uint8 0 to 255 or float32 in [0, 1]."""
        square: NDArray[Any] = np.load(_square_file(self.folder, exam.content, side, depth))
        return square

    def _is_filled(self, exam: Exam, side: int, depth: Depth) -> bool:
        entry = self._index.get(str(exam.path.resolve()))
        if entry is None or (entry.size, entry.modified) != _stamp(exam.path):
            return False
        return bool(entry.problem) or _square_file(self.folder, entry.content, side, depth).is_file()

    def _write_index(self) -> None:
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


def _square_file(folder: Path, content: str, side: int, depth: Depth) -> Path:
    return folder / f"{content}-{side}-{depth}-{_PIXELS}.npy"


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterable[_Entry]]]:
    """Give `map`, in this process or over several that share nothing with it."""
    if workers == 0:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield lambda function, jobs: pool.map(function, jobs, chunksize=32)


def _decode(job: tuple[Path, Path, int, Depth]) -> _Entry:
    path, folder, side, depth = job
    size, modified = _stamp(path)
    try:
        encoded = path.read_bytes()
        content = sha256(encoded).hexdigest()
        dataset = pydicom.dcmread(BytesIO(encoded))
        square = SquareResize(side)(read_film(dataset))[0].numpy()
    except FileNotFoundError:
        return _Entry(size=size, modified=modified, content="", view="", problem="the file is missing")
    except InvalidDicomError:
        return _Entry(size=size, modified=modified, content=content, view="", problem="the file is no DICOM file")
    except Refused as refusal:
        return _Entry(size=size, modified=modified, content=content, view="", problem=str(refusal))
    except Exception as error:  # noqa: BLE001 a hostile file may break the parser in any way; the list names it
        problem = f"the file cannot be parsed ({type(error).__name__})"
        return _Entry(size=size, modified=modified, content="", view="", problem=problem)
    file = _square_file(folder, content, side, depth)
    temporary = file.with_suffix(f".{os.getpid()}.tmp.npy")
    np.save(temporary, np.round(square * 255.0).astype(np.uint8) if depth == "uint8" else square)
    temporary.replace(file)
    stated = str(dataset.get("ViewPosition", "") or "").strip().upper()
    view = stated if stated in {View.AP, View.PA} else View.NOT_STATED
    return _Entry(size=size, modified=modified, content=content, view=str(view))
