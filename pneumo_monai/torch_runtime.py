"""The networks in PyTorch, on the GPU or the CPU."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pneumo_monai.network import LungNet, ResNet18
from pneumo_monai.weights import load_network

__all__ = ["TorchRuntime"]

Network = TypeVar("Network", bound=nn.Module)
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class TorchRuntime:
    """The networks in PyTorch. When a GPU runs out of memory, a film is read again on the CPU.

    Parameters
    ----------
    weights : Path
        State dict of `ResNet18`.
    lung_weights : Path or None
        State dict of `LungNet`; None: there is no segmentation.
    device : torch.device
        Where they run.
    """

    def __init__(self, weights: Path, lung_weights: Path | None, device: torch.device) -> None:
        self._classifier = _Resident(lambda: load_network(ResNet18(), weights), device)
        self._lungs = None if lung_weights is None else _Resident(lambda: load_network(LungNet(), lung_weights), device)

    def read(self, images: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Runtime.read`."""
        return self._classifier.use(lambda network: _forward(network, images))

    def segment(self, images: Tensor) -> Tensor:
        """See `Runtime.segment`."""
        assert self._lungs is not None  # noqa: S101 - whoever segments has looked
        return self._lungs.use(lambda network: _segment(network, images))


class _Resident(Generic[Network]):
    """A network on its device, and on the CPU once that was too small."""

    def __init__(self, load: Callable[[], Network], device: torch.device) -> None:
        self._make = load
        self._network = self._load().to(device)
        self._fallback: Network | None = None
        self._lock = threading.Lock()

    def _load(self) -> Network:
        # cuDNN's fastest kernels want the channels of a pixel side by side.
        network: Network = self._make().to(memory_format=torch.channels_last)
        return network

    def use(self, call: Callable[[Network], Result]) -> Result:
        with torch.inference_mode():
            try:
                return call(self._network)
            except torch.OutOfMemoryError:
                _log.warning("the GPU is out of memory, the film is read again on the CPU")
                torch.cuda.empty_cache()
            with self._lock:
                if self._fallback is None:
                    self._fallback = self._load()
            return call(self._fallback)


def _forward(network: ResNet18, images: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    logit_b, activation_bhw = network.read(images.to(_device(network)))
    return logit_b.cpu().numpy(), activation_bhw.cpu().numpy()


def _segment(network: LungNet, images: Tensor) -> Tensor:
    logit_bchw: Tensor = network(images.to(_device(network)))
    return logit_bchw.cpu()


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
