"""The operator between the ends: one stage of reading."""

from typing import Any

from holoscan.core import ExecutionContext, InputContext, OutputContext
from monai.deploy.core import Fragment, Operator, OperatorSpec

from pneumo_monai.reading import Stage, passed
from pneumo_monai.study import Study

__all__ = ["StageOperator"]


class StageOperator(Operator):
    """Passes each study through one stage.

    Nothing a stage raises leaves `compute`: Holoscan would end the whole graph. The study travels on as failed.

    Parameters
    ----------
    fragment : Fragment
        The application.
    stage : callable
        A method of `pneumo_monai.reading.Reading`; the operator bears its name.
    """

    def __init__(self, fragment: Fragment, *args: Any, stage: Stage) -> None:
        self._stage = stage
        super().__init__(fragment, *args, name=stage.__name__)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare one study in, one study out."""
        spec.input("study")
        spec.output("study")

    def compute(self, op_input: InputContext, op_output: OutputContext, context: ExecutionContext) -> None:
        """Apply the stage."""
        del context
        study: Study = op_input.receive("study")
        op_output.emit(passed(study, self._stage), "study")
