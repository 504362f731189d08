"""``python -m benchmarks.flame``: a flame graph of the worker while films come as fast as they are taken."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.end_to_end import flood
from benchmarks.rig import radiograph, rig, write_films

__all__ = ["draw_flames"]

_TITLE = "The worker at saturation: what holds the lock of the interpreter"
_SECONDS = 15
_FILMS_A_SECOND = 20
"""More than are taken: the worker must not run dry."""


def flame(
    out: Annotated[Path, typer.Option(help="SVG file.")] = Path("flame.svg"),
    film: Annotated[Path | None, typer.Option(help="A file to send copies of. [a drawn chest]")] = None,
) -> None:
    """Sample whichever of the worker's threads holds the interpreter's lock, a hundred times a second."""
    draw_flames(out, film)


def draw_flames(out: Path, film: Path | None) -> None:
    """Run a service of its own, and write the flame graph of its worker at saturation."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    with tempfile.TemporaryDirectory() as temporary, rig(Path(temporary)) as running:
        sent, folder = radiograph(film), Path(temporary)
        flood(running, write_films(sent, folder / "warm-up", 20, "warm-up"))
        worker = running.processes()["worker-0"].pid
        files = write_films(sent, folder / "flood", _SECONDS * _FILMS_A_SECOND, "flood")
        options = [
            "--gil",
            "--duration",
            str(_SECONDS),
            "--rate",
            "100",
            "--format",
            "flamegraph",
            "--output",
            str(out),
        ]
        with subprocess.Popen([spy, "record", "--pid", str(worker), *options]) as recorder:  # noqa: S603 - our own command line
            flood(running, files)
        if recorder.returncode != 0:
            raise RuntimeError("py-spy could not look into the worker: it needs root, or ptrace_scope 0")
    # In its place stands a command line, with folders of this machine.
    title = re.compile(r'(<text id="title"[^>]*>)[^<]*')
    out.write_text(title.sub(rf"\1{_TITLE}", out.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    typer.run(flame)
