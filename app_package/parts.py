"""What an image is made of: Python packages, Debian packages, models, each with its licence."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["Part", "debian_packages", "models", "python_packages"]

_UNSTATED = "not stated"
_LICENCE_FILES = re.compile(r"(?:^|/)(?:licen[cs]e|copying|notice|authors)[^/]*$|\.dist-info/licenses/", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the image.

    Parameters
    ----------
    kind : str
        ``pypi``, ``deb`` or ``model``.
    name, version : str
        As its own metadata has them.
    licence : str
        As its own metadata has it.
    purl : str
        Package URL; empty for a model.
    texts : tuple of pathlib.Path
        Its licence files.
    requires : frozenset of str
        Canonical names of the Python packages that it needs.
    sha256 : dict
        Digests of its weights, by their path below the model.
    """

    kind: Literal["pypi", "deb", "model"]
    name: str
    version: str
    licence: str = _UNSTATED
    purl: str = ""
    texts: tuple[Path, ...] = ()
    requires: frozenset[str] = frozenset()
    sha256: tuple[tuple[str, str], ...] = ()


def python_packages(path: list[str] | None = None) -> list[Part]:
    """Return the Python packages on the path, in order of their names."""
    found = {}
    for package in distributions(path=path) if path else distributions():
        name = canonicalize_name(package.metadata["Name"])
        # The first on the path is the one that is imported.
        found.setdefault(name, package)
    return [_python_package(name, package) for name, package in sorted(found.items())]


def _python_package(name: str, package: Distribution) -> Part:
    files = [file for file in package.files or () if _LICENCE_FILES.search(str(file)) and file.suffix != ".py"]
    return Part(
        kind="pypi",
        name=name,
        version=package.version,
        licence=_python_licence(package),
        purl=f"pkg:pypi/{name}@{quote(package.version)}",
        texts=tuple(path for file in files if (path := Path(str(file.locate()))).is_file()),
        requires=frozenset(_needed(package)),
    )


def _python_licence(package: Distribution) -> str:
    if expression := package.metadata.get("License-Expression"):
        return expression
    classifiers = [
        line.rsplit(" :: ", 1)[1]
        for line in package.metadata.get_all("Classifier") or ()
        if line.startswith("License :: ") and line.count(" :: ") > 1
    ]
    if classifiers:
        return ", ".join(classifiers)
    # Some write the whole text there: its first line is the name.
    lines = [line.strip() for line in (package.metadata.get("License") or "").splitlines() if line.strip()]
    return lines[0] if lines and len(lines[0]) <= 100 else _UNSTATED


def _needed(package: Distribution) -> Iterator[str]:
    for line in package.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def debian_packages(root: Path = Path("/")) -> list[Part]:
    """Return the Debian packages that are installed below a root; none where there is no dpkg."""
    status = root / "var" / "lib" / "dpkg" / "status"
    if not status.is_file():
        return []
    release = dict(
        line.split("=", 1) for line in (root / "etc/os-release").read_text(encoding="utf-8").splitlines() if "=" in line
    )
    system = release.get("ID", "debian").strip('"')
    found = []
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            text = root / "usr" / "share" / "doc" / name / "copyright"
            found.append(
                Part(
                    kind="deb",
                    name=name,
                    version=version,
                    licence=_debian_licence(text),
                    purl=f"pkg:deb/{system}/{quote(name)}@{quote(version)}?arch={fields['Architecture']}",
                    texts=(text,) if text.is_file() else (),
                )
            )
    return sorted(found, key=lambda part: part.name)


def _debian_licence(text: Path) -> str:
    if not text.is_file():
        return _UNSTATED
    content = text.read_text(encoding="utf-8", errors="replace")
    # Only machine-readable ones (DEP 5) have such lines; of the others the text is what there is.
    named = re.findall(r"^License:[ \t]*(\S.*)$", content, re.MULTILINE) if "Format:" in content[:200] else []
    return ", ".join(sorted(set(named))) or "see its text"


def models(folder: Path) -> list[Part]:
    """Return the MONAI Bundles of a folder."""
    found = []
    for metadata in sorted(folder.glob("*/configs/metadata.json")):
        bundle = metadata.parents[1]
        stated = json.loads(metadata.read_text(encoding="utf-8"))
        weights = sorted((bundle / "models").glob("*.pt"))
        found.append(
            Part(
                kind="model",
                name=bundle.name,
                version=str(stated["version"]),
                licence="Apache-2.0",
                texts=(bundle / "LICENSE",),
                sha256=tuple((file.name, sha256(file.read_bytes()).hexdigest()) for file in weights),
            )
        )
    return found
