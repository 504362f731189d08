"""The only wiring: load ▸ gate ▸ preprocess ▸ infer ▸ report between one pair of ends."""

import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from holoscan.schedulers import EventBasedScheduler
from monai.deploy.core import Application, Operator

from pneumo_monai.errors import Retryable
from pneumo_monai.operators import FolderSink, FolderSource, FutureSink, Inlet, ResidentSource, StageOperator
from pneumo_monai.reading import Reading
from pneumo_monai.study import Study

__all__ = ["FolderApplication", "ResidentGraph", "connect_stages"]

_THREADS = 3
"""One decodes while one reads; the third moves what is between."""


def connect_stages(application: Application, source: Operator, reading: Reading, sink: Operator) -> None:
    """Wire the five stages between a source and a sink."""
    operators = [source, *(StageOperator(application, stage=stage) for stage in reading.stages), sink]
    for upstream, downstream in pairwise(operators):
        application.add_flow(upstream, downstream, {("study", "study")})


class FolderApplication(Application):
    """One shot: the studies of a folder in, reports in a folder out.

    Parameters
    ----------
    reading : Reading
        The stages.
    studies : sequence of Study
        At least one, from `pneumo_monai.folder.find_studies`.
    output : pathlib.Path
        Folder of the reports.
    on_study : callable
        Called once a study, with the error that kept its report from the disk, if any.
    """

    def __init__(
        self,
        *args: Any,
        reading: Reading,
        studies: Sequence[Study],
        output: Path,
        on_study: Callable[[Study, OSError | None], None],
    ) -> None:
        self._reading = reading
        self._studies = studies
        self._output = output
        self._on_study = on_study
        super().__init__(*args)

    def compose(self) -> None:
        """Wire the graph."""
        source = FolderSource(self, studies=self._studies)
        sink = FolderSink(self, folder=self._output, on_study=self._on_study)
        connect_stages(self, source, self._reading, sink)
        self.scheduler(EventBasedScheduler(self, name="scheduler", worker_thread_number=_THREADS))


class _ResidentApplication(Application):
    def __init__(self, reading: Reading, inlet: Inlet) -> None:
        self._reading = reading
        self._inlet = inlet
        super().__init__()

    def compose(self) -> None:
        connect_stages(self, ResidentSource(self, inlet=self._inlet), self._reading, FutureSink(self))
        self.scheduler(EventBasedScheduler(self, name="scheduler", worker_thread_number=_THREADS))


class ResidentGraph:
    """The graph of a worker: weights loaded once, then milliseconds a study.

    Parameters
    ----------
    reading : Reading
        The stages.
    """

    def __init__(self, reading: Reading) -> None:
        self._inlet = Inlet()
        self._application = _ResidentApplication(reading, self._inlet)
        self._end: Future[None] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the graph in the background; return when studies can be read.

        Call it from the main thread: Holoscan takes over SIGINT and SIGTERM when it starts, and would end the process
        three seconds after one, whatever is in flight. They are given back to whom they belonged.
        """
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._end = self._application.run_async()
        self.read(Study(study_instance_uid="", films=()))
        for number, handler in handlers.items():
            signal.signal(number, handler)

    @property
    def is_running(self) -> bool:
        """Whether studies can be read."""
        return self._end is not None and not self._end.done()

    def read(self, study: Study, timeout: float = 600.0) -> Study:
        """Pass one study through and wait for it. May be called from several threads.

        Raises
        ------
        Retryable
            The graph has ended, or the study did not come through in time.
        """
        if not self.is_running:
            raise Retryable("the graph is not running")
        answer: Future[Study] = Future()
        self._inlet.put(replace(study, answer=answer))
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.is_running:
            with suppress(TimeoutError):
                return answer.result(1.0)
        raise Retryable(f"the graph ended, or did not answer within {timeout:.0f} s")

    def stop(self) -> None:
        """Let what is inside come through, then end the graph."""
        if self._end is None or self._end.done():
            return
        self._inlet.close()
        self._end.result(30)
