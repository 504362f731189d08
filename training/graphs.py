"""``python -m training.graphs``: the networks as ONNX without weights, for `pneumo_monai.onnx_runtime`.

To be run again when a network changes, not when it is trained: the weights are put in when a bundle is loaded.

::

    pneumo_monai/graphs/resnet18.onnx    image (B, 1, H, W) -> logit (B), activation (B, H/32, W/32)
    pneumo_monai/graphs/lungnet.onnx     image (B, 1, 128, 128) -> logit (B, 1, 128, 128)
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from pneumo_monai.lungs import LUNG_SIZE
from pneumo_monai.network import LungNet, ResNet18
from pneumo_monai.onnx_runtime import GRAPHS
from training.entry import start
from training.onnx import IMAGE, OPSET

__all__ = ["graph_of", "write_graphs"]

_SIZE = 64
"""Side of the example, any multiple of 32 but one of one pixel a map."""

_log = logging.getLogger(__name__)


class _Classifier(nn.Module):
    """What is read of `ResNet18`, its parameters under their own names."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ResNet18()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.read(image)


def write_graphs(
    out: Annotated[Path, typer.Option(help="Folder for resnet18.onnx and lungnet.onnx.")] = Path(str(GRAPHS)),
) -> None:
    """Write the graphs that ship with the package."""
    out.mkdir(parents=True, exist_ok=True)
    sides = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    for name, network, size, outputs, free in (
        ("resnet18.onnx", _Classifier(), _SIZE, ["logit", "activation"], sides),
        ("lungnet.onnx", LungNet(), LUNG_SIZE, ["logit"], {}),
    ):
        file = out / name
        file.write_bytes(graph_of(network, size, outputs, free).SerializeToString())
        _log.info("%s, %.0f kB", file, file.stat().st_size / 1e3)


def graph_of(network: nn.Module, size: int, outputs: Sequence[str], free: dict[int, Any]) -> Any:
    """Return a network as an ``onnx.ModelProto`` whose initializers name a state dict's entries and hold nothing.

    Parameters
    ----------
    network : nn.Module
        Its weights do not matter.
    size : int
        Side of the example that is followed through it.
    outputs : sequence of str
        Their names.
    free : dict
        Axes of the image that have any size, beside the batch's.
    """
    program = torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 1, size, size),),
        input_names=[IMAGE],
        output_names=list(outputs),
        dynamic_shapes=({0: torch.export.Dim("batch"), **free},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
        # Which would fold weights into each other.
        optimize=False,
    )
    assert program is not None  # noqa: S101 - dynamo always returns one
    model = program.model_proto
    _drop_zero_biases(model.graph)
    _take_out_weights(model.graph)
    # The exporter notes where in the source each operator came from, with the paths of this machine.
    for noted in (model.graph, *model.graph.node):
        noted.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    return model


def _drop_zero_biases(graph: Any) -> None:
    """Take out the zeros that the exporter adds to what has no bias: worked out at run time, they keep a runtime from
    joining convolution and batch normalisation."""
    weights = {entry.name for entry in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] not in weights:
            del node.input[2]
    while unused := _unused(graph):
        for node in unused:
            graph.node.remove(node)


def _unused(graph: Any) -> list[Any]:
    used = {name for node in graph.node for name in node.input} | {entry.name for entry in graph.output}
    return [node for node in graph.node if not used & set(node.output)]


def _take_out_weights(graph: Any) -> None:
    from onnx.external_data_helper import set_external_data

    names = {entry.name: entry.name.removeprefix("network.") for entry in graph.initializer}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
    for entry in graph.initializer:
        entry.name = names[entry.name]
        set_external_data(entry, location="weights", offset=0, length=len(entry.raw_data))
        entry.ClearField("raw_data")


if __name__ == "__main__":
    start(write_graphs)
