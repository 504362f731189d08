"""``python -m training.onnx --bundle DIR --out DIR``: the networks of a bundle as ONNX, for runtimes without PyTorch.

::

    <out>/model.onnx    image (B, 1, S, S) -> probability (B), logit (B), activation (B, S/32, S/32)
    <out>/lungs.onnx    image (B, 1, 128, 128) -> probability (B, 1, 128, 128), where the bundle cuts films

All tensors are float32. Pixels, cut and normalisation stay with the caller: `pneumo_monai.preprocessing`.
"""

import importlib.util
import json
import logging
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

from pneumo_monai.bundle import PACKAGED, Bundle, Calibration
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.lungs import LUNG_SIZE
from pneumo_monai.network import LungNet, ResNet18
from pneumo_monai.weights import load_network
from training.entry import start

__all__ = ["CLASSIFIER", "LUNGS", "export_onnx"]

CLASSIFIER = "model.onnx"
LUNGS = "lungs.onnx"

IMAGE = "image"

OPSET = 20
"""Known to every runtime since 2024; nothing here needs a newer operator."""

_log = logging.getLogger(__name__)


class _Classifier(nn.Module):
    """The classifier with its calibration, as one graph."""

    def __init__(self, network: ResNet18, calibration: Calibration) -> None:
        super().__init__()
        self.network, self.slope, self.intercept = network, calibration.slope, calibration.intercept

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logit_b, activation_bhw = self.network.read(image)
        return torch.sigmoid(self.slope * logit_b + self.intercept), logit_b, activation_bhw


class _Lungs(nn.Module):
    """The segmentation, up to the probability that `pneumo_monai.lungs` thresholds."""

    def __init__(self, network: LungNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.network(image))


def write(
    out: Annotated[Path, typer.Option(help="Folder for model.onnx and lungs.onnx.")],
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle.")] = PACKAGED,
) -> None:
    """Export the networks of a bundle as ONNX."""
    for library in ("onnxscript", "onnx_ir"):
        # They tell of every pass over the graph.
        logging.getLogger(library).setLevel(logging.WARNING)
    for file in export_onnx(Bundle(bundle), out):
        _log.info("%s, %.1f MB", file, file.stat().st_size / 1e6)


def export_onnx(bundle: Bundle, out: Path) -> list[Path]:
    """Write the networks of a bundle as ONNX and return the files.

    What the model is stands in the files' metadata properties: name, version, uid, and as JSON preprocessing,
    calibration and operating point.

    Raises
    ------
    ConfigurationError
        The extra `onnx` is not installed.
    """
    if missing := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]:
        raise ConfigurationError(f'{missing[0]} is not installed; pip install "pneumo-monai[onnx]"')
    out.mkdir(parents=True, exist_ok=True)
    contract = bundle.contract
    classifier = _Classifier(load_network(ResNet18(), bundle.weights), contract.calibration)
    decision = contract.model_dump(mode="json", include={"preprocessing", "calibration", "operating_point"})
    told = {key: json.dumps(value) for key, value in decision.items()}
    outputs = ["probability", "logit", "activation"]
    files = [_export(classifier, out / CLASSIFIER, contract.preprocessing.size, outputs, _identity(bundle) | told)]
    if bundle.lung_weights:
        lungs = _Lungs(load_network(LungNet(), bundle.lung_weights))
        files.append(_export(lungs, out / LUNGS, LUNG_SIZE, ["probability"], _identity(bundle)))
    return files


def _identity(bundle: Bundle) -> dict[str, str]:
    identity = bundle.identity
    return {
        "name": identity.name,
        "version": identity.version,
        "uid": identity.uid,
        "intended_use": str(bundle.metadata.get("intended_use", "")),
    }


def _export(network: nn.Module, file: Path, size: int, outputs: list[str], told: dict[str, str]) -> Path:
    program = torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 1, size, size),),
        input_names=[IMAGE],
        output_names=outputs,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # noqa: S101 - dynamo always returns one
    program.model.metadata_props.update(told)
    # The exporter notes where in the source each operator came from, with the paths of this machine.
    for noted in (program.model.graph, *program.model.graph):
        noted.metadata_props.clear()
    program.save(file, external_data=False)
    return file


if __name__ == "__main__":
    start(write)
