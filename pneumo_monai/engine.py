"""Tensor to logit and class activation map, on the GPU or the CPU."""

import logging
import threading
from pickle import UnpicklingError
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pneumo_monai.bundle import Bundle, Calibration
from pneumo_monai.errors import BundleError, ConfigurationError
from pneumo_monai.network import ResNet18

__all__ = ["Engine", "calibrated", "choose_device"]

_log = logging.getLogger(__name__)


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


class Engine:
    """The resident network.

    Parameters
    ----------
    bundle : Bundle
        Weights and contract.
    device : torch.device
        Where the network runs. When a GPU runs out of memory the film is read again on the CPU.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.bundle = bundle
        self.device = device
        self._network = self._load().to(device)
        self._fallback: ResNet18 | None = None
        self._lock = threading.Lock()

    def _load(self) -> ResNet18:
        network = ResNet18()
        try:
            state = torch.load(self.bundle.weights, map_location="cpu", weights_only=True)
            network.load_state_dict({name: value.float() for name, value in state.items()})
        except (RuntimeError, AttributeError, EOFError, UnpicklingError) as error:
            raise BundleError(f"model.path: {self.bundle.weights} does not fit the network: {error}") from error
        return network.eval()

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
        try:
            return _forward(self._network, image, self.device)
        except torch.OutOfMemoryError:
            _log.warning("the GPU is out of memory, the film is read again on the CPU")
            torch.cuda.empty_cache()
        with self._lock:
            if self._fallback is None:
                self._fallback = self._load()
        return _forward(self._fallback, image, torch.device("cpu"))

    def warm_up(self) -> None:
        """Run one blank film, so that the first real one pays for no lazy initialisation."""
        size = self.bundle.contract.preprocessing.size
        self.read(torch.zeros(1, size, size))


def _forward(network: ResNet18, image: Tensor, device: torch.device) -> tuple[float, NDArray[np.float32]]:
    with torch.inference_mode():
        logit_b, activation_bhw = network.read(image[None].to(device))
        return float(logit_b[0]), activation_bhw[0].cpu().numpy()
