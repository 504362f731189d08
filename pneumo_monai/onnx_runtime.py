"""The networks in ONNX Runtime, on the CPU."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from pneumo_monai.network import LungNet, ResNet18
from pneumo_monai.weights import load_state

__all__ = ["GRAPHS", "OnnxRuntime"]

GRAPHS = files("pneumo_monai") / "graphs"
"""The networks as ONNX without their weights, made by ``python -m training.graphs``."""


class OnnxRuntime:
    """The networks in ONNX Runtime, on the CPU, where it takes half the time of PyTorch.

    The graphs in `pneumo_monai.graphs` hold no weights: those of a bundle's files are put in, so every bundle will do.

    Parameters
    ----------
    weights : Path
        State dict of `ResNet18`.
    lung_weights : Path or None
        State dict of `LungNet`; None: there is no segmentation.
    """

    def __init__(self, weights: Path, lung_weights: Path | None) -> None:
        self._classifier = _session("resnet18.onnx", load_state(ResNet18(), weights))
        self._lungs = None if lung_weights is None else _session("lungnet.onnx", load_state(LungNet(), lung_weights))

    def read(self, images: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Runtime.read`."""
        logit_b, activation_bhw = self._classifier.run(None, {"image": images.numpy()})
        return logit_b, activation_bhw

    def segment(self, images: Tensor) -> Tensor:
        """See `Runtime.segment`."""
        assert self._lungs is not None  # noqa: S101 - whoever segments has looked
        (logit_bchw,) = self._lungs.run(None, {"image": images.numpy()})
        return torch.from_numpy(logit_bchw)


def _session(graph: str, state: Mapping[str, Tensor]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One film is read on one core: on two it takes two thirds of the time and a third more work, which is taken from
    # decoding, reports and deliveries of other films.
    options.intra_op_num_threads = 1
    # Counters of batches are for training alone.
    weights = {name: value.numpy() for name, value in state.items() if value.ndim}
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession((GRAPHS / graph).read_bytes(), options, providers=["CPUExecutionProvider"])
