"""The two pairs of ends of the graph: a folder for one shot, a queue and futures for the service."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from holoscan.conditions import AsynchronousCondition, AsynchronousEventState, CountCondition
from holoscan.core import ExecutionContext, InputContext, OutputContext
from monai.deploy.core import Fragment, Operator, OperatorSpec

from pneumo_monai.durable import write_durably
from pneumo_monai.study import Study

__all__ = ["FolderSink", "FolderSource", "FutureSink", "Inlet", "ResidentSource"]


class FolderSource(Operator):
    """Emits the studies found in a folder, one a tick, and then no more.

    Parameters
    ----------
    fragment : Fragment
        The application.
    studies : sequence of Study
        From `pneumo_monai.folder.find_studies`; at least one.
    """

    def __init__(self, fragment: Fragment, *args: Any, studies: Sequence[Study]) -> None:
        self._studies = deque(studies)
        super().__init__(fragment, CountCondition(fragment, count=len(studies)), *args, name="folder_source")

    def setup(self, spec: OperatorSpec) -> None:
        """Declare one study out."""
        spec.output("study")

    def compute(self, op_input: InputContext, op_output: OutputContext, context: ExecutionContext) -> None:
        """Emit the next study."""
        del op_input, context
        op_output.emit(self._studies.popleft(), "study")


class FolderSink(Operator):
    """Writes each document of a new report as ``<SOP Instance UID>.dcm`` and hands the study to `on_study`.

    Parameters
    ----------
    fragment : Fragment
        The application.
    folder : pathlib.Path
        Where reports go; created when it is missing.
    on_study : callable
        Called once a study, after its documents are on disk, or with the error that kept it from there.
    """

    def __init__(
        self, fragment: Fragment, *args: Any, folder: Path, on_study: Callable[[Study, OSError | None], None]
    ) -> None:
        self._folder = folder
        self._on_study = on_study
        super().__init__(fragment, *args, name="folder_sink")

    def setup(self, spec: OperatorSpec) -> None:
        """Declare one study in."""
        spec.input("study")

    def compute(self, op_input: InputContext, op_output: OutputContext, context: ExecutionContext) -> None:
        """Write the report, if there is one."""
        del op_output, context
        study: Study = op_input.receive("study")
        problem = None
        try:
            for document in study.report.documents if study.report is not None else ():
                write_durably(self._folder / f"{document.sop_instance_uid}.dcm", document.encoded)
        except OSError as error:
            problem = error
        self._on_study(study, problem)


class Inlet:
    """Where studies wait for a resident graph. Exists before the graph does; any thread may use it."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Study] = SimpleQueue()
        self._condition: AsynchronousCondition | None = None
        self.closed = False

    def put(self, study: Study) -> None:
        """Bring a study; returns at once."""
        self._waiting.put(study)
        self._wake()

    def close(self) -> None:
        """Let the graph end once what was brought is through."""
        self.closed = True
        self._wake()

    def bind(self, condition: AsynchronousCondition) -> None:
        """Name the condition that wakes the source."""
        self._condition = condition

    def take(self) -> Study | None:
        """Return the study that waits longest."""
        try:
            return self._waiting.get_nowait()
        except Empty:
            return None

    def _wake(self) -> None:
        # Before the graph is composed there is nothing to wake: its first tick comes by itself.
        if self._condition is not None:
            self._condition.event_state = AsynchronousEventState.EVENT_DONE


class ResidentSource(Operator):
    """Emits the studies that an inlet brings, and sleeps in between.

    Parameters
    ----------
    fragment : Fragment
        The application.
    inlet : Inlet
        Where the studies wait.
    """

    def __init__(self, fragment: Fragment, *args: Any, inlet: Inlet) -> None:
        self._inlet = inlet
        self._condition = AsynchronousCondition(fragment, name="study_waiting")
        inlet.bind(self._condition)
        super().__init__(fragment, self._condition, *args, name="resident_source")

    def setup(self, spec: OperatorSpec) -> None:
        """Declare one study out."""
        spec.output("study")

    def compute(self, op_input: InputContext, op_output: OutputContext, context: ExecutionContext) -> None:
        """Emit the next study; the condition starts ready, so the first call may find none."""
        del op_input, context
        # Waiting is declared before the inlet is looked at: what comes after the look sets the event again.
        self._condition.event_state = AsynchronousEventState.EVENT_WAITING
        study = self._inlet.take()
        if study is not None:
            op_output.emit(study, "study")
            self._condition.event_state = AsynchronousEventState.EVENT_DONE
        elif self._inlet.closed:
            self._condition.event_state = AsynchronousEventState.EVENT_NEVER


class FutureSink(Operator):
    """Gives each study back to whoever waits for its future."""

    def __init__(self, fragment: Fragment, *args: Any) -> None:
        super().__init__(fragment, *args, name="future_sink")

    def setup(self, spec: OperatorSpec) -> None:
        """Declare one study in."""
        spec.input("study")

    def compute(self, op_input: InputContext, op_output: OutputContext, context: ExecutionContext) -> None:
        """Resolve the future."""
        del op_output, context
        study: Study = op_input.receive("study")
        if study.answer is not None:
            # Without its future: one that holds itself, and a study's pictures, waits for the garbage collector.
            study.answer.set_result(replace(study, answer=None))
