"""``python -m app_package.bill FOLDER``: the image's bill of materials (CycloneDX 1.6) and the licences of its parts.

It is run inside the image when that is built, so that it lists what is there and not what was asked for.
"""

import json
import shutil
import sys
import uuid
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app_package.parts import Part, debian_packages, models, python_packages

__all__ = ["bill_of_materials", "licences", "write_bill"]

_NAMESPACE = uuid.UUID("3f6f5f0e-6f0a-5d0c-9a53-0f4f6f1b9c11")
_HEADINGS = {"model": "Models", "pypi": "Python packages", "deb": "Packages of the base image"}


def bill_of_materials(parts: Sequence[Part], *, name: str, version: str) -> dict[str, Any]:
    """Build a CycloneDX document.

    Parameters
    ----------
    parts : sequence of Part
        What the image is made of.
    name, version : str
        Of the image.
    """
    references = {part.name: _reference(part) for part in parts if part.kind == "pypi"}
    image = {"type": "container", "bom-ref": f"{name}@{version}", "name": name, "version": version}
    components = [_component(part) for part in parts]
    # The same parts have the same serial number, so that two builds can be compared.
    identity = uuid.uuid5(_NAMESPACE, json.dumps([image, components], sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{identity}",
        "version": 1,
        "metadata": {"component": image},
        "components": components,
        "dependencies": [
            {"ref": image["bom-ref"], "dependsOn": sorted(component["bom-ref"] for component in components)},
            *(
                {
                    "ref": references[part.name],
                    "dependsOn": sorted(references[other] for other in part.requires if other in references),
                }
                for part in parts
                if part.kind == "pypi"
            ),
        ],
    }


def _reference(part: Part) -> str:
    return part.purl or f"model/{part.name}@{part.version}"


def _component(part: Part) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "machine-learning-model" if part.kind == "model" else "library",
        "bom-ref": _reference(part),
        "name": part.name,
        "version": part.version,
        "licenses": [{"license": {"name": part.licence}}],
    }
    if part.purl:
        component["purl"] = part.purl
    if part.sha256:
        component["components"] = [
            {"type": "file", "name": file, "hashes": [{"alg": "SHA-256", "content": digest}]}
            for file, digest in part.sha256
        ]
    return component


def licences(parts: Sequence[Part]) -> str:
    """Return a page that names the licence of each part."""
    lines = ["# Licences of the parts of this image", ""]
    lines += ["As each part states it. The texts lie in `licences/`; those of the base image in `/usr/share/doc`.", ""]
    for kind, heading in _HEADINGS.items():
        lines += [f"## {heading}", "", "| part | version | licence |", "| --- | --- | --- |"]
        lines += [f"| {part.name} | {part.version} | {part.licence} |" for part in parts if part.kind == kind]
        lines.append("")
    return "\n".join(lines)


def write_bill(folder: Path, parts: Sequence[Part]) -> None:
    """Write sbom.cdx.json, LICENCES.md and the texts into a folder."""
    document = bill_of_materials(parts, name="pneumo-monai", version=version("pneumo-monai"))
    (folder / "sbom.cdx.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (folder / "LICENCES.md").write_text(licences(parts), encoding="utf-8")
    for part in parts:
        for number, text in enumerate(part.texts if part.kind != "deb" else ()):
            target = folder / "licences" / part.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(text, target / (f"{number}-{text.name}" if number else text.name))


if __name__ == "__main__":
    docs = Path(sys.argv[1])
    write_bill(docs, [*models(docs.parent / "models"), *python_packages(), *debian_packages()])
