"""Segmentation for bundles of tests."""

import json
from pathlib import Path
from typing import Any

import torch

from pneumo_monai.bundle import sha256
from pneumo_monai.network import LungNet

__all__ = ["DICE", "add_lungs", "write_lungs"]

DICE: dict[str, Any] = {"test": {"films": {"all": {"exams": 3, "value": 0.91, "low": 0.88, "high": 0.93}}}}


def write_lungs(folder: Path) -> Path:
    """Write what `training.segment` leaves: lungs.pt, which takes all of a film for lung, and dice.json."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = LungNet()
    last = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    assert last.bias is not None
    with torch.no_grad():
        last.bias += 20.0
    state = network.state_dict()
    torch.save({n: v.half() if v.is_floating_point() else v for n, v in state.items()}, folder / "lungs.pt")
    (folder / "dice.json").write_text(json.dumps(DICE))
    return folder / "lungs.pt"


def add_lungs(bundle: Path, *, seed: int = 0) -> Path:
    """Let a bundle cut its films by a segmentation with random weights."""
    torch.manual_seed(seed)
    weights = bundle / "models" / "lungs.pt"
    state = LungNet().state_dict()
    torch.save({n: v.half() if v.is_floating_point() else v for n, v in state.items()}, weights)
    file = bundle / "configs" / "metadata.json"
    described = json.loads(file.read_text())
    described["pneumo_monai"]["lungs"] = {"weights_sha256": sha256(weights), "dice": DICE}
    file.write_text(json.dumps(described))
    return bundle
