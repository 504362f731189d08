"""``python -m training.export --run DIR --out DIR``: write the MONAI Bundle that the service loads."""

import json
import logging
import shutil
from pathlib import Path
from typing import Annotated

import torch
import typer

from pneumo_monai.bundle import Bundle, sha256
from pneumo_monai.errors import ConfigurationError
from training.assess import Assessment, assess
from training.entry import start
from training.evaluate import write_assessment
from training.metadata import card, contract, inference, metadata

__all__ = ["write_bundle"]

LICENSE = Path(__file__).parents[1] / "LICENSE"

_log = logging.getLogger(__name__)


def export(
    run: Annotated[Path, typer.Option(help="Folder of a run, the --out of training.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; an older bundle there is replaced.")],
    name: Annotated[str, typer.Option(help="Name that reports will carry.")] = "pneumonia_resnet18",
    version: Annotated[str, typer.Option(help="Version of the model.")] = "0.1.0",
    changelog: Annotated[str, typer.Option(help="What is new in this version.")] = "First model.",
) -> None:
    """Measure a run on the persons it held out, and write its bundle with everything that was measured."""
    assessment = assess(run)
    write_assessment(run, assessment)
    bundle = write_bundle(assessment, out, name=name, version=version, changelog=changelog)
    _log.info("%s %s, uid %s, stands in %s", bundle.name, bundle.version, bundle.identity.uid, out)


def write_bundle(assessment: Assessment, out: Path, *, name: str, version: str, changelog: str) -> Bundle:
    """Write a bundle and load it again.

    The bundle is written beside its place and renamed, so that a service never loads half of one.

    Raises
    ------
    ConfigurationError
        `out` holds something that is no bundle.
    """
    if out.exists() and any(out.iterdir()) and not (out / "configs" / "metadata.json").is_file():
        raise ConfigurationError(f"--out {out} holds other files; give a new folder, or that of an older bundle")
    draft = out.with_name(f".{out.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    for folder in ("configs", "models", "docs"):
        (draft / folder).mkdir(parents=True)
    weights = draft / "models" / "model.pt"
    torch.save(assessment.state, weights)
    shipped = contract(assessment, weights_sha256=sha256(weights))
    described = metadata(assessment, shipped, name=name, release=version, changelog=changelog)
    (draft / "configs" / "metadata.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    (draft / "configs" / "inference.json").write_text(json.dumps(inference(shipped), indent=2) + "\n", encoding="utf-8")
    (draft / "docs" / "README.md").write_text(card(described), encoding="utf-8")
    shutil.copyfile(LICENSE, draft / "LICENSE")
    Bundle(draft)
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)
    return Bundle(out)


if __name__ == "__main__":
    start(export)
