"""``python -m benchmarks.peer``: seconds and memory that the stock MONAI Deploy operators need for a study."""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks.rig import radiograph, write_films
from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.network import ResNet18
from pneumo_monai.weights import load_network

__all__ = ["measure_peer"]


def peer(
    *,
    repeats: Annotated[int, typer.Option(min=1, help="Studies, each in a process of its own.")] = 5,
    film: Annotated[Path | None, typer.Option(help="A file to read copies of. [a drawn chest]")] = None,
) -> None:
    """Read studies with the stock operators, one process each, as their application package does."""
    with tempfile.TemporaryDirectory() as folder:
        Console().print_json(json.dumps(measure_peer(Path(folder), repeats, film)))


def measure_peer(folder: Path, repeats: int, film: Path | None) -> dict[str, Any]:
    """Return the median seconds from the start of a process to its end, with the Text SR on disk, and its memory."""
    folder.mkdir(parents=True, exist_ok=True)
    model = _torch_script(folder / "model.ts")
    took, memory = [], []
    for number in range(repeats + 1):
        source, output = folder / f"in-{number}", folder / f"out-{number}"
        write_films(radiograph(film), source, 1, f"peer-{number}")
        output.mkdir()
        command = [sys.executable, "-m", "benchmarks.peer_app", "-i", str(source), "-o", str(output), "-m", str(model)]
        began = time.monotonic()
        with (folder / "peer.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own command line
        status = process.wait()
        took.append(time.monotonic() - began)
        said = (folder / "peer.log").read_text()
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", said, re.MULTILINE)
        if status != 0 or peak is None or not list(output.glob("*.dcm")):
            raise RuntimeError(f"the peer made no report: {said[-2000:]}")
        memory.append(int(peak[1]))
    # The first one finds nothing in the file cache.
    return {
        "seconds": round(statistics.median(took[1:]), 2),
        "slowest": round(max(took[1:]), 2),
        "memory_mib": round(statistics.median(memory[1:]) / 1024),
    }


def _torch_script(file: Path) -> Path:
    network = load_network(ResNet18(), Bundle(PACKAGED).weights)
    with warnings.catch_warnings():
        # That TorchScript is deprecated is the peer's matter.
        warnings.simplefilter("ignore")
        torch.jit.trace(network, torch.zeros(1, 1, 224, 224)).save(str(file))
    return file


if __name__ == "__main__":
    typer.run(peer)
