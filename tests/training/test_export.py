"""What export writes: a MONAI bundle, whole or cut to the lungs, that MONAI itself loads and runs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import ConfigParser, load

from pneumo_monai.bundle import PACKAGED, Bundle, sha256
from pneumo_monai.demo.phantoms import write_phantoms
from pneumo_monai.engine import Engine, calibrated
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.network import LungNet, ResNet18
from pneumo_monai.pixels import read_film
from tests.films import film_bytes, make_film
from tests.training.bundles import DICE, write_lungs
from tests.training.conftest import RECIPE
from training import export
from training.assess import Assessment, assess
from training.card import card
from training.export import MAX_WEIGHTS, ExtraNetwork, write_bundle
from training.metadata import inference
from training.run import build_trainer, prepare
from training.schema import SCHEMA

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    # MONAI warns whoever lets it evaluate a configuration; this one is ours.
    pytest.mark.filterwarnings("ignore:.*GHSA-873f-pvrv-4x83.*"),
]

CPU = torch.device("cpu")
TEXT = {"name": "drawn", "version": "1.2.3", "changelog": "Drawn."}


@pytest.fixture(scope="module", params=["whole", "cut"])
def assessment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Assessment:
    """Measure a short run on drawn films, whole or cut to what a segmentation takes for lung."""
    folder = tmp_path_factory.mktemp(request.param)
    films = request.getfixturevalue("draw_challenge")(folder / "films")
    lungs = write_lungs(folder / "fields") if request.param == "cut" else None
    settings: dict[str, Any] = {"weights": "none", "cache": folder / "cache", "split": None, "workers": 0}
    data, module = prepare(RECIPE, [films], folder / "out", lungs=lungs, **settings)
    build_trainer(RECIPE, folder / "out", progress=False).fit(module, datamodule=data)
    return assess(folder / "out", resamples=20)


@pytest.fixture(scope="module")
def bundle(assessment: Assessment, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(assessment, tmp_path_factory.mktemp("bundles") / "drawn", **TEXT)


def test_the_bundle_has_all_that_was_measured(assessment: Assessment, bundle: Bundle) -> None:
    described = json.loads((bundle.path / "configs" / "metadata.json").read_text())
    jsonschema.validate(described, json.loads(SCHEMA.read_text()))
    assert described["changelog"] == {"1.2.3": "Drawn."}
    assert described["network_data_format"]["inputs"]["image"]["spatial_shape"] == [RECIPE.size, RECIPE.size]
    assert "persons" not in described["pneumo_monai"]["training"]["runs"][0]
    assert described["pneumo_monai"]["evaluation"]["test"] == json.loads(json.dumps(assessment.metrics["test"]))
    assert (bundle.path / "docs" / "README.md").read_text() == card(described)
    assert (bundle.path / "LICENSE").is_file()
    assert {path.name for path in bundle.path.parent.iterdir()} == {"drawn"}
    for file in (bundle.path / "models").iterdir():
        state = torch.load(file, weights_only=True)
        assert all(value.dtype == torch.float16 for value in state.values() if value.is_floating_point())


def test_films_are_cut_by_the_segmentation_of_the_run(assessment: Assessment, bundle: Bundle) -> None:
    lungs = assessment.films.lungs
    assert (bundle.path / "models" / "lungs.pt").is_file() == (lungs is not None)
    text = (bundle.path / "docs" / "README.md").read_text()
    if lungs is None:
        assert bundle.contract.lungs is None
        assert "\n## Lungs\n" not in text
        return
    assert bundle.contract.lungs is not None
    assert bundle.contract.lungs.dice == DICE
    assert bundle.contract.lungs.weights_sha256 == sha256(lungs)
    assert "0.910 (0.880 to 0.930), 3 exams" in text
    assert "Only the lung fields are read" in text
    LungNet().load_state_dict(torch.load(bundle.path / "models" / "lungs.pt", weights_only=True))


def test_the_engine_reads_films_as_they_were_measured(assessment: Assessment, bundle: Bundle) -> None:
    engine = Engine(bundle, CPU)
    for reading in assessment.readings:
        film = read_film(pydicom.dcmread(reading.exam.path))
        logit, _ = engine.read(engine.prepare(film).tensor)
        assert logit == pytest.approx(reading.logit, abs=1e-4)
        assert calibrated(logit, bundle.contract.calibration) == pytest.approx(reading.probability, abs=1e-4)


def test_monai_loads_the_network_and_its_weights(bundle: Bundle) -> None:
    network = load(name=bundle.path.name, bundle_dir=bundle.path.parent, workflow_type="inference", device="cpu")
    assert isinstance(network, ResNet18)
    film = np.random.default_rng(0).random((70, 50), dtype=np.float32)
    engine = Engine(bundle, CPU)
    tensor = engine.prepare(film).tensor
    with torch.inference_mode():
        logit_b, _ = network.eval().read(tensor[None])
    assert float(logit_b[0]) == pytest.approx(engine.read(tensor)[0], abs=1e-5)


def test_monais_parser_prepares_and_reads_as_the_engine_does(bundle: Bundle) -> None:
    parser = ConfigParser()
    parser.read_config(bundle.path / "configs" / "inference.json")
    parser["bundle_root"] = str(bundle.path)
    parser["device"] = "$__import__('torch').device('cpu')"
    film = np.random.default_rng(1).random((2 * RECIPE.size, RECIPE.size), dtype=np.float32)
    tensor = parser.get_parsed_content("preprocessing")(film)
    assert tensor.shape == (1, RECIPE.size, RECIPE.size)
    engine = Engine(bundle, CPU)
    torch.testing.assert_close(tensor, engine.prepare(film).tensor)
    assert parser.get_parsed_content("inferer")(tensor)[0] == pytest.approx(engine.read(tensor)[0], abs=1e-5)


def test_an_extra_network_has_its_file_and_its_section(assessment: Assessment, tmp_path: Path) -> None:
    if assessment.films.lungs is not None:
        pytest.skip("the section is taken by the segmentation of the run")
    other = write_lungs(tmp_path / "other")
    extra = ExtraNetwork(key="lungs", weights=other, described={"dice": {"measured": "elsewhere"}})
    written = write_bundle(assessment, tmp_path / "bundle", extras=[extra], **TEXT)
    assert written.contract.lungs is not None
    assert written.contract.lungs.dice == {"measured": "elsewhere"}
    missing = ExtraNetwork(key="lungs", weights=tmp_path / "nowhere.pt")
    with pytest.raises(ConfigurationError, match=r"nowhere\.pt is missing"):
        write_bundle(assessment, tmp_path / "bundle", extras=[missing], **TEXT)
    assert Bundle(tmp_path / "bundle").contract == written.contract


def test_a_segmentation_that_was_not_measured_is_not_shipped(assessment: Assessment, tmp_path: Path) -> None:
    if assessment.films.lungs is None:
        pytest.skip("films are read whole")
    measured = assessment.films.lungs.with_name("dice.json")
    measured.rename(tmp_path / "dice.json")
    try:
        with pytest.raises(ConfigurationError, match=r"dice\.json is missing"):
            write_bundle(assessment, tmp_path / "bundle", **TEXT)
    finally:
        shutil.move(tmp_path / "dice.json", measured)


def test_weights_that_are_too_large_are_not_shipped(
    assessment: Assessment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_WEIGHTS", 20_000_000)
    with pytest.raises(ConfigurationError, match=r"2\d\.\d MB together \(.*model\.pt 22\.4\), a bundle may have 20"):
        write_bundle(assessment, tmp_path / "bundle", **TEXT)
    assert not (tmp_path / "bundle").exists()


def test_a_new_version_keeps_what_the_older_ones_said(assessment: Assessment, tmp_path: Path) -> None:
    for version, changelog in (("1.0.0", "First."), ("1.1.0", "Second."), ("1.1.0", "Second, again.")):
        write_bundle(assessment, tmp_path / "bundle", name="drawn", version=version, changelog=changelog)
    described = json.loads((tmp_path / "bundle" / "configs" / "metadata.json").read_text())
    assert list(described["changelog"].items()) == [("1.1.0", "Second, again."), ("1.0.0", "First.")]


def test_monai_runs_the_packaged_bundle_over_a_folder(tmp_path: Path) -> None:
    films = tmp_path / "films"
    # The shipped gate looks at the picture: only a chest is read.
    frontal, *spare = write_phantoms(films)
    for path in spare:
        path.unlink()
    lateral = make_film(ViewPosition="LL")
    (films / "lateral.dcm").write_bytes(film_bytes(lateral))
    command = [sys.executable, "-m", "monai.bundle", "run"]
    command += ["--config_file", str(PACKAGED / "configs" / "inference.json"), "--bundle_root", str(PACKAGED)]
    command += ["--dataset_dir", str(films), "--output", str(tmp_path / "predictions.json")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {entry["film"]: entry for entry in json.loads((tmp_path / "predictions.json").read_text())}
    bundle = Bundle(PACKAGED)
    engine = Engine(bundle, CPU)
    logit, _ = engine.read(engine.prepare(read_film(pydicom.dcmread(frontal))).tensor)
    probability = calibrated(logit, bundle.contract.calibration)
    assert found[frontal.name]["probability"] == pytest.approx(probability, abs=1e-4)
    assert found[frontal.name]["present"] == (probability >= bundle.contract.operating_point.threshold)
    assert found["lateral.dcm"]["probability"] is None
    assert found["lateral.dcm"]["refused"].startswith("view")


def test_the_packaged_bundle_is_small_safe_to_load_and_current() -> None:
    files = sorted((PACKAGED / "models").iterdir())
    assert {file.suffix for file in files} == {".pt"}
    assert sum(file.stat().st_size for file in files) < MAX_WEIGHTS
    for file in files:
        assert all(isinstance(value, torch.Tensor) for value in torch.load(file, weights_only=True).values())
    assert json.loads((PACKAGED / "configs" / "inference.json").read_text()) == inference()
