"""Tensor to logit and class activation map, on the GPU or the CPU."""

from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pneumo_monai.bundle import Bundle, Calibration
from pneumo_monai.errors import BundleError, ConfigurationError
from pneumo_monai.familiarity import Familiarity
from pneumo_monai.lungs import LungFields, find_lungs
from pneumo_monai.onnx_runtime import OnnxRuntime
from pneumo_monai.preprocessing import Preprocess
from pneumo_monai.sections import Model
from pneumo_monai.torch_runtime import TorchRuntime

__all__ = ["Engine", "Runtime", "calibrated", "choose_device", "open_engine"]


def choose_device(wish: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device the network runs on.

    Raises
    ------
    ConfigurationError
        `wish` is cuda and no GPU can be used.
    """
    if wish == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(
            "model.device: cuda was asked for, and torch sees no usable GPU; check the driver with nvidia-smi, "
            "or set model.device to auto or cpu"
        )
    return torch.device("cuda" if wish != "cpu" and torch.cuda.is_available() else "cpu")


def calibrated(logit: float, calibration: Calibration) -> float:
    """Turn a logit into a calibrated probability, 0 to 1."""
    return float(torch.sigmoid(torch.tensor(calibration.slope * logit + calibration.intercept, dtype=torch.float64)))


class Runtime(Protocol):
    """The two networks of a bundle, ready to run. Several threads may call it at once."""

    def read(self, images: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the classifier on films (B, 1, S, S) float32: logits (B,) and activation maps (B, S/32, S/32)."""

    def segment(self, images: Tensor) -> Tensor:
        """Run the segmentation on films (B, 1, H, W) float32: the logit of each pixel, the same shape, on the CPU."""


def _choose_runtime(bundle: Bundle, device: torch.device, model: Model | None = None) -> Runtime:
    if device.type == "cpu":
        return OnnxRuntime(bundle.weights, bundle.lung_weights)
    wish = model or Model()
    return TorchRuntime(
        bundle.weights, bundle.lung_weights, device, half=wish.precision == "half", cuda_graphs=wish.cuda_graphs
    )


class Engine:
    """The resident networks of a bundle.

    Parameters
    ----------
    bundle : Bundle
        Weights and contract.
    device : torch.device
        Where the networks run.
    runtime : Runtime or None
        What runs them; None: what is fastest there, PyTorch on a GPU and ONNX Runtime on the CPU.
    """

    def __init__(self, bundle: Bundle, device: torch.device, runtime: Runtime | None = None) -> None:
        self.bundle = bundle
        self.device = device
        self._runtime = runtime or _choose_runtime(bundle, device)
        gate, limits = bundle.gate_weights, bundle.contract.gate
        self.familiarity = Familiarity.load(gate, limits.limits) if gate and limits else None
        self.prepare = Preprocess(bundle.contract.preprocessing, self.find_lungs if bundle.lung_weights else None)

    def read(self, image: Tensor) -> tuple[float, NDArray[np.float32]]:
        """Read one preprocessed film.

        Parameters
        ----------
        image : Tensor
            (1, H, W) float32.

        Returns
        -------
        tuple of float and numpy.ndarray
            The logit and its class activation map (H/32, W/32), float32.
        """
        logit_b, activation_bhw = self._runtime.read(image[None])
        return float(logit_b[0]), activation_bhw[0]

    def find_lungs(self, film: NDArray[np.float32]) -> LungFields:
        """Segment the lung fields of one film, (H, W) float32 in [0, 1].

        Raises
        ------
        BundleError
            The bundle has no segmentation.
        """
        if self.bundle.lung_weights is None:
            raise BundleError(f"model.path: {self.bundle.path} has no models/lungs.pt")
        return find_lungs(self._runtime.segment, film)

    def warm_up(self) -> None:
        """Read one blank film, so that the first real one pays for no lazy initialisation."""
        size = self.bundle.contract.preprocessing.size
        self.read(self.prepare(np.zeros((size, size), dtype=np.float32)).tensor)


def open_engine(bundle: Bundle, model: Model) -> Engine:
    """Put a bundle's networks where the settings say, and have them compute as the settings say.

    Raises
    ------
    BundleError
        A file does not fit its network.
    ConfigurationError
        There is no such device.
    """
    device = choose_device(model.device)
    return Engine(bundle, device, _choose_runtime(bundle, device, model))
