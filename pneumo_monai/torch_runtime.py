"""The networks in PyTorch, on the GPU or the CPU."""

import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pneumo_monai.cuda_graphs import Recordings, brought
from pneumo_monai.network import LungNet, ResNet18
from pneumo_monai.weights import load_network

__all__ = ["TorchRuntime", "halved"]

Network = TypeVar("Network", bound=nn.Module)

_log = logging.getLogger(__name__)


class TorchRuntime:
    """The networks in PyTorch.

    A film is read again on the CPU, in single precision, when a GPU runs out of memory, and when half precision gives
    what is no number.

    Parameters
    ----------
    weights : Path
        State dict of `ResNet18`.
    lung_weights : Path or None
        State dict of `LungNet`; None: there is no segmentation.
    device : torch.device
        Where they run.
    half : bool
        Have the classifier compute in float16.
    cuda_graphs : bool
        On a GPU, record the kernels of a pass and launch them at once.
    """

    def __init__(
        self,
        weights: Path,
        lung_weights: Path | None,
        device: torch.device,
        *,
        half: bool = False,
        cuda_graphs: bool = False,
    ) -> None:
        if device.type == "cuda":
            # Else convolutions in single precision have the 10 bits of mantissa that float16 has.
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        resident = partial(_Resident, device=device, cuda_graphs=cuda_graphs)
        self._classifier = resident(lambda: load_network(ResNet18(), weights), _classify, half=half)
        self._lungs = None
        if lung_weights is not None:
            # A pixel of the lungs' outline moves the window by which a film is cut, and with it all that is read.
            self._lungs = resident(lambda: load_network(LungNet(), lung_weights), _segment, half=False)

    def read(self, images: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Runtime.read`."""
        logit_b, activation_bhw = self._classifier(images)
        return logit_b.numpy(), activation_bhw.numpy()

    def segment(self, images: Tensor) -> Tensor:
        """See `Runtime.segment`."""
        assert self._lungs is not None  # noqa: S101 - whoever segments has looked
        (logit_bchw,) = self._lungs(images)
        return logit_bchw


def _classify(network: ResNet18, images: Tensor) -> tuple[Tensor, Tensor]:
    return network.read(images)


def _segment(network: LungNet, images: Tensor) -> tuple[Tensor]:
    return (network(images),)


def halved(network: Network) -> Network:
    """Have a network compute in float16; batch normalisation keeps its statistics in single precision."""
    for module in network.half().modules():
        if isinstance(module, _BatchNorm):
            module.float()
    return network


class _Resident(Generic[Network]):
    """A network on its device, and on the CPU once that did not do."""

    def __init__(
        self,
        load: Callable[[], Network],
        forward: Callable[[Network, Tensor], tuple[Tensor, ...]],
        *,
        device: torch.device,
        half: bool,
        cuda_graphs: bool,
    ) -> None:
        self._load, self._forward, self._device = load, forward, device
        network = self._laid_out()
        self._network = (halved(network) if half else network).to(device)
        self._dtype = torch.float16 if half else torch.float32
        self._recordings = Recordings(self._computed, device) if cuda_graphs and device.type == "cuda" else None
        self._fallback: Network | None = None
        self._lock = threading.Lock()

    def _laid_out(self) -> Network:
        # cuDNN's fastest kernels want the channels of a pixel side by side.
        network: Network = self._load().to(memory_format=torch.channels_last)
        return network

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run the network on films in memory; what comes of it is there too, in single precision."""
        with torch.inference_mode():
            made = self._on_the_device(images)
            if made is None:
                _log.warning("the GPU is out of memory, the film is read again on the CPU")
                torch.cuda.empty_cache()
                return self._on_the_cpu(images)
            if self._dtype is torch.float16 and not all(bool(torch.isfinite(each).all()) for each in made):
                _log.warning("half precision is too small for a film, it is read again on the CPU in single precision")
                return self._on_the_cpu(images)
            return made

    def _on_the_device(self, images: Tensor) -> tuple[Tensor, ...] | None:
        """Run the network where it stands; None where its memory does not suffice."""
        try:
            return self._recordings(images) if self._recordings is not None else self._passed(images)
        except torch.OutOfMemoryError:
            # Not here: the error holds on to what lies in that memory.
            return None

    def _passed(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(each.cpu() for each in self._computed(brought(images, self._device)))

    def _computed(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(each.float() for each in self._forward(self._network, images.to(self._dtype)))

    def _on_the_cpu(self, images: Tensor) -> tuple[Tensor, ...]:
        with self._lock:
            if self._fallback is None:
                self._fallback = self._laid_out()
        return self._forward(self._fallback, images)
