"""Where the network's weights come from: ImageNet, a file, or nowhere."""

import logging
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.network import ResNet18
from training.module import LINEAGE

__all__ = ["fold_to_gray", "initialise"]

_OTHERWISE = (
    "give --weights FILE (a torchvision resnet18 state dict, a checkpoint or a bundle's model.pt) or --weights none"
)
_PREFIX = "network."

_log = logging.getLogger(__name__)


def initialise(network: ResNet18, weights: str) -> list[dict[str, Any]]:
    """Put initial weights into a network.

    Parameters
    ----------
    network : ResNet18
        Changed in place.
    weights : str
        ``imagenet`` (downloads torchvision's), ``none`` (leaves the random ones), or the path of a torchvision
        resnet18 state dict, of a checkpoint of `training.train`, or of a bundle's model.pt.

    Returns
    -------
    list of dict
        The lineage that the weights carry: empty unless they are a checkpoint.

    Raises
    ------
    ConfigurationError
        The weights cannot be downloaded or read, or belong to another network.
    """
    if weights == "none":
        return []
    stored = _imagenet() if weights == "imagenet" else _read(Path(weights))
    lineage: list[dict[str, Any]] = stored.get(LINEAGE, [])
    state = stored.get("state_dict", stored)
    state = {name.removeprefix(_PREFIX): value.float() for name, value in state.items() if _is_weight(name, value)}
    own = network.state_dict()
    if state.get("conv1.weight", own["conv1.weight"]).shape[1] == 3:
        state = fold_to_gray(state)
    if (head := state.get("fc.weight")) is not None and head.shape != own["fc.weight"].shape:
        _log.info("the last layer of %s has %d outputs and is replaced", weights, len(head))
        state |= {name: own[name] for name in ("fc.weight", "fc.bias")}
    # torchvision writes no counter of batches in its oldest files; nothing reads it with a fixed momentum.
    state = {name: own[name] for name in own if name.endswith("num_batches_tracked")} | state
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ConfigurationError(f"--weights {weights} is of another network ({error}); {_OTHERWISE}") from error
    return lineage


def fold_to_gray(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Fold a first convolution for RGB into one for gray: the sum over its three input channels.

    A gray film shown to the RGB network is the same plane three times, so the sum gives the same features, exactly.
    ImageNet's channel means and standard deviations are not folded in: the network's input has mean 0 and standard
    deviation 1 over the training part, as ImageNet's had over its own, and the first batch normalisation adapts to
    what little remains.

    Parameters
    ----------
    state : dict of str to Tensor
        With ``conv1.weight`` of (64, 3, 7, 7).

    Returns
    -------
    dict of str to Tensor
        With ``conv1.weight`` of (64, 1, 7, 7), everything else as it was.
    """
    return state | {"conv1.weight": state["conv1.weight"].sum(dim=1, keepdim=True)}


def _is_weight(name: str, value: object) -> bool:
    """Whether an entry belongs to the network: a checkpoint also holds the state of loss and metrics."""
    return isinstance(value, Tensor) and not name.startswith(("heads.", "curves.", "decisions.", "confusion."))


def _imagenet() -> dict[str, Any]:
    from torchvision.models import ResNet18_Weights

    try:
        state: dict[str, Any] = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise ConfigurationError(f"ImageNet's weights cannot be downloaded ({error}); {_OTHERWISE}") from error
    return state


def _read(file: Path) -> dict[str, Any]:
    try:
        stored: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigurationError(f"--weights {file} does not exist; {_OTHERWISE}") from None
    except Exception as error:
        raise ConfigurationError(f"--weights {file} cannot be read ({type(error).__name__}); {_OTHERWISE}") from error
    return stored
