"""The operator between the ends: one stage of reading."""

import logging
from collections.abc import Callable
from typing import Any

from holoscan.core import ExecutionContext, InputContext, OutputContext
from monai.deploy.core import Fragment, Operator, OperatorSpec

from pneumo_monai.logs import without_text
from pneumo_monai.study import Study

__all__ = ["StageOperator"]

_log = logging.getLogger(__name__)


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

    def __init__(self, fragment: Fragment, *args: Any, stage: Callable[[Study], Study]) -> None:
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
        try:
            study = self._stage(study)
        except Exception as error:  # noqa: BLE001 - nothing may leave compute
            _log.error("study %s failed in %s", study.study_instance_uid, self.name, exc_info=without_text(error))
            study = study.all_failed(error, self.name)
        op_output.emit(study, "study")
