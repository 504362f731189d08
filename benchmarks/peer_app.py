"""What a user would run instead: the stock operators of MONAI Deploy App SDK around a TorchScript classifier.

``python -m benchmarks.peer_app -i FOLDER -o FOLDER -m FILE``: loader ▸ series selector ▸ series to volume ▸
classifier ▸ Text SR writer, as the SDK's own example of a classifier (breast density) composes them. One process reads
one study.
"""

import os
import sys
from pathlib import Path
from typing import Any

from pneumo_monai.before_holoscan import OF_TRAINING, left_out

# An application package has no library of training, and need not import it.
with left_out(OF_TRAINING):
    import monai  # noqa: F401

import torch
from monai.deploy.conditions import CountCondition
from monai.deploy.core import AppContext, Application, Fragment, Operator, OperatorSpec
from monai.deploy.operators import (
    DICOMDataLoaderOperator,
    DICOMSeriesSelectorOperator,
    DICOMSeriesToVolumeOperator,
    DICOMTextSRWriterOperator,
)
from monai.deploy.operators.dicom_text_sr_writer_operator import EquipmentInfo, ModelInfo
from monai.transforms import Compose, EnsureChannelFirst, EnsureType, NormalizeIntensity, Resize, ScaleIntensity

_SIZE = 224
_RULES = '{"selections": [{"name": "radiograph", "conditions": {"Modality": "(?i)(CR|DX)"}}]}'


class Classifier(Operator):
    """The classifier of the example, with this task's transforms."""

    def __init__(self, fragment: Fragment, *args: Any, model: Path, **kwargs: Any) -> None:
        self._model = torch.jit.load(str(model), map_location="cpu")
        self._transforms = Compose(
            [
                EnsureChannelFirst(channel_dim="no_channel"),
                ScaleIntensity(),
                Resize((_SIZE, _SIZE), mode="bilinear", anti_aliasing=True),
                NormalizeIntensity(subtrahend=0.5, divisor=0.25),
                EnsureType(),
            ]
        )
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """An image in, a line of text out."""
        spec.input("image")
        spec.output("text")

    def compute(self, op_input: Any, op_output: Any, _: Any) -> None:
        """Read one film."""
        film = op_input.receive("image").asnumpy().squeeze()
        with torch.inference_mode():
            logit = self._model(self._transforms(film)[None].as_tensor())
        op_output.emit(f"Pneumonia: {float(torch.sigmoid(logit.flatten()[0])):.3f}", "text")


class PeerApplication(Application):
    """The whole of it."""

    def compose(self) -> None:
        """Wire the stock operators."""
        context: AppContext = Application.init_app_context(self.argv)
        # Once: without a condition it would load the folder for ever.
        loader = DICOMDataLoaderOperator(
            self, CountCondition(self, 1), input_folder=Path(context.input_path), name="loader"
        )
        selector = DICOMSeriesSelectorOperator(self, rules=_RULES, name="selector")
        volume = DICOMSeriesToVolumeOperator(self, name="volume")
        classifier = Classifier(self, model=Path(context.model_path), name="classifier")
        writer = DICOMTextSRWriterOperator(
            self,
            output_folder=Path(context.output_path),
            model_info=ModelInfo("peer", "classifier", "1", "2.25.1"),
            equipment_info=EquipmentInfo(),
            name="writer",
        )
        self.add_flow(loader, selector, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(selector, volume, {("study_selected_series_list", "study_selected_series_list")})
        self.add_flow(volume, classifier, {("image", "image")})
        self.add_flow(classifier, writer, {("text", "text")})
        self.add_flow(selector, writer, {("study_selected_series_list", "study_selected_series_list")})


if __name__ == "__main__":
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "WARN")
    PeerApplication().run()
    # Its own: rusage counts the process that started it as well.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    sys.stdout.write("".join(f"{line}\n" for line in status if line.startswith("VmHWM")))
