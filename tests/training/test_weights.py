"""Initial weights: ImageNet's folded to gray, a file, or none."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision.models import ResNet18_Weights, resnet18

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.network import ResNet18
from training.module import LINEAGE, PneumoniaModule
from training.weights import initialise


@pytest.fixture(scope="module")
def rgb() -> torch.nn.Module:
    torch.manual_seed(1)
    network = resnet18(weights=None).eval()
    for name, value in network.named_buffers():
        # Statistics of their own for each channel: an untrained network would hide a swapped one.
        if name.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    return network


def test_a_folded_network_has_the_features_of_the_rgb_one(rgb: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(rgb.state_dict(), tmp_path / "resnet18.pth")
    gray = ResNet18().eval()
    assert initialise(gray, str(tmp_path / "resnet18.pth")) == []
    image = torch.randn(2, 1, 64, 64)
    body = torch.nn.Sequential(*list(rgb.children())[:-2])
    with torch.inference_mode():
        torch.testing.assert_close(gray.features(image), body(image.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4)
    assert gray.fc.weight.shape == (1, 512)


def test_imagenet_comes_through_torchvisions_enum(
    rgb: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where torchvision has downloaded it before, under the name that its enum gives.
    file = tmp_path / "hub" / "checkpoints" / Path(ResNet18_Weights.IMAGENET1K_V1.url).name
    file.parent.mkdir(parents=True)
    torch.save(rgb.state_dict(), file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network = ResNet18()
    assert initialise(network, "imagenet") == []
    torch.testing.assert_close(network.conv1.weight, rgb.conv1.weight.sum(dim=1, keepdim=True))
    torch.testing.assert_close(network.layer4[1].conv2.weight, rgb.layer4[1].conv2.weight)


def test_a_download_that_fails_names_the_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", fail)
    with pytest.raises(ConfigurationError, match=r"no route to host.*--weights FILE.*--weights none"):
        initialise(ResNet18(), "imagenet")


def test_a_checkpoint_brings_its_weights_and_its_lineage(tmp_path: Path) -> None:
    module = PneumoniaModule(ResNet18(), learning_rate=1e-3)
    lineage = [{"persons": ["P1"]}]
    torch.save({"state_dict": module.state_dict(), LINEAGE: lineage}, tmp_path / "best.ckpt")
    network = ResNet18()
    assert initialise(network, str(tmp_path / "best.ckpt")) == lineage
    torch.testing.assert_close(network.state_dict(), module.network.state_dict())


def test_the_rounded_weights_of_a_bundle_are_read(tmp_path: Path) -> None:
    source = ResNet18()
    torch.save({name: value.half() for name, value in source.state_dict().items()}, tmp_path / "model.pt")
    network = ResNet18()
    assert initialise(network, str(tmp_path / "model.pt")) == []
    torch.testing.assert_close(network.conv1.weight, source.conv1.weight, rtol=1e-3, atol=1e-4)


def test_none_leaves_the_network_alone() -> None:
    network = ResNet18()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert initialise(network, "none") == []
    torch.testing.assert_close(network.state_dict(), before)


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"does not exist.*--weights none"):
        initialise(ResNet18(), str(tmp_path / "none.pt"))
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        initialise(ResNet18(), str(tmp_path / "text.pt"))
    torch.save({"layer.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ConfigurationError, match="another network"):
        initialise(ResNet18(), str(tmp_path / "other.pt"))
