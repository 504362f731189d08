"""The resident network: logit, activation map, device, and which weights it is."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pneumo_monai.bundle import Bundle, sha256
from pneumo_monai.engine import Engine, calibrated, choose_device
from pneumo_monai.errors import BundleError, ConfigurationError
from pneumo_monai.network import ResNet18
from pneumo_monai.torch_runtime import TorchRuntime
from tests.bundles import add_gate, write_random_bundle

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle(write_random_bundle(tmp_path_factory.mktemp("model") / "bundle"))


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle, CPU)


def noise(rows: int = 64, columns: int = 64) -> Tensor:
    return torch.randn(1, rows, columns, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (96, 128)])
def test_the_logit_is_the_mean_of_the_map_plus_the_bias(engine: Engine, rows: int, columns: int) -> None:
    logit, activation = engine.read(noise(rows, columns))
    assert activation.shape == (rows // 32, columns // 32)
    assert activation.dtype == np.float32
    bias = float(torch.load(engine.bundle.weights, weights_only=True)["fc.bias"])
    assert logit == pytest.approx(float(activation.mean()) + bias, abs=1e-5)


def test_the_logit_is_what_the_network_gives(bundle: Bundle, engine: Engine) -> None:
    network = ResNet18()
    network.load_state_dict(torch.load(bundle.weights, weights_only=True))
    with torch.inference_mode():
        expected = float(network.eval()(noise()[None]))
    assert engine.read(noise())[0] == pytest.approx(expected, abs=1e-5)


def test_reading_is_repeatable(engine: Engine) -> None:
    engine.warm_up()
    first, second = engine.read(noise()), engine.read(noise())
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])


def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    assert choose_device("cpu") == CPU
    with pytest.raises(ConfigurationError, match=r"model\.device"):
        choose_device("cuda")


def test_with_a_gpu_auto_is_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda").type == "cuda"
    assert choose_device("cpu") == CPU


def test_when_the_gpu_is_out_of_memory_the_film_is_read_on_the_cpu(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    class Full(ResNet18):
        """What stands on a GPU that others have filled."""

        def read(self, image: Tensor) -> tuple[Tensor, Tensor]:
            calls.append(image.device)
            raise torch.OutOfMemoryError("CUDA out of memory")

    runtime = TorchRuntime(bundle.weights, None, CPU)
    expected = Engine(bundle, CPU, runtime).read(noise())
    monkeypatch.setattr(runtime._classifier, "_network", Full())
    on_gpu = Engine(bundle, CPU, runtime)
    for _ in range(2):
        logit, activation = on_gpu.read(noise())
        assert logit == expected[0]
        np.testing.assert_array_equal(activation, expected[1])
    assert len(calls) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


@pytest.mark.parametrize(("logit", "probability"), [(0.0, 0.5), (-1000.0, 0.0), (1000.0, 1.0), (1.5, 0.9526)])
def test_calibration(logit: float, probability: float, bundle: Bundle) -> None:
    calibration = bundle.contract.calibration.model_copy(update={"slope": 2.0})
    assert calibrated(logit, calibration) == pytest.approx(probability, abs=1e-4)


def test_calibration_has_an_intercept(bundle: Bundle) -> None:
    calibration = bundle.contract.calibration.model_copy(update={"slope": 2.0, "intercept": -3.0})
    assert calibrated(1.5, calibration) == pytest.approx(0.5)


@pytest.fixture
def path(bundle: Bundle, tmp_path: Path) -> Path:
    """Return a copy of the bundle that a test may break."""
    return copied(bundle, tmp_path / "bundle")


def copied(bundle: Bundle, path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, path))


def metadata(path: Path, **changes: Any) -> None:
    """Change the `pneumo_monai` part of metadata.json; None takes an entry out."""
    file = path / "configs" / "metadata.json"
    content = json.loads(file.read_text())
    section = {**content["pneumo_monai"], **changes}
    content["pneumo_monai"] = {name: value for name, value in section.items() if value is not None}
    file.write_text(json.dumps(content))


def test_other_weights_than_the_metadata_names_are_refused(path: Path) -> None:
    with (path / "models" / "model.pt").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(BundleError, match=r"model\.path: .*model\.pt .*SHA-256"):
        Bundle(path)


@pytest.mark.parametrize("missing", ["configs/metadata.json", "models/model.pt"])
def test_a_file_that_is_missing_is_named(path: Path, missing: str) -> None:
    (path / missing).unlink()
    with pytest.raises(BundleError, match=missing):
        Bundle(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pneumo_monai": {}}', '{"pneumo_monai": 1}'])
def test_metadata_that_is_no_contract_is_named(path: Path, text: str) -> None:
    (path / "configs" / "metadata.json").write_text(text)
    with pytest.raises(BundleError, match=r"metadata\.json"):
        Bundle(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration": None},
        {"operating_point": {"name": "x", "threshold": 1.5, "sensitivity": 0.9, "specificity": 0.5}},
        {"preprocessing": {"size": 225, "mean": 0.5, "std": 0.25}},
        {"preprocessing": {"size": 224, "mean": 0.5, "std": 0.0}},
        {"weights_sha256": "abc"},
        {"surprise": 1},
    ],
)
def test_a_broken_contract_is_named(path: Path, changes: dict[str, Any]) -> None:
    metadata(path, **changes)
    with pytest.raises(BundleError, match=r"metadata\.json breaks the bundle's contract"):
        Bundle(path)


def test_weights_of_another_network_are_refused(path: Path) -> None:
    weights = path / "models" / "model.pt"
    torch.save({"fc.weight": torch.zeros(2, 512)}, weights)
    metadata(path, weights_sha256=sha256(weights))
    with pytest.raises(BundleError, match=r"model\.pt does not fit the network"):
        Engine(Bundle(path), CPU)


def test_pickled_code_is_not_loaded(path: Path) -> None:
    weights = path / "models" / "model.pt"
    torch.save(ResNet18(), weights)
    metadata(path, weights_sha256=sha256(weights))
    with pytest.raises(BundleError, match=r"model\.pt"):
        Engine(Bundle(path), CPU)


def test_the_uid_changes_with_what_changes_a_finding_and_with_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    def uid(name: str, **changes: Any) -> str:
        path = copied(bundle, tmp_path / name)
        metadata(path, **changes)
        return Bundle(path).identity.uid

    def uid_of_other_weights() -> str:
        path = copied(bundle, tmp_path / "weights")
        torch.save({}, path / "models" / "model.pt")
        metadata(path, weights_sha256=sha256(path / "models" / "model.pt"))
        return Bundle(path).identity.uid

    point = {"name": "sensitivity 0.90", "threshold": 0.4, "sensitivity": 0.9, "specificity": 0.5}
    platt = {"method": "platt", "slope": 1.5, "intercept": 0.0, "fitted_on": "nothing"}
    first = uid("first")
    others = {
        uid_of_other_weights(),
        uid("threshold", operating_point=point),
        uid("calibration", calibration=platt),
        uid("preprocessing", preprocessing={"size": 256, "mean": 0.5, "std": 0.25}),
    }
    assert first not in others
    assert len(others) == 4
    assert uid("again") == first
    assert uid("evaluation", evaluation={"auroc": 0.9}, training={"exams": 3}) == first
    assert first.startswith("2.25.")


def test_a_bundle_may_bring_a_gate_which_is_part_of_the_model(path: Path, bundle: Bundle) -> None:
    assert Engine(bundle, CPU).familiarity is None
    gated = Bundle(add_gate(path, distance=3.0))
    familiarity = Engine(gated, CPU).familiarity
    assert familiarity is not None
    assert familiarity.limits.distance == 3.0
    uids = {bundle.identity.uid, gated.identity.uid, Bundle(add_gate(path, distance=4.0)).identity.uid}
    assert len(uids) == 3


def test_a_gate_needs_lungs_and_the_weights_that_the_metadata_names(path: Path) -> None:
    add_gate(path, distance=3.0)
    with (path / "models" / "gate.pt").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(BundleError, match=r"model\.path: .*gate\.pt .*SHA-256"):
        Bundle(path)
    metadata(path, lungs=None)
    with pytest.raises(BundleError, match="gate needs lungs"):
        Bundle(path)
