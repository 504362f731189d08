"""The container file, its locks and the manifests say the same."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from app_package.manifests import environment
from tests.maps import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONTAINERFILE = (ROOT / "app_package" / "image" / "Containerfile").read_text(encoding="utf-8")
LOCKS = sorted((ROOT / "constraints").glob("map-*.txt"))
RUNTIME = [lock for lock in LOCKS if lock.stem != "map-build"]


def pinned(lock: Path) -> dict[str, tuple[Requirement, list[str]]]:
    """Return the requirements of a lock by name, each with its hashes."""
    found = {}
    for entry in re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8")):
        if not entry.startswith("#"):
            line, *hashes = entry.strip().split(" \\\n")
            requirement = Requirement(line)
            found[canonicalize_name(requirement.name)] = (requirement, [h.strip() for h in hashes])
    return found


def version(lock: Path, name: str) -> str:
    (specifier,) = pinned(lock)[name][0].specifier
    return specifier.version


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_everything_is_pinned_with_hashes(lock: Path):
    for requirement, hashes in pinned(lock).values():
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes)


@pytest.mark.parametrize("lock", RUNTIME, ids=lambda lock: lock.stem)
def test_the_locks_hold_what_the_package_needs(lock: Path):
    found = pinned(lock)
    for line in PROJECT["dependencies"]:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(version(lock, name), prereleases=True), line
        assert found[name][0].marker is None  # for Python 3.11 and 3.12 alike
    assert SpecifierSet(PROJECT["requires-python"]).contains("3.11")
    assert {"torchvision", "pytest"}.isdisjoint(found)


def test_torch_is_the_one_of_the_other_constraints():
    for lock, constraint in (("map-cpu", "runtime-cpu"), ("map-gpu", "train")):
        text = (ROOT / "constraints" / f"{constraint}.txt").read_text(encoding="utf-8")
        (line,) = re.findall(r"^torch==(\S+)$", text, re.MULTILINE)
        assert version(ROOT / "constraints" / f"{lock}.txt", "torch").removesuffix("+cpu") == line
    cpu, gpu = (pinned(lock).keys() for lock in RUNTIME)
    # Holoscan does not start without CUDA's runtime library, which is small.
    assert [name for name in cpu if name.startswith("nvidia-")] == ["nvidia-cuda-runtime"]
    assert {name for name in gpu if name.startswith("nvidia-")} > {"nvidia-cuda-runtime", "nvidia-cudnn-cu13"}


def test_the_defaults_of_the_container_file_are_those_of_the_project():
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", CONTAINERFILE, re.MULTILINE))
    assert arguments["VERSION"] == PROJECT["version"]
    lock = ROOT / arguments["LOCK"]
    assert arguments["HOLOSCAN_VERSION"] == version(lock, "holoscan-cu13")
    assert arguments["APP_SDK_VERSION"] == version(lock, "monai-deploy-app-sdk")
    assert "slim" in arguments["BASE_IMAGE"]


def test_the_container_file_has_the_environment_of_the_manifest():
    variables = dict(re.findall(r"^(?:ENV|   ) (HOLOSCAN_\w+)=(\S+)", CONTAINERFILE, re.MULTILINE))
    assert variables.pop("HOLOSCAN_VERSION")
    assert variables == environment()


def test_the_container_file_ends_as_nobody_special():
    last = CONTAINERFILE.rsplit("\nFROM ", 1)[1]
    assert re.findall(r"^USER (\S+)$", last, re.MULTILINE) == ["1000:1000"]
    assert 'ENTRYPOINT ["/var/holoscan/tools"]' in last
    for label in ("title", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{label}=" in last


def test_what_is_copied_reaches_the_builder():
    let_through = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    needed = {
        "app_package",
        "constraints",
        "docs",
        "pneumo_monai",
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
    }
    assert let_through == needed
    assert all((ROOT / name).exists() for name in needed)


@pytest.mark.parametrize("script", ["image/build", "image/base", "tools"])
def test_the_scripts_can_be_run(script: str):
    file = ROOT / "app_package" / script
    assert file.stat().st_mode & 0o111
    assert file.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
