"""The image is the one that PNEUMO_MONAI_IMAGE names: `make map-test` sets it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pneumo_monai.demo.phantoms import write_phantoms
from tests.map.containers import Image, find_image

_FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[_FIGURES]:
        terminalreporter.write_line(f"measured: {line}")


@pytest.fixture
def measured(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Return a function that notes a figure, which is shown when all tests have run."""
    return pytestconfig.stash[_FIGURES].append


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    name = os.environ.get("PNEUMO_MONAI_IMAGE")
    if not name:
        pytest.skip("PNEUMO_MONAI_IMAGE names no image: make map, then make map-test")
    with find_image(name) as found:
        yield found


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Make an empty input that all may read, and an empty output that the image's user may write."""
    made = {}
    for target in ("input", "output"):
        folder = tmp_path / target
        folder.mkdir()
        os.chown(folder, 1000, 1000)
        made[f"/var/holoscan/{target}"] = folder
    return made


@pytest.fixture
def films(folders: dict[str, Path]) -> Path:
    """Write drawn chests into the input: a model that looks at the picture reads the first."""
    folder = folders["/var/holoscan/input"]
    write_phantoms(folder)
    for file in folder.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    return folder
