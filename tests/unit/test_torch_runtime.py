"""Half precision and recorded passes give what the plain pass gives, or are not used."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.cuda_graphs import Recordings
from pneumo_monai.demo.phantoms import draw_phantom
from pneumo_monai.engine import Engine, calibrated, open_engine
from pneumo_monai.onnx_runtime import OnnxRuntime
from pneumo_monai.pixels import read_film
from pneumo_monai.sections import Model
from pneumo_monai.torch_runtime import TorchRuntime, halved
from tests.bundles import write_random_bundle
from tests.shared import shared_folder
from tests.training.bundles import add_lungs

CPU = torch.device("cpu")
FILM = torch.ones(1, 1, 64, 64)


def engines(bundle: Bundle) -> tuple[Engine, Engine]:
    """Return an engine that computes in float16 and one in float32, both on the CPU."""
    half, single = (TorchRuntime(bundle.weights, bundle.lung_weights, CPU, half=half) for half in (True, False))
    return Engine(bundle, CPU, half), Engine(bundle, CPU, single)


def check(film: NDArray[np.float32], *pair: Engine) -> None:
    """Hold the probability and the assessment of one engine against those of the other, each with its own cut."""
    contract = pair[0].bundle.contract
    found, known = (calibrated(e.read(e.prepare(film).tensor)[0], contract.calibration) for e in pair)
    assert found == pytest.approx(known, abs=1e-3)
    threshold = contract.operating_point.threshold
    assert (found >= threshold) == (known >= threshold)


@pytest.mark.parametrize("seed", [0, 1])
def test_half_precision_reads_alike_with_random_weights(seed: int, tmp_path: Path) -> None:
    path = write_random_bundle(tmp_path / "bundle", seed=seed)
    pair = engines(Bundle(add_lungs(path, seed=seed)))
    check(np.random.default_rng(seed).random((300, 200), dtype=np.float32), *pair)


def test_half_precision_reads_drawn_chests_alike() -> None:
    pair = engines(Bundle(PACKAGED))
    for seed in range(4):
        check(draw_phantom(512, 440, opacity=bool(seed % 2), seed=seed).astype(np.float32), *pair)


@pytest.mark.rsna
@pytest.mark.parametrize("folder", ["rsna-normal", "rsna-lungs", "nih-frontal", "kermany-paediatric"])
def test_half_precision_reads_real_films_alike(folder: str) -> None:
    pair = engines(Bundle(PACKAGED))
    files = sorted((shared_folder(folder) / "stage_2_train_images").glob("*.dcm"))
    assert files
    for file in files[:: max(len(files) // 8, 1)]:
        check(read_film(pydicom.dcmread(file)), *pair)


def test_half_precision_leaves_statistics_of_batches_single() -> None:
    network = halved(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)))
    assert network[0].weight.dtype is torch.float16
    assert network[1].running_var is not None
    assert network[1].running_var.dtype is network[1].weight.dtype is torch.float32


def test_a_film_that_is_too_much_for_half_precision_is_read_in_single(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = Bundle(write_random_bundle(tmp_path / "bundle"))
    half, single = engines(bundle)
    # Beyond 65,504 float16 has infinity alone.
    film = 1e6 * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
    logit, activation = half.read(film)
    assert np.isfinite(logit)
    assert logit == single.read(film)[0]
    np.testing.assert_array_equal(activation, single.read(film)[1])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    caplog.clear()
    half.read(film / 1e6)
    assert not caplog.records


def test_a_cpu_computes_in_single_precision_whatever_the_settings_say() -> None:
    engine = open_engine(Bundle(PACKAGED), Model(device="cpu", precision="half", cuda_graphs=True))
    assert isinstance(engine._runtime, OnnxRuntime)


def doubled(images: Tensor) -> tuple[Tensor]:
    return (2.0 * images,)


def recordings(play: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Recordings, list[torch.Size]]:
    """Return recordings of `doubled` that give what `play` gives, and the shapes that were recorded."""
    shapes: list[torch.Size] = []

    def record(_: object, shape: torch.Size, __: object) -> Callable[[Tensor], tuple[Tensor, ...]]:
        shapes.append(shape)
        return play

    return Recordings(doubled, CPU, record), shapes


def test_a_shape_is_recorded_once_and_then_played() -> None:
    played = []

    def play(images: Tensor) -> tuple[Tensor, ...]:
        played.append(images.shape)
        return doubled(images)

    passes, shapes = recordings(play)
    small = FILM[..., :32, :32]
    for film in (FILM, small, FILM, small):
        assert torch.equal(passes(film)[0], 2.0 * film)
    assert shapes == [FILM.shape, small.shape]
    # Once to be held against the plain pass, and once a film.
    assert len(played) == 6


def test_a_recording_that_gives_something_else_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    passes, shapes = recordings(lambda images: (2.1 * images,))
    for _ in range(2):
        assert torch.equal(passes(FILM)[0], 2.0 * FILM)
    assert shapes == [FILM.shape]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_what_cannot_be_recorded_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def play(_: Tensor) -> tuple[Tensor, ...]:
        raise RuntimeError("operation not permitted when stream is capturing")

    passes, shapes = recordings(play)
    for _ in range(2):
        assert torch.equal(passes(FILM)[0], 2.0 * FILM)
    assert shapes == [FILM.shape]
    assert "cannot be recorded" in caplog.text


def test_memory_that_does_not_suffice_for_a_recording_may_do_for_the_pass(caplog: pytest.LogCaptureFixture) -> None:
    def play(_: Tensor) -> tuple[Tensor, ...]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    passes, shapes = recordings(play)
    for _ in range(2):
        assert torch.equal(passes(FILM)[0], 2.0 * FILM)
    assert shapes == [FILM.shape]
    assert "OutOfMemoryError" in caplog.text


def test_a_pass_for_which_it_does_not_suffice_is_left_to_who_knows_what_to_do() -> None:
    def full(_: Tensor) -> tuple[Tensor, ...]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Recordings(full, CPU)(FILM)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_a_gpu_reads_as_a_cpu_does(half: bool, cuda_graphs: bool, caplog: pytest.LogCaptureFixture) -> None:
    bundle, device = Bundle(PACKAGED), torch.device("cuda")
    runtime = TorchRuntime(bundle.weights, bundle.lung_weights, device, half=half, cuda_graphs=cuda_graphs)
    pair = Engine(bundle, device, runtime), Engine(bundle, CPU)
    for seed in range(4):
        check(draw_phantom(512, 440, opacity=bool(seed % 2), seed=seed).astype(np.float32), *pair)
    # Neither a film that was read again nor a recording that was not used would show otherwise.
    assert not caplog.records
