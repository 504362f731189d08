"""``python -m app_package.staging FOLDER``: the package's files, where a MAP has them below its root.

Below FOLDER the wheel is already installed (``pip install --target FOLDER/opt/holoscan/app``); the rest is laid around
it. Both our container file and ``monai-deploy package`` take what lies there.
"""

import argparse
import shutil
import sys
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from app_package.manifests import (
    APPLICATION,
    CONFIGURATION,
    DOCS,
    INPUT,
    MANIFESTS,
    MODELS,
    OUTPUT,
    TOOLS,
    application_manifest,
    package_manifest,
    read_configuration,
    write_manifest,
)
from pneumo_monai.errors import ConfigurationError

__all__ = ["stage"]

_PACKAGE = Path(__file__).parent
_MODELS_OF_WHEEL = Path("pneumo_monai") / "models"


def stage(root: Path, checkout: Path, lock: Path) -> None:
    """Lay the package's files below a root.

    Parameters
    ----------
    root : pathlib.Path
        Stands for ``/``; the wheel is installed in its ``opt/holoscan/app``.
    checkout : pathlib.Path
        Where pyproject.toml, README, licence and docs lie.
    lock : pathlib.Path
        Requirements with hashes; the packager installs what it finds as requirements.txt beside the application.

    Raises
    ------
    ConfigurationError
        The wheel is not there, or app.yaml is not complete.
    """
    configuration = read_configuration(_PACKAGE / "app.yaml", checkout / "pyproject.toml")
    application, models = _below(root, APPLICATION), _below(root, MODELS)
    shipped = application / _MODELS_OF_WHEEL
    if not shipped.is_dir() or shipped.is_symlink():
        raise ConfigurationError(f"{shipped}: is missing; first: pip install --no-deps --target {application} WHEEL")
    models.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(shipped, models)
    # One copy of the weights: the service finds its model where a MAP has it.
    shipped.symlink_to(Path("..", "..", models.name))
    shutil.copytree(_PACKAGE, application / _PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__", "image"))
    # `python3 /opt/holoscan/app`, the packager's command, runs this file with its folder on the path.
    shutil.copy(_PACKAGE / "__main__.py", application)
    shutil.copy(lock, application / "requirements.txt")
    _stage_docs(_below(root, DOCS), checkout)
    for folder in (INPUT, OUTPUT):
        _below(root, folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(_PACKAGE / "app.yaml", _below(root, CONFIGURATION))
    shutil.copy(_PACKAGE / "tools", _below(root, TOOLS))
    sdk = version("monai-deploy-app-sdk")
    names = sorted(folder.name for folder in models.iterdir() if folder.is_dir())
    manifests = _below(root, MANIFESTS)
    write_manifest(application_manifest(configuration, sdk_version=sdk), manifests / "app.json")
    write_manifest(package_manifest(configuration, models=names), manifests / "pkg.json")


def _below(root: Path, path: PurePosixPath) -> Path:
    return root / path.relative_to("/")


def _stage_docs(folder: Path, checkout: Path) -> None:
    shutil.copytree(checkout / "docs", folder / "docs", ignore=shutil.ignore_patterns("experiments*"))
    for name in ("README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(checkout / name, folder)


def main() -> None:
    """Read the command line."""
    checkout = _PACKAGE.parent
    parser = argparse.ArgumentParser(prog="python -m app_package.staging", description=__doc__)
    parser.add_argument("root", type=Path, help="folder that stands for /")
    parser.add_argument("--lock", type=Path, default=checkout / "constraints" / "map-gpu.txt")
    arguments = parser.parse_args()
    try:
        stage(arguments.root, checkout, arguments.lock)
    except ConfigurationError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
