"""The exported graphs give what the engine gives."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pydicom
import pytest
import torch
from numpy.typing import NDArray

from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.engine import Engine, calibrated
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.lungs import LUNG_SIZE
from pneumo_monai.pixels import read_film
from pneumo_monai.transforms import SquareResize
from tests.bundles import write_random_bundle
from tests.shared import shared_folder
from tests.training.bundles import add_lungs
from training.onnx import CLASSIFIER, LUNGS, export_onnx

TOLERANCE = 1e-4


def session(file: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def films() -> list[NDArray[np.float32]]:
    """Return films of several shapes, from black to white."""
    generator = np.random.default_rng(0)
    noise = [generator.random(shape, dtype=np.float32) for shape in ((300, 200), (128, 256), (500, 500))]
    ramp = np.linspace(0.0, 1.0, 400 * 320, dtype=np.float32).reshape(400, 320)
    return [*noise, ramp, 1.0 - ramp, np.zeros((224, 224), dtype=np.float32)]


def check(engine: Engine, reader: onnxruntime.InferenceSession, shown: list[NDArray[np.float32]]) -> list[float]:
    """Hold every output of every film, alone and in a batch, against the engine; return the probabilities."""
    tensors = [engine.prepare(film).tensor for film in shown]
    batch = reader.run(None, {"image": torch.stack(tensors).numpy()})
    expected = []
    for place, tensor in enumerate(tensors):
        logit, activation = engine.read(tensor)
        expected.append(calibrated(logit, engine.bundle.contract.calibration))
        for probability_b, logit_b, activation_bhw, row in (
            (*batch, place),
            (*reader.run(None, {"image": tensor[None].numpy()}), 0),
        ):
            assert probability_b[row] == pytest.approx(expected[-1], abs=TOLERANCE)
            assert logit_b[row] == pytest.approx(logit, abs=1e-3)
            np.testing.assert_allclose(activation_bhw[row], activation, atol=1e-3)
    return expected


@pytest.fixture(scope="module")
def random_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with random weights that cuts films to their lungs."""
    calibration = {"method": "platt", "slope": 1.7, "intercept": -0.4, "fitted_on": "nothing"}
    preprocessing = {"size": 64, "mean": 0.4, "std": 0.3}
    path = tmp_path_factory.mktemp("onnx") / "bundle"
    return Bundle(add_lungs(write_random_bundle(path, calibration=calibration, preprocessing=preprocessing)))


@pytest.fixture(scope="module")
def exported(random_bundle: Bundle) -> list[Path]:
    return export_onnx(random_bundle, random_bundle.path / "onnx")


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    return session(export_onnx(Bundle(PACKAGED), tmp_path_factory.mktemp("packaged"))[0])


def test_the_files_are_valid_and_say_what_they_are(random_bundle: Bundle, exported: list[Path]) -> None:
    assert [file.name for file in exported] == [CLASSIFIER, LUNGS]
    told = []
    for file in exported:
        model = onnx.load(file)
        onnx.checker.check_model(model, full_check=True)
        told.append({entry.key: entry.value for entry in model.metadata_props})
        # No path of the machine that exported it.
        assert str(Path(__file__).parents[2]).encode() not in file.read_bytes()
        assert b"site-packages" not in file.read_bytes()
    identity = random_bundle.identity
    for properties in told:
        assert (properties["name"], properties["version"], properties["uid"]) == (
            identity.name,
            identity.version,
            identity.uid,
        )
    contract = random_bundle.contract.model_dump(mode="json")
    for key in ("preprocessing", "calibration", "operating_point"):
        assert json.loads(told[0][key]) == contract[key]


def test_the_classifier_is_that_of_the_engine(random_bundle: Bundle, exported: list[Path]) -> None:
    reader = session(exported[0])
    assert [node.name for node in reader.get_outputs()] == ["probability", "logit", "activation"]
    assert reader.get_inputs()[0].shape == ["batch", 1, 64, 64]
    check(Engine(random_bundle, torch.device("cpu")), reader, films())


def test_the_segmentation_is_that_of_the_engine(random_bundle: Bundle, exported: list[Path]) -> None:
    engine, reader = Engine(random_bundle, torch.device("cpu")), session(exported[1])
    squares = torch.stack([SquareResize(LUNG_SIZE)(film) for film in films()])
    (probability_bchw,) = reader.run(None, {"image": ((squares - 0.5) / 0.25).numpy()})
    for film, probability in zip(films(), probability_bchw[:, 0], strict=True):
        np.testing.assert_allclose(probability, engine.find_lungs(film).probability, atol=TOLERANCE)


def test_the_packaged_model_gives_the_same_probabilities(packaged: onnxruntime.InferenceSession) -> None:
    found = check(Engine(Bundle(PACKAGED), torch.device("cpu")), packaged, films())
    assert len({round(probability, 4) for probability in found}) > 3


@pytest.mark.rsna
def test_the_packaged_model_gives_the_same_probabilities_on_real_films(
    packaged: onnxruntime.InferenceSession,
) -> None:
    files = sorted((shared_folder("nih-frontal") / "stage_2_train_images").glob("*.dcm"))[::90]
    found = check(
        Engine(Bundle(PACKAGED), torch.device("cpu")), packaged, [read_film(pydicom.dcmread(file)) for file in files]
    )
    assert len(found) >= 8


def test_without_the_extra_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ConfigurationError, match=r"pneumo-monai\[onnx\]"):
        export_onnx(Bundle(PACKAGED), tmp_path)
