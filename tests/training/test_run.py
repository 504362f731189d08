"""A whole run on drawn films: a step, a resume, an export, and the same answer from the service's engine."""

import json
import shutil
from pathlib import Path

import pydicom
import pytest
import torch
from monai.utils import CommonKeys
from pytorch_lightning.strategies import DDPStrategy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pneumo_monai.bundle import Bundle
from pneumo_monai.engine import Engine, calibrated
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.network import ResNet18
from pneumo_monai.pixels import read_film
from pneumo_monai.transforms import preprocessing
from tests.training.conftest import RECIPE, Challenge, write_film
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
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return the folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    draw = request.getfixturevalue("draw_challenge")
    out = folder / "out"
    settings = {"weights": "none", "cache": out / "cache", "split": None, "workers": 0}
    films, module = prepare(RECIPE, [draw(folder / "films")], out, **settings)
    build_trainer(RECIPE, out, progress=False).fit(module, datamodule=films)
    return out


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


def test_tensorboard_shows_films_figures_and_the_learning_rate(run: Path) -> None:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()
    tags = events.Tags()
    assert {"train/films", "val/confusion"} <= set(tags["images"])
    assert {"lr-Adam", "train/loss_step", "val/auroc", "val/loss"} <= set(tags["scalars"])
    assert len(events.Images("train/films")) == 1
    assert len(events.Images("val/confusion")) == RECIPE.epochs


@pytest.mark.parametrize(("given", "found"), [("auto", "32-true"), ("bf16-mixed", "bf16-mixed")])
def test_precision_on_a_processor(tmp_path: Path, given: str, found: str) -> None:
    recipe = RECIPE.model_copy(update={"precision": given})
    assert build_trainer(recipe, tmp_path, progress=False, accelerator="cpu").precision == found


def test_half_precision_needs_a_gpu(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"precision": "16-mixed"})
    with pytest.raises(ConfigurationError, match="16-mixed needs a GPU"):
        build_trainer(recipe, tmp_path, progress=False, accelerator="cpu")


def test_several_machines_and_processes_are_lightnings(tmp_path: Path) -> None:
    settings = {"progress": False, "accelerator": "cpu", "devices": 2, "nodes": 3, "strategy": "ddp"}
    trainer = build_trainer(RECIPE, tmp_path, **settings)
    assert (trainer.world_size, trainer.num_nodes) == (6, 3)
    assert isinstance(trainer.strategy, DDPStrategy)


def test_a_run_does_not_go_on_with_other_films(run: Path, draw_challenge: Challenge, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "out")
    folder = draw_challenge(tmp_path / "films")
    for film in (folder / "stage_2_train_images").iterdir():
        write_film(film, seed=99)
    settings = {"weights": "none", "cache": tmp_path / "cache", "split": None, "workers": 0}
    with pytest.raises(ConfigurationError, match="give the same --data and --lungs"):
        prepare(RECIPE, [folder], tmp_path / "out", resume=True, **settings)


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
