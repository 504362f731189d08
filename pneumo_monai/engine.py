"""Tensor to logit and class activation map, on the GPU or the CPU."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pneumo_monai.bundle import Bundle, Calibration
from pneumo_monai.errors import BundleError, ConfigurationError
from pneumo_monai.familiarity import Familiarity
from pneumo_monai.lungs import LungFields, find_lungs
from pneumo_monai.network import LungNet, ResNet18
from pneumo_monai.preprocessing import Preprocess

__all__ = ["Engine", "calibrated", "choose_device", "load_network"]

Network = TypeVar("Network", bound=nn.Module)
Result = TypeVar("Result")

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


def load_network(network: Network, weights: Path) -> Network:
    """Put a file's weights into a network and make it ready to read.

    Raises
    ------
    BundleError
        The file does not fit the network.
    """
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict({name: value.float() for name, value in state.items()})
    except (RuntimeError, AttributeError, EOFError, UnpicklingError) as error:
        raise BundleError(f"model.path: {weights} does not fit the network: {error}") from error
    return network.eval()


class Engine:
    """The resident networks of a bundle.

    Parameters
    ----------
    bundle : Bundle
        Weights and contract.
    device : torch.device
        Where the networks run. When a GPU runs out of memory the film is read again on the CPU.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.bundle = bundle
        self.device = device
        self._reader = _Resident(lambda: load_network(ResNet18(), bundle.weights), device)
        lungs = bundle.lung_weights
        self._lungs = _Resident(lambda: load_network(LungNet(), lungs), device) if lungs else None
        gate, limits = bundle.gate_weights, bundle.contract.gate
        self.familiarity = Familiarity.load(gate, limits.limits) if gate and limits else None
        self.prepare = Preprocess(bundle.contract.preprocessing, self.find_lungs if lungs else None)

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
        return self._reader.use(lambda network: _forward(network, image))

    def find_lungs(self, film: NDArray[np.float32]) -> LungFields:
        """Segment the lung fields of one film, (H, W) float32 in [0, 1].

        Raises
        ------
        BundleError
            The bundle has no segmentation.
        """
        if self._lungs is None:
            raise BundleError(f"model.path: {self.bundle.path} has no models/lungs.pt")
        return self._lungs.use(lambda network: find_lungs(network, film))

    def warm_up(self) -> None:
        """Read one blank film, so that the first real one pays for no lazy initialisation."""
        size = self.bundle.contract.preprocessing.size
        self.read(self.prepare(np.zeros((size, size), dtype=np.float32)).tensor)


class _Resident(Generic[Network]):
    """A network on its device, and on the CPU once that was too small."""

    def __init__(self, load: Callable[[], Network], device: torch.device) -> None:
        self._load = load
        self._network = load().to(device)
        self._fallback: Network | None = None
        self._lock = threading.Lock()

    def use(self, call: Callable[[Network], Result]) -> Result:
        try:
            return call(self._network)
        except torch.OutOfMemoryError:
            _log.warning("the GPU is out of memory, the film is read again on the CPU")
            torch.cuda.empty_cache()
        with self._lock:
            if self._fallback is None:
                self._fallback = self._load()
        return call(self._fallback)


def _forward(network: ResNet18, image: Tensor) -> tuple[float, NDArray[np.float32]]:
    device = next(network.parameters()).device
    with torch.inference_mode():
        logit_b, activation_bhw = network.read(image[None].to(device))
        return float(logit_b[0]), activation_bhw[0].cpu().numpy()
