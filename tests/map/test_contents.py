"""What is in the image, and what is not."""

import json
from collections.abc import Callable

import pytest

from tests.map.containers import Image
from tests.maps import ROOT

pytestmark = pytest.mark.map

LIMIT = 2_000_000_000
"""Bytes of a CPU image, unpacked."""


def inside(image: Image, program: str, **how: str) -> str:
    done = image.run("-c", program, entrypoint=["python3"], **how)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_is_small(image: Image, measured: Callable[[str], None]):
    program = (
        "import os\n"
        "seen, size = set(), 0\n"
        "top = os.stat('/').st_dev\n"
        "for folder, names, files in os.walk('/'):\n"
        "    names[:] = [n for n in names if os.lstat(f'{folder}/{n}').st_dev == top]\n"
        "    for file in files:\n"
        "        state = os.lstat(f'{folder}/{file}')\n"
        "        if state.st_ino not in seen:\n"
        "            seen.add(state.st_ino)\n"
        "            size += state.st_size\n"
        "print(size)"
    )
    size = int(inside(image, program, user="0:0"))
    measured(f"unpacked: {size / 1e9:.2f} GB")
    assert "+cpu" not in inside(image, "import importlib.metadata as m; print(m.version('torch'))") or size < LIMIT


def test_it_runs_as_somebody_who_can_write_nothing(image: Image):
    assert image.config["User"] == "1000:1000"
    program = (
        "import os\n"
        "for folder in ('/', '/opt/holoscan', '/opt/venv', '/etc', '/var/holoscan'):\n"
        "    try:\n"
        "        open(f'{folder}/x', 'w')\n"
        "    except OSError:\n"
        "        continue\n"
        "    print(folder)\n"
        "print(os.getuid())"
    )
    assert inside(image, program) == "1000"


def test_nothing_is_left_of_the_build(image: Image):
    program = (
        "import importlib.util as u, shutil\n"
        "print([t for t in ('gcc', 'cc', 'make', 'pip', 'pip3', 'git', 'ld') if shutil.which(t)],\n"
        "      [m for m in ('pip', 'hatchling', 'torchvision', 'pytest') if u.find_spec(m)])"
    )
    assert inside(image, program) == "[] []"


def test_the_weights_are_there_once(image: Image):
    program = (
        "from pathlib import Path\n"
        "from pneumo_monai.bundle import PACKAGED, Bundle\n"
        "print(Bundle(PACKAGED).path.resolve(), len(list(Path('/opt').rglob('model.pt'))))"
    )
    assert inside(image, program) == "/opt/holoscan/models/pneumonia_resnet18 1"


def test_its_labels_are_those_of_a_map(image: Image):
    labels = image.config["Labels"]
    manifest = json.loads(image.run("show", "app").stdout)
    assert labels["org.opencontainers.image.version"] == manifest["version"]
    assert labels["org.monai.deploy.app-sdk"] == manifest["sdkVersion"]
    assert labels["org.nvidia.holoscan"] == inside(
        image, "import importlib.metadata as m; print(m.version('holoscan-cu13'))"
    )
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.title"] == "pneumo-monai"
    assert labels["org.opencontainers.image.revision"]


def test_it_lists_its_parts_and_their_licences(image: Image):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = image.run("/opt/holoscan/docs/sbom.cdx.json", entrypoint=["cat"]).stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    parts = {component["name"]: component for component in json.loads(text)["components"]}
    for name in ("torch", "monai", "pneumo-monai", "libc6", "pneumonia_resnet18"):
        assert name in parts
    assert {"pytest", "torchvision", "hatchling"}.isdisjoint(parts)
    page = image.run("/opt/holoscan/docs/LICENCES.md", entrypoint=["cat"]).stdout
    assert "| torch | " in page
    docs = inside(image, "import os; print(sorted(os.listdir('/opt/holoscan/docs/docs')))")
    assert "model-card.md" in docs


def test_what_is_installed_is_what_the_lock_says(image: Image):
    pinned = {}
    for line in (ROOT / "constraints" / "map-cpu.txt").read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            name, version = line.split(" ")[0].split("==")
            pinned[name] = version
    listed = "{found.name.lower(): found.version for found in m.distributions()}"
    program = f"import importlib.metadata as m, json; print(json.dumps({listed}))"
    installed = {name.replace("_", "-").replace(".", "-"): v for name, v in json.loads(inside(image, program)).items()}
    ours = installed.pop("pneumo-monai")
    assert ours
    assert {name: pinned.get(name) for name in installed if name != "setuptools"} == {
        name: version for name, version in installed.items() if name != "setuptools"
    }
