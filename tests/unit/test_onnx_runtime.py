"""ONNX Runtime gives what PyTorch gives, whatever the weights."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from numpy.typing import NDArray

from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.engine import Engine, calibrated
from pneumo_monai.errors import BundleError
from pneumo_monai.onnx_runtime import OnnxRuntime
from pneumo_monai.pixels import read_film
from pneumo_monai.torch_runtime import TorchRuntime
from tests.bundles import write_random_bundle
from tests.shared import shared_folder
from tests.training.bundles import add_lungs

CPU = torch.device("cpu")


def engines(bundle: Bundle) -> tuple[Engine, Engine]:
    """Return the engine that a CPU gets, and the one that is the reference."""
    reference = Engine(bundle, CPU, TorchRuntime(bundle.weights, bundle.lung_weights, CPU))
    return Engine(bundle, CPU), reference


def check(film: NDArray[np.float32], *pair: Engine) -> None:
    """Hold what one engine makes of a film against what the other does."""
    fast, reference = (engine.prepare(film) for engine in pair)
    np.testing.assert_allclose(fast.tensor.numpy(), reference.tensor.numpy(), atol=1e-6)
    (logit, activation), (expected, expected_activation) = (
        engine.read(prepared.tensor) for engine, prepared in zip(pair, (fast, reference), strict=True)
    )
    np.testing.assert_allclose(activation, expected_activation, atol=1e-4)
    contract = pair[0].bundle.contract
    found, known = (calibrated(value, contract.calibration) for value in (logit, expected))
    assert found == pytest.approx(known, abs=1e-5)
    threshold = contract.operating_point.threshold
    assert (found >= threshold) == (known >= threshold)


@pytest.mark.parametrize("size", [64, 224])
@pytest.mark.parametrize("seed", [0, 1])
def test_weights_of_every_bundle_are_read_alike(size: int, seed: int, tmp_path: Path) -> None:
    path = write_random_bundle(tmp_path / "b", seed=seed, preprocessing={"size": size, "mean": 0.4, "std": 0.3})
    pair = engines(Bundle(add_lungs(path, seed=seed)))
    assert isinstance(pair[0]._runtime, OnnxRuntime)
    generator = np.random.default_rng(seed)
    for shape in ((300, 200), (64, 64)):
        check(generator.random(shape, dtype=np.float32), *pair)


def test_films_are_read_one_by_one_and_lungs_in_batches_alike(tmp_path: Path) -> None:
    bundle = Bundle(add_lungs(write_random_bundle(tmp_path / "bundle")))
    fast, reference = (
        runtime.segment(torch.randn(3, 1, 128, 128, generator=torch.Generator().manual_seed(1)))
        for runtime in (
            OnnxRuntime(bundle.weights, bundle.lung_weights),
            TorchRuntime(bundle.weights, bundle.lung_weights, CPU),
        )
    )
    assert fast.shape == (3, 1, 128, 128)
    np.testing.assert_allclose(fast.numpy(), reference.numpy(), atol=1e-4)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 512)}, tmp_path / "model.pt")
    with pytest.raises(BundleError, match=r"model\.pt does not fit the network"):
        OnnxRuntime(tmp_path / "model.pt", None)


@pytest.mark.rsna
@pytest.mark.parametrize("folder", ["rsna-normal", "rsna-lungs", "nih-frontal", "kermany-paediatric"])
def test_the_packaged_model_reads_real_films_alike(folder: str) -> None:
    pair = engines(Bundle(PACKAGED))
    files = sorted((shared_folder(folder) / "stage_2_train_images").glob("*.dcm"))
    assert files
    for file in files[:: max(len(files) // 8, 1)]:
        check(read_film(pydicom.dcmread(file)), *pair)
