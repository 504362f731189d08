"""A whole run on drawn films: a step, a resume, an export, and the same answer from the service's engine."""

import json
from pathlib import Path

import pydicom
import pytest
import pytorch_lightning as pl
import torch
from monai.bundle import ConfigParser
from monai.utils import CommonKeys

from pneumo_monai.bundle import Bundle
from pneumo_monai.engine import Engine, calibrated
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.network import ResNet18
from pneumo_monai.pixels import read_film
from pneumo_monai.transforms import preprocessing
from tests.training.conftest import RECIPE, Challenge
from training.assess import Assessment, assess
from training.evaluate import write_assessment, write_run_page
from training.export import write_bundle
from training.module import LINEAGE, PneumoniaModule
from training.run import BEST, LAST, build_trainer, prepare
from training.split import Part

pytestmark = [
    # Lightning advises loader processes, which a test of a few films does without.
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    # Lightning 2.6 asks for a class that torch 2.14 has deprecated.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    # A resumed run finds its own checkpoints.
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


class StopAfter(pl.Callback):
    """Cut a run off, as if the machine had gone down: the schedule still reckons with all epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def fit(
    folder: Path, out: Path, *, epochs: int, resume: bool = False, stop_after: int | None = None
) -> PneumoniaModule:
    """Train as `training.train` does."""
    recipe = RECIPE.model_copy(update={"epochs": epochs})
    films, module = prepare(recipe, [folder], out, weights="none", cache=out / "cache", split=None, workers=0)
    trainer = build_trainer(recipe, out, progress=False)
    if stop_after is not None:
        trainer.callbacks.append(StopAfter(stop_after))
    trainer.fit(module, datamodule=films, ckpt_path=str(out / LAST) if resume else None)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return the folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    draw = request.getfixturevalue("draw_challenge")
    fit(draw(folder / "films"), folder / "out", epochs=2)
    return folder / "out"


@pytest.fixture(scope="module")
def assessment(run: Path) -> Assessment:
    return assess(run, resamples=20)


def test_one_step_on_the_cpu_changes_the_weights() -> None:
    torch.manual_seed(0)
    module = PneumoniaModule(ResNet18(), learning_rate=1e-3, positive_weight=2.0)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    before = {name: value.clone() for name, value in module.network.named_parameters()}
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    batch = {CommonKeys.IMAGE: torch.randn(4, 1, 32, 32), CommonKeys.LABEL: torch.tensor([0.0, 1.0, 0.0, 1.0])}
    loss = module.training_step(batch, 0)
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert all(not torch.equal(value, before[name]) for name, value in module.network.named_parameters())


def test_a_run_leaves_all_that_repeats_it(run: Path) -> None:
    assert {path.name for path in run.iterdir()} >= {
        "recipe.yaml",
        "split.csv",
        "skipped.csv",
        "run.json",
        "tensorboard",
    }
    assert (run / BEST).is_file()
    stored = torch.load(run / LAST, weights_only=True)
    assert stored["epoch"] == 1
    assert stored[LINEAGE][0]["parts"]["training"]["films/exact"]["exams"] == 8
    assert len(stored[LINEAGE][0]["persons"]) == 4


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    draw_challenge: Challenge, run: Path, tmp_path: Path
) -> None:
    folder = draw_challenge(tmp_path / "films")
    fit(folder, tmp_path / "out", epochs=2, stop_after=1)
    assert torch.load(tmp_path / "out" / LAST, weights_only=True)["epoch"] == 0
    fit(folder, tmp_path / "out", epochs=2, resume=True)
    resumed, straight = (torch.load(out / LAST, weights_only=True) for out in (tmp_path / "out", run))
    assert resumed["epoch"] == 1
    assert resumed["global_step"] == straight["global_step"]
    torch.testing.assert_close(resumed["state_dict"], straight["state_dict"], rtol=0.0, atol=0.0)


def test_metrics_and_predictions_are_written(run: Path, assessment: Assessment) -> None:
    write_assessment(run, assessment)
    metrics = json.loads((run / "metrics.json").read_text())
    figures = metrics["test"]["films/exact"]["all"]
    assert figures["exams"] == 8
    assert set(figures) >= {"auroc", "average_precision", "sensitivity", "specificity", "precision", "recall", "f1"}
    assert set(figures["before_calibration"]) >= {"brier"}
    assert metrics["mix"] is None
    assert set(metrics["test"]["films/exact"]) >= {"without No Lung Opacity / Not Normal"}
    assert len((run / "predictions.csv").read_text().splitlines()) == 1 + len(assessment.readings) == 17


def test_the_page_of_a_run_is_of_its_test_part(run: Path, assessment: Assessment) -> None:
    write_run_page(run, assessment, films=True)
    page = (run / "report.html").read_text()
    assert "never trained on" in page
    assert "films/exact" in page
    assert assessment.metrics["operating_point"]["chosen"].startswith(
        "the highest threshold with a sensitivity of 0.90"
    )
    assert assessment.metrics["test"]["films/exact"]["all"]["localisation"]["films"] == 4


def test_the_engine_reads_the_exported_bundle_as_the_network_was_measured(
    assessment: Assessment, tmp_path: Path
) -> None:
    bundle = write_bundle(assessment, tmp_path / "bundle", name="drawn", version="1.2.3", changelog="Drawn.")
    assert bundle.identity.name == "drawn"
    engine, constants = Engine(bundle, torch.device("cpu")), bundle.contract.preprocessing
    serve = preprocessing(size=constants.size, mean=constants.mean, std=constants.std)
    for reading in assessment.readings:
        logit, _ = engine.read(serve(read_film(pydicom.dcmread(reading.exam.path))))
        assert logit == pytest.approx(reading.logit, abs=1e-4)
        assert calibrated(logit, bundle.contract.calibration) == pytest.approx(reading.probability, abs=1e-4)


def test_the_bundle_is_one_of_monai(assessment: Assessment, tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    write_bundle(assessment, path, name="drawn", version="1.2.3", changelog="Drawn.")
    parser = ConfigParser()
    parser.read_config(path / "configs" / "inference.json")
    network = parser.get_parsed_content("network_def")
    state = torch.load(path / "models" / "model.pt", weights_only=True)
    assert all(value.dtype == torch.float16 for value in state.values() if value.is_floating_point())
    network.load_state_dict(state)
    size = RECIPE.size
    assert parser.get_parsed_content("preprocessing")(torch.zeros(2 * size, size).numpy()).shape == (1, size, size)
    described = json.loads((path / "configs" / "metadata.json").read_text())
    assert described["changelog"] == {"1.2.3": "Drawn."}
    assert described["network_data_format"]["inputs"]["image"]["spatial_shape"] == [size, size]
    runs = described["pneumo_monai"]["training"]["runs"]
    assert "persons" not in runs[0]
    assert "Research use only" in (path / "docs" / "README.md").read_text()
    assert (path / "LICENSE").is_file()


def test_an_older_bundle_is_replaced_and_other_files_are_not(assessment: Assessment, tmp_path: Path) -> None:
    text = {"name": "drawn", "changelog": "Drawn."}
    write_bundle(assessment, tmp_path / "bundle", version="1.0.0", **text)
    assert write_bundle(assessment, tmp_path / "bundle", version="1.0.1", **text).version == "1.0.1"
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "film.dcm").touch()
    with pytest.raises(ConfigurationError, match="holds other files"):
        write_bundle(assessment, tmp_path / "films", version="1.0.0", **text)
    assert Bundle(tmp_path / "bundle").version == "1.0.1"


def test_a_second_stage_may_not_hold_out_whom_the_first_one_saw(
    run: Path, draw_challenge: Challenge, tmp_path: Path
) -> None:
    folder = draw_challenge(tmp_path / "films")
    settings = {"weights": str(run / BEST), "cache": tmp_path / "cache", "workers": 0}
    other = RECIPE.model_copy(update={"seed": 3})
    with pytest.raises(ConfigurationError, match="give --split"):
        prepare(other, [folder], tmp_path / "out", split=None, **settings)
    films, module = prepare(other, [folder], tmp_path / "out", split=run / "split.csv", **settings)
    assert len(module.lineage) == 2
    assert len(films.part(Part.TRAINING)) == 8
