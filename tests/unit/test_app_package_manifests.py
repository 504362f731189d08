"""Both manifests follow the MAP specification, and their schemas refuse what does not."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app_package.manifests import (
    application_manifest,
    environment,
    package_manifest,
    read_configuration,
    write_manifest,
)
from pneumo_monai.errors import ConfigurationError
from tests.maps import ROOT, problems

CONFIGURATION = ROOT / "app_package" / "app.yaml"
PROJECT = ROOT / "pyproject.toml"


@pytest.fixture
def configuration() -> dict[str, Any]:
    return read_configuration(CONFIGURATION, PROJECT)


@pytest.fixture
def app(configuration: dict[str, Any]) -> dict[str, Any]:
    return application_manifest(configuration, sdk_version="4.0.0")


@pytest.fixture
def pkg(configuration: dict[str, Any]) -> dict[str, Any]:
    return package_manifest(configuration, models=["pneumonia_resnet18"])


def test_the_manifests_follow_the_specification(app: dict[str, Any], pkg: dict[str, Any]):
    assert problems("app", app) == []
    assert problems("pkg", pkg) == []


def test_the_manifests_say_what_is_in_the_image(app: dict[str, Any], pkg: dict[str, Any]):
    version = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]
    assert (app["version"], pkg["version"]) == (version, version)
    assert json.loads(app["command"]) == ["python3", "/opt/holoscan/app"]
    assert pkg["models"] == [{"name": "pneumonia_resnet18", "path": "pneumonia_resnet18/"}]
    assert app["output"]["format"]["sopClassUID"] == "1.2.840.10008.5.1.4.1.1.88.34"


def test_every_path_is_where_a_map_has_it():
    assert environment()["HOLOSCAN_INPUT_PATH"] == "/var/holoscan/input/"
    assert environment()["HOLOSCAN_CONFIG_PATH"] == "/var/holoscan/app.yaml"
    assert all(
        path.startswith(("/opt/holoscan/", "/var/holoscan/", "/etc/holoscan/")) for path in environment().values()
    )


def test_a_manifest_on_disk_is_json(tmp_path: Path, app: dict[str, Any]):
    write_manifest(app, tmp_path / "etc" / "app.json")
    assert json.loads((tmp_path / "etc" / "app.json").read_text(encoding="utf-8")) == app


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("command", None),
        ("type", "daemon"),
        ("version", "1.0"),
        ("workingDirectory", "var/holoscan"),
        ("timeout", -1),
        ("input", {"path": "input/"}),
        ("output", {"path": "output/"}),
        ("readiness", {"type": "http-get", "port": 8080}),
        ("readiness", {"type": "command"}),
        ("liveness", {"type": "tcp", "port": 70000}),
        ("environment", {"HOLOSCAN_INPUT_PATH": "/var/holoscan/input/"}),
        ("inputs", {}),
    ],
)
def test_the_schema_of_app_json_refuses(key: str, value: Any, app: dict[str, Any]):
    assert problems("app", {**app, key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("applicationRoot", "opt/holoscan/app"),
        ("models", {"pneumonia_resnet18": "/opt/holoscan/models/pneumonia_resnet18"}),
        ("models", [{"name": "two words"}]),
        ("models", [{"path": "nameless/"}]),
        ("resources", {"cpu": -1}),
        ("resources", {"cpu": 3.14}),
        ("resources", {"memory": "2GB"}),
        ("resources", {"gpuMemory": 1024}),
        ("resources", {"disk": "1Gi"}),
        ("resources", {"fragments": {"reader": {"disk": "1Gi"}}}),
        ("version", "v1"),
    ],
)
def test_the_schema_of_pkg_json_refuses(key: str, value: Any, pkg: dict[str, Any]):
    assert problems("pkg", {**pkg, key: value})


def test_fragments_may_have_resources_of_their_own(pkg: dict[str, Any]):
    resources = {"cpu": 1.5, "memory": "1.5Gi", "fragments": {"reader": {"cpu": 1, "gpu": 0.5}}}
    assert problems("pkg", {**pkg, "resources": resources}) == []


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("application", "version", "9.9.9", "application.version: is 9.9.9"),
        ("application", "title", "", "application.title: is missing or empty"),
        ("application", "input-formats", [], "application.input-formats"),
    ],
)
def test_a_wrong_app_yaml_is_named(section: str, key: str, value: Any, message: str, tmp_path: Path):
    content = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    content[section][key] = value
    file = tmp_path / "app.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        read_configuration(file, PROJECT)


@pytest.mark.parametrize("content", ["[]", "application: {}", "resources: {}"])
def test_an_app_yaml_without_its_sections_is_named(content: str, tmp_path: Path):
    file = tmp_path / "app.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is missing"):
        read_configuration(file, PROJECT)
