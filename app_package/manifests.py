"""The two manifests of a MONAI Application Package, made from app.yaml and pyproject.toml.

The fields are those of the MAP specification 1.0.0; `schemas/` has them as JSON Schema.
"""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pneumo_monai.errors import ConfigurationError

__all__ = [
    "API_VERSION",
    "APPLICATION",
    "CONFIGURATION",
    "DOCS",
    "INPUT",
    "MANIFESTS",
    "MODELS",
    "OUTPUT",
    "TOOLS",
    "WORKING_DIRECTORY",
    "application_manifest",
    "environment",
    "package_manifest",
    "read_configuration",
    "write_manifest",
]

API_VERSION = "1.0.0"

# "Table of Important Paths" of the specification.
APPLICATION = PurePosixPath("/opt/holoscan/app")
MODELS = PurePosixPath("/opt/holoscan/models")
DOCS = PurePosixPath("/opt/holoscan/docs")
MANIFESTS = PurePosixPath("/etc/holoscan")
WORKING_DIRECTORY = PurePosixPath("/var/holoscan")
CONFIGURATION = WORKING_DIRECTORY / "app.yaml"
INPUT = WORKING_DIRECTORY / "input"
OUTPUT = WORKING_DIRECTORY / "output"
TOOLS = WORKING_DIRECTORY / "tools"


def read_configuration(file: Path, project: Path) -> dict[str, Any]:
    """Read app.yaml and hold it against pyproject.toml.

    Parameters
    ----------
    file : pathlib.Path
        app.yaml, in the form that `monai-deploy package --config` takes.
    project : pathlib.Path
        pyproject.toml, which the version comes from.

    Raises
    ------
    ConfigurationError
        A key is missing, or the version is not that of the project.
    """
    configuration: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    needed = {"application": ("title", "version", "input-formats", "output-formats"), "resources": ()}
    for section, keys in needed.items():
        part = configuration.get(section) if isinstance(configuration, dict) else None
        if not isinstance(part, dict):
            raise ConfigurationError(f"{file}: {section}: is missing; see the MAP specification")
        for key in keys:
            if not part.get(key):
                raise ConfigurationError(f"{file}: {section}.{key}: is missing or empty")
    version = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
    stated = configuration["application"]["version"]
    if stated != version:
        raise ConfigurationError(f"{file}: application.version: is {stated}, {project.name} says {version}; change it")
    return dict(configuration)


def environment() -> dict[str, str]:
    """Return the variables that a MAP has, those of the specification and those that Holoscan's packager names."""
    logs = WORKING_DIRECTORY / "logs"
    folders = {
        "HOLOSCAN_INPUT_PATH": INPUT,
        "HOLOSCAN_OUTPUT_PATH": OUTPUT,
        "HOLOSCAN_WORKDIR": WORKING_DIRECTORY,
        "HOLOSCAN_APPLICATION": APPLICATION,
        "HOLOSCAN_MODEL_PATH": MODELS,
        "HOLOSCAN_DOCS": DOCS,
        "HOLOSCAN_DOCS_PATH": DOCS,
        "HOLOSCAN_LOGS": logs,
        "HOLOSCAN_LOGS_PATH": logs,
    }
    files = {
        "HOLOSCAN_CONFIG_PATH": CONFIGURATION,
        "HOLOSCAN_APP_MANIFEST_PATH": MANIFESTS / "app.json",
        "HOLOSCAN_PKG_MANIFEST_PATH": MANIFESTS / "pkg.json",
    }
    return {**{name: f"{path}/" for name, path in folders.items()}, **{name: str(f) for name, f in files.items()}}


def application_manifest(configuration: dict[str, Any], *, sdk_version: str) -> dict[str, Any]:
    """Build app.json.

    Parameters
    ----------
    configuration : dict
        From `read_configuration`.
    sdk_version : str
        Version of the MONAI Deploy App SDK that runs the application.
    """
    application = configuration["application"]
    return {
        "apiVersion": API_VERSION,
        "type": "application",
        # JSON inside a string, as Holoscan's packager writes it and its runner parses it.
        "command": json.dumps(["python3", str(APPLICATION)]),
        "environment": environment(),
        "input": {"path": f"{INPUT.relative_to(WORKING_DIRECTORY)}/", "formats": application["input-formats"]},
        "output": {"path": f"{OUTPUT.relative_to(WORKING_DIRECTORY)}/", "format": application["output-formats"][0]},
        # One shot has no port to ask: ready is that manifests and models can be read, alive that process 1 runs.
        "readiness": _probe("ready"),
        "liveness": _probe("alive"),
        "sdk": "monai-deploy",
        "sdkVersion": sdk_version,
        "timeout": 0,
        "version": application["version"],
        "workingDirectory": f"{WORKING_DIRECTORY}/",
    }


def _probe(question: str) -> dict[str, Any]:
    return {
        "type": "command",
        "command": [str(TOOLS), question],
        "initialDelaySeconds": 1,
        "periodSeconds": 10,
        "timeoutSeconds": 1,
        "failureThreshold": 3,
    }


def package_manifest(configuration: dict[str, Any], *, models: Sequence[str]) -> dict[str, Any]:
    """Build pkg.json.

    Parameters
    ----------
    configuration : dict
        From `read_configuration`.
    models : sequence of str
        Folders below /opt/holoscan/models.
    """
    return {
        "apiVersion": API_VERSION,
        "applicationRoot": f"{APPLICATION}/",
        "modelRoot": f"{MODELS}/",
        "models": [{"name": name, "path": f"{name}/"} for name in models],
        "resources": configuration["resources"],
        "version": configuration["application"]["version"],
    }


def write_manifest(manifest: dict[str, Any], file: Path) -> None:
    """Write a manifest as people and machines read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
