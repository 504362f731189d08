"""`monai-deploy package` of the pinned holoscan-cli, as far as its code goes without a container engine."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from holoscan_cli.__main__ import parse_args
from holoscan_cli.packager.arguments import PackagingArguments
from holoscan_cli.packager.container_builder import PythonAppBuilder
from holoscan_cli.packager.packager import _create_app_manifest, _create_package_manifest

from pneumo_monai.demo.phantoms import write_phantoms
from tests.maps import ROOT, problems, stage_package

pytestmark = [
    pytest.mark.slow,
    # The packager leaves iterators over folders open.
    pytest.mark.filterwarnings("ignore:unclosed scandir:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PAGE = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage_package(tmp_path_factory.mktemp("map") / "root")


@pytest.fixture(scope="module")
def context(staged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Let the packager write what it would hand to a container engine, by the command that the page documents."""
    folder = tmp_path_factory.mktemp("context")
    (documented,) = re.findall(r"^(monai-deploy package .*?[^\\])$", PAGE, re.MULTILINE | re.DOTALL)
    command = [
        part.replace("build/map", str(staged)).replace("app_package/", f"{ROOT}/app_package/")
        for part in shlex.split(documented.replace("\\\n", ""))
    ]
    command += ["--build-cache", str(folder.with_name("cache"))]
    with pytest.MonkeyPatch.context() as patch:
        # It tells from its own name which SDK it packages for.
        patch.setattr(sys, "argv", command)
        arguments = PackagingArguments(parse_args(command), str(folder))
    _create_app_manifest(arguments.application_manifest, str(folder))
    _create_package_manifest(arguments.package_manifest, str(folder))
    builder = PythonAppBuilder(arguments.build_parameters, str(folder))
    (platform,) = arguments.platforms
    builder._copy_supporting_files(platform)
    builder._write_dockerfile(platform)
    return folder


def test_the_staged_files_are_where_a_map_has_them(staged: Path):
    for file in (
        "opt/holoscan/app/__main__.py",
        "opt/holoscan/app/app_package/app.py",
        "opt/holoscan/app/pneumo_monai/cli.py",
        "opt/holoscan/app/requirements.txt",
        "opt/holoscan/models/pneumonia_resnet18/configs/metadata.json",
        "opt/holoscan/docs/LICENSE",
        "opt/holoscan/docs/docs/model-card.md",
        "var/holoscan/app.yaml",
    ):
        assert (staged / file).is_file(), file
    assert os.access(staged / "var/holoscan/tools", os.X_OK)
    weights = list(staged.rglob("model.pt"))
    assert len(weights) == 1  # a link from the package, no copy
    assert (staged / "opt/holoscan/app/pneumo_monai/models").resolve() == (staged / "opt/holoscan/models").resolve()
    for name in ("app", "pkg"):
        manifest = json.loads((staged / "etc" / "holoscan" / f"{name}.json").read_text(encoding="utf-8"))
        assert problems(name, manifest) == []


def test_the_source_of_artifacts_knows_the_installed_holoscan():
    artifacts = json.loads((ROOT / "app_package" / "artifacts.json").read_text(encoding="utf-8"))
    assert list(artifacts) == [version("holoscan-cu13")]
    assert artifacts[version("holoscan-cu13")]["holoscan"]["wheel-version"] == version("holoscan-cu13")


def test_the_packager_writes_our_manifests(context: Path):
    app = json.loads((context / "map" / "app.json").read_text(encoding="utf-8"))
    assert json.loads(app["command"]) == ["python3", "/opt/holoscan/app"]
    assert app["input"]["formats"][0]["mediaType"] == "application/dicom"
    assert (app["sdk"], app["sdkVersion"]) == ("monai-deploy", version("monai-deploy-app-sdk"))
    pkg = json.loads((context / "map" / "pkg.json").read_text(encoding="utf-8"))
    assert pkg["models"] == {"pneumonia_resnet18": "/opt/holoscan/models/pneumonia_resnet18"}
    ours = json.loads((ROOT / "app_package/schemas/pkg.schema.json").read_text(encoding="utf-8"))
    assert set(pkg["resources"]) <= set(ours["$defs"]["resources"]["properties"])


def test_the_packagers_container_file_has_what_the_application_needs(context: Path):
    lines = (context / "Dockerfile").read_text(encoding="utf-8").splitlines()
    for line in (
        "FROM nvcr.io/nvidia/cuda:13.0.1-runtime-ubuntu24.04 AS base",
        "COPY ./app /opt/holoscan/app",
        "COPY ./models  /opt/holoscan/models",
        "COPY ./docs  /opt/holoscan/docs",
        "RUN pip install --no-cache-dir --user -r /tmp/requirements.txt",
        f'LABEL org.nvidia.holoscan="{version("holoscan-cu13")}"',
        f'LABEL org.monai.deploy.app-sdk="{version("monai-deploy-app-sdk")}"',
    ):
        assert line in lines
    # `--add` would put each folder of the package on PYTHONPATH, evaluation/site.py before the standard library's.
    assert not [line for line in lines if "PYTHONPATH" in line]
    requirements = (context / "pip" / "requirements.txt").read_text(encoding="utf-8")
    assert "monai==" in requirements
    assert "--hash=sha256:" in requirements
    assert (context / "models" / "pneumonia_resnet18" / "models" / "model.pt").is_file()


def test_the_packaged_application_reads_a_film(context: Path, tmp_path: Path):
    films, reports = tmp_path / "films", tmp_path / "reports"
    for spare in write_phantoms(films)[1:]:
        spare.unlink()
    environment = {**os.environ, "PYTHONPATH": "", "HOLOSCAN_MODEL_PATH": str(context / "models")}
    done = subprocess.run(
        [sys.executable, context / "app", "-i", films, "-o", reports],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(reports.glob("*.dcm"))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--platform", "mainframe"], "mainframe is not a valid option"),
        (["--config", "nowhere.yaml"], "No such file/folder"),
    ],
)
def test_the_packager_refuses_wrong_arguments(change: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    command = ["monai-deploy", "package", "app_package", "--config", "app_package/app.yaml", "--tag", "x:1"]
    with pytest.raises(SystemExit):
        parse_args([*command, "--platform", "x86_64", *change])
    assert message in capsys.readouterr().err
