"""The MAP specification as JSON Schemas, and the package's files laid out once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

__all__ = ["ROOT", "problems", "stage_package"]

ROOT = Path(__file__).parents[1]


def problems(name: str, manifest: Any) -> list[str]:
    """Return where a manifest breaks the specification; `name` is ``app`` or ``pkg``."""
    schema = json.loads((ROOT / "app_package" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(manifest)]


def stage_package(root: Path) -> Path:
    """Build the wheel with what is installed and lay the package's files below a folder."""
    wheels = root.with_name(f"{root.name}-wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    application = root / "opt" / "holoscan" / "app"
    _run([*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels)])
    (wheel,) = wheels.glob("*.whl")
    _run([*pip, "install", str(wheel), "--no-deps", "--no-index", "--target", str(application)])
    _run([sys.executable, "-m", "app_package.staging", str(root)])
    return root


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
