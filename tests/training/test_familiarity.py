"""What chest films look like: from drawn films to a gate in a bundle."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pneumo_monai.bundle import Bundle, Contract, sha256
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.network import LungNet
from tests.bundles import write_random_bundle
from tests.training.conftest import RECIPE, Challenge
from training.corruptions import CORRUPTIONS
from training.divide import divide
from training.export import gate_network
from training.familiarity import GATE, familiarity, fit_state, read_result, wilson


def lung_weights(path: Path, *, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    torch.save(LungNet().state_dict(), path)
    return path


def test_from_drawn_films_to_a_gate_in_a_bundle(
    challenge: Challenge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.familiarity.CORRUPTED", 2)
    folder, children = challenge(persons=40), challenge("children", persons=2)
    RECIPE.write(tmp_path / "recipe.yaml")
    cache = {"cache": tmp_path / "cache", "workers": 0}
    divide(data=[folder], out=tmp_path / "split.csv", config=tmp_path / "recipe.yaml", **cache)
    lungs = lung_weights(tmp_path / "lungs.pt")
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    (strangers / "page.txt").write_text("no picture")
    familiarity(
        data=[folder],
        split=tmp_path / "split.csv",
        lungs=lungs,
        out=tmp_path / "gate",
        others=[children],
        strangers=[strangers, children / "stage_2_train_images"],
        **cache,
    )
    figures = json.loads((tmp_path / "gate" / "gate.json").read_text())["gate"]
    refusals = figures["false_refusals"]
    assert sum(refusals[part]["films"]["all"]["films"] for part in ("training", "validation", "test")) == 80
    assert refusals["other"]["children"]["all"]["films"] == 4
    assert set(figures["detections"]["made of test films"]) == set(CORRUPTIONS)
    assert len(figures["detections"]["strangers"]) == 4

    bundle = write_random_bundle(tmp_path / "bundle")
    (bundle / "models" / "lungs.pt").write_bytes(lungs.read_bytes())
    gate = read_result(tmp_path / "gate", lungs)
    extra = gate_network(tmp_path / "gate", lungs)
    assert (extra.key, extra.weights) == ("gate", tmp_path / "gate" / GATE)
    assert {"weights_sha256": gate.weights_sha256, **extra.described} == gate.model_dump(mode="json")
    with pytest.raises(ConfigurationError, match="whole films"):
        gate_network(tmp_path / "gate", None)
    (bundle / "models" / GATE).write_bytes(extra.weights.read_bytes())
    file = bundle / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["pneumo_monai"]["lungs"] = {"weights_sha256": sha256(lungs)}
    metadata["pneumo_monai"]["gate"] = gate.model_dump(mode="json")
    file.write_text(json.dumps(metadata))
    loaded: Contract = Bundle(bundle).contract
    assert loaded.gate == gate

    with pytest.raises(ConfigurationError, match=r"another lungs\.pt"):
        read_result(tmp_path / "gate", lung_weights(tmp_path / "other.pt", seed=1))
    with pytest.raises(ConfigurationError, match="is no result"):
        read_result(tmp_path, lungs)


def test_a_fit_keeps_the_variance_and_weighs_every_folder_the_same() -> None:
    generator = np.random.default_rng(0)
    spread = np.r_[3.0, 2.0, np.ones(18)].astype(np.float32)
    large = generator.normal(0.0, 1.0, (3000, 20)).astype(np.float32) * spread
    small = generator.normal(0.0, 1.0, (30, 20)).astype(np.float32) * spread + np.float32(5.0)
    state = fit_state(large, ["large"] * 3000, directions=2)
    assert state["variances"].tolist() == pytest.approx([9.0, 4.0], rel=0.1)
    assert float(state["noise"]) == pytest.approx(1.0, rel=0.1)
    torch.testing.assert_close(state["directions"] @ state["directions"].T, torch.eye(2), atol=1e-4, rtol=0.0)
    both = fit_state(np.concatenate([large, small]), ["large"] * 3000 + ["small"] * 30, directions=2)
    assert float(both["mean"].mean()) == pytest.approx(2.5, abs=0.2)


def test_too_few_films_are_named() -> None:
    with pytest.raises(ConfigurationError, match="too few"):
        fit_state(np.zeros((3, 512), np.float32), ["a"] * 3)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_another_square(name: str) -> None:
    square = np.random.default_rng(1).random((128, 128), dtype=np.float32)
    corrupt = CORRUPTIONS[name]
    once, again = (corrupt(square, np.random.default_rng(2)) for _ in range(2))
    assert once.shape == (128, 128)
    assert 0.0 <= once.min() <= once.max() <= 1.0
    assert not np.array_equal(once, square)
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"), [(0, 358, 0.0, 0.0106), (3, 358, 0.0029, 0.0243), (10, 10, 0.7225, 1.0)]
)
def test_wilson(hits: int, count: int, low: float, high: float) -> None:
    found = wilson(hits, count)
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert wilson(0, 0) == {"films": 0}
