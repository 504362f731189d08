"""A bundle with random weights: fast to make, fulfils the contract, knows nothing."""

import json
from pathlib import Path
from typing import Any

import torch

from pneumo_monai.bundle import sha256
from pneumo_monai.network import LungNet, ResNet18

__all__ = ["add_gate", "write_random_bundle"]


def write_random_bundle(path: Path, *, seed: int = 0, **contract: Any) -> Path:
    """Write a bundle with random weights; `contract` replaces parts of its `pneumo_monai` section."""
    (path / "configs").mkdir(parents=True)
    (path / "models").mkdir()
    torch.manual_seed(seed)
    weights = path / "models" / "model.pt"
    state = ResNet18().state_dict()
    torch.save({name: v.half() if v.is_floating_point() else v for name, v in state.items()}, weights)
    section = {
        "weights_sha256": sha256(weights),
        "preprocessing": {"size": 224, "mean": 0.5, "std": 0.25},
        "calibration": {"method": "platt", "slope": 1.0, "intercept": 0.0, "fitted_on": "nothing"},
        "operating_point": {"name": "sensitivity 0.90", "threshold": 0.5, "sensitivity": 0.9, "specificity": 0.5},
        "training": {},
        "evaluation": {},
    }
    metadata = {"name": "random", "version": "0.0.0", "pneumo_monai": {**section, **contract}}
    (path / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return path


def add_gate(path: Path, *, distance: float) -> Path:
    """Give a bundle a random segmentation, and a gate that knows one blank film alone."""
    torch.manual_seed(0)
    torch.save(LungNet().state_dict(), path / "models" / "lungs.pt")
    # One direction, and a variance of 1 in each of the others.
    state = {"mean": torch.zeros(512), "directions": torch.eye(512)[:1], "variances": torch.ones(1)}
    torch.save({**state, "noise": torch.ones(())}, path / "models" / "gate.pt")
    file = path / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["pneumo_monai"]["lungs"] = {"weights_sha256": sha256(path / "models" / "lungs.pt")}
    metadata["pneumo_monai"]["gate"] = {
        "weights_sha256": sha256(path / "models" / "gate.pt"),
        "limits": {"distance": distance, "turned": 1e9, "lung_share": 0.0, "undecided_share": 1.0},
    }
    file.write_text(json.dumps(metadata))
    return path
