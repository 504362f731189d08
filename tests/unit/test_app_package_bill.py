"""The bill of materials is valid CycloneDX, lists what is installed, and each part has a licence."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from app_package.bill import bill_of_materials, licences, write_bill
from app_package.parts import Part, debian_packages, models, python_packages
from pneumo_monai.bundle import PACKAGED, Bundle

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u14
Description: GNU C Library
 A paragraph that
 goes on.

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
"""


@pytest.fixture(scope="module")
def parts() -> list[Part]:
    return [*models(PACKAGED.parent), *python_packages()]


def test_the_document_is_valid_cyclonedx(parts: list[Part]):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    document = bill_of_materials(parts, name="pneumo-monai", version="0.1.0")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    references = [component["bom-ref"] for component in document["components"]]
    assert len(references) == len(set(references))
    assert {entry["ref"] for entry in document["dependencies"]} <= {*references, "pneumo-monai@0.1.0"}


def test_every_installed_package_is_listed_with_what_it_needs(parts: list[Part]):
    found = {part.name: part for part in parts}
    assert found["torch"].version == version("torch")
    assert "numpy" in found["monai"].requires
    assert "torchvision" not in found["pneumo-monai"].requires  # only of an extra
    assert found["pydicom"].licence == "MIT License"
    assert found["pydicom"].texts


def test_the_model_is_listed_with_the_digests_of_its_weights(parts: list[Part]):
    (model,) = [part for part in parts if part.kind == "model"]
    bundle = Bundle(PACKAGED)
    assert (model.name, model.version) == (PACKAGED.name, bundle.version)
    assert dict(model.sha256)["model.pt"] == bundle.contract.weights_sha256


def test_debian_packages_are_those_that_are_installed(tmp_path: Path):
    assert debian_packages(tmp_path) == []
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    text = tmp_path / "usr/share/doc/libc6/copyright"
    text.parent.mkdir(parents=True)
    text.write_text("Format: DEP-5\n\nFiles: *\nLicense: LGPL-2.1+\n\nFiles: x\nLicense: GPL-2\n a text\n")
    (package,) = debian_packages(tmp_path)
    assert package.purl == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64"
    assert package.licence == "GPL-2, LGPL-2.1+"
    text.write_text("Not machine-readable")
    assert debian_packages(tmp_path)[0].licence == "see its text"


def test_what_is_written_names_every_licence_and_has_its_text(parts: list[Part], tmp_path: Path):
    write_bill(tmp_path, parts)
    page = (tmp_path / "LICENCES.md").read_text(encoding="utf-8")
    assert page == licences(parts)
    assert all(f"| {part.name} | {part.version} | " in page for part in parts)
    assert (tmp_path / "licences" / PACKAGED.name / "LICENSE").is_file()
    assert json.loads((tmp_path / "sbom.cdx.json").read_text(encoding="utf-8"))["bomFormat"] == "CycloneDX"


def test_the_same_parts_give_the_same_document(parts: list[Part]):
    first, second = (bill_of_materials(parts, name="x", version="1") for _ in range(2))
    assert first == second
    assert bill_of_materials(parts[1:], name="x", version="1")["serialNumber"] != first["serialNumber"]
