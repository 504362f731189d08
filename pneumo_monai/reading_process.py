"""A study read in a process that is started for it, with the same stages: what ends it costs one film.

The process says on a pipe which films it has at hand, and last of all what came of them.
"""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from pneumo_monai.before_holoscan import import_to_read
from pneumo_monai.quarantine import Death, read_apart
from pneumo_monai.settings import Settings
from pneumo_monai.study import Film, Study

__all__ = ["READING_SECONDS", "ReadingProcess"]

READING_SECONDS = 600.0
"""How long a stage may have one film at hand, or the report of one study."""

_PR_SET_PDEATHSIG = 1  # prctl(2)


class ReadingProcess:
    """Reads suspects, one study at a time.

    Parameters
    ----------
    settings : Settings
        The whole tree.
    seconds : float
        Without a word, after which the process is ended; its start may take `READING_SECONDS`.
    target : callable
        What runs in it.
    """

    def __init__(
        self,
        settings: Settings,
        seconds: float = READING_SECONDS,
        target: Callable[[Connection, Settings, Study], None] | None = None,
    ) -> None:
        self._settings = settings
        self._seconds = seconds
        self._target = target or _main
        self._context = multiprocessing.get_context("spawn")
        self._lock = threading.Lock()

    def read(self, study: Study) -> Study:
        """Read a study and refuse what ends a process; see `pneumo_monai.quarantine.read_apart`.

        The films come back without headers and pictures.
        """
        with self._lock:
            return read_apart(study, self._attempt)

    def _attempt(self, study: Study) -> Study | Death:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=self._target, args=(theirs, self._settings, replace(study, answer=None)), daemon=True, name="reading"
        )
        with ours:
            process.start()
            theirs.close()
            try:
                return self._listen(ours, process)
            finally:
                if process.is_alive():
                    process.kill()
                process.join()
                process.close()

    def _listen(self, ours: Connection, process: multiprocessing.process.BaseProcess) -> Study | Death:
        held: frozenset[int] = frozenset()
        patience = READING_SECONDS
        try:
            while ours.poll(patience):
                said = ours.recv()
                if isinstance(said, Study):
                    return said
                held, patience = frozenset(said), self._seconds
            return Death(films=held, signal=None, how=f"reading it alone took more than {patience:g} s")
        except (EOFError, OSError):
            process.join(READING_SECONDS)
        except Exception:  # noqa: BLE001 - a process whose memory is in disorder says what it pleases
            return Death(films=held, signal=None, how="reading it alone brought the process into disorder")
        code = process.exitcode or 0
        number = -code if code < 0 else None
        how = f"status {code}" if number is None else signal.Signals(number).name
        return Death(films=held, signal=number, how=f"reading it alone ended the process with {how}")


def _main(pipe: Connection, settings: Settings, study: Study) -> None:
    """Read one study in a process of its own."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():
        # It died while this process was starting: what is read here, nobody waits for.
        os._exit(0)
    # When memory runs out, the system ends this process and not the worker.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")

    from pneumo_monai import logs

    import_to_read()
    from pneumo_monai.bundle import PACKAGED, Bundle
    from pneumo_monai.decoding_process import DecodingProcess
    from pneumo_monai.engine import open_engine
    from pneumo_monai.reading import Reading, passed
    from pneumo_monai.revisions import Reporting

    logs.configure("reading")

    @contextmanager
    def hold(films: Iterable[int]) -> Iterator[None]:
        pipe.send(list(films))
        try:
            yield
        finally:
            pipe.send([])

    # For one study nothing is worth recording.
    model = settings.model.model_copy(update={"cuda_graphs": False})
    engine = open_engine(Bundle(settings.model.path or PACKAGED), model)
    reporting = Reporting.to(settings.destinations, settings.report)
    with DecodingProcess() as decoder:
        reading = Reading(engine, settings.intended_use, reporting, decoder.decode, hold)
        for stage in reading.stages:
            study = passed(study, stage)
    pipe.send(replace(study, films=tuple(_small(film) for film in study.films)))
    pipe.close()
    # Nothing that is left in this process has a say in how it ends.
    os._exit(0)


def _small(film: Film) -> Film:
    """Leave out what the ledger does not need."""
    return Film(
        path=film.path, key=film.key, remarks=film.remarks, refused=film.refused, failed=film.failed, again=film.again
    )
