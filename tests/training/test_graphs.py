"""The graphs that ship are those of today's networks."""

from pathlib import Path

import onnx
import pytest
from torch import nn

from pneumo_monai.network import LungNet, ResNet18
from pneumo_monai.onnx_runtime import GRAPHS
from training.graphs import write_graphs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    write_graphs(folder)
    return folder


@pytest.mark.parametrize(("name", "network"), [("resnet18.onnx", ResNet18()), ("lungnet.onnx", LungNet())])
def test_a_graph_takes_all_weights_of_its_network_and_holds_none(name: str, network: nn.Module) -> None:
    graph = onnx.load_model_from_string((GRAPHS / name).read_bytes()).graph
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items() if value.ndim}
    assert {entry.name: tuple(entry.dims) for entry in graph.initializer} == shapes
    assert all(entry.data_location == onnx.TensorProto.EXTERNAL and not entry.raw_data for entry in graph.initializer)


@pytest.mark.parametrize("name", ["resnet18.onnx", "lungnet.onnx"])
def test_a_graph_written_anew_is_the_one_that_ships(name: str, made: Path) -> None:
    def operators(encoded: bytes) -> list[tuple[str, int]]:
        return [(node.op_type, len(node.input)) for node in onnx.load_model_from_string(encoded).graph.node]

    assert operators((made / name).read_bytes()) == operators((GRAPHS / name).read_bytes())
    assert b"site-packages" not in (GRAPHS / name).read_bytes()
