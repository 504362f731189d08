"""The state dicts of a bundle, put into their networks."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar

import torch
from torch import Tensor, nn

from pneumo_monai.errors import BundleError

__all__ = ["load_network", "load_state"]

Network = TypeVar("Network", bound=nn.Module)


def load_state(network: nn.Module, weights: Path) -> Mapping[str, Tensor]:
    """Return a file's weights in single precision, once they are known to fit the network.

    Raises
    ------
    BundleError
        They do not.
    """
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        single = {name: value.float() for name, value in state.items()}
        network.load_state_dict(single)
    except (RuntimeError, AttributeError, EOFError, UnpicklingError) as error:
        raise BundleError(f"model.path: {weights} does not fit the network: {error}") from error
    return single


def load_network(network: Network, weights: Path) -> Network:
    """Put a file's weights into a network and make it ready to read.

    Raises
    ------
    BundleError
        The file does not fit the network.
    """
    load_state(network, weights)
    return network.eval()
