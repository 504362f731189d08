"""``python -m training.export --run DIR --out DIR``: write the MONAI Bundle that the service loads."""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from pneumo_monai.bundle import Bundle, sha256
from pneumo_monai.errors import ConfigurationError
from training.assess import Assessment, assess
from training.card import card
from training.entry import start
from training.evaluate import write_assessment
from training.familiarity import GATE, read_result
from training.metadata import contract, inference, metadata

__all__ = ["MAX_WEIGHTS", "ExtraNetwork", "gate_network", "lung_network", "write_bundle"]

MAX_WEIGHTS = 50_000_000
"""Bytes that the weights of a bundle may have together."""

LICENSE = Path(__file__).parents[1] / "LICENSE"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExtraNetwork:
    """A network of the bundle beside the classifier: ``models/<key>.pt``, and `key` in the contract.

    Attributes
    ----------
    key : str
        Its section of `Contract`.
    weights : Path
        State dict, which is copied.
    described : dict
        What the section says beside the file's SHA-256.
    """

    key: str
    weights: Path
    described: dict[str, Any] = field(default_factory=dict)


def export(
    run: Annotated[Path, typer.Option(help="Folder of a run, the --out of training.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; an older bundle there is replaced.")],
    name: Annotated[str, typer.Option(help="Name that reports will carry.")] = "pneumonia_resnet18",
    version: Annotated[str, typer.Option(help="Version of the model.")] = "0.1.0",
    changelog: Annotated[str, typer.Option(help="What is new in this version.")] = "First model.",
    gate: Annotated[
        Path | None, typer.Option(help="Result of training.familiarity with the run's lungs.pt; none: no such check.")
    ] = None,
) -> None:
    """Measure a run on the persons it held out, and write its bundle with everything that was measured."""
    assessment = assess(run)
    write_assessment(run, assessment)
    extras = [gate_network(gate, assessment.films.lungs)] if gate else []
    bundle = write_bundle(assessment, out, name=name, version=version, changelog=changelog, extras=extras)
    _log.info("%s %s, uid %s, stands in %s", bundle.name, bundle.version, bundle.identity.uid, out)


def lung_network(weights: Path) -> ExtraNetwork:
    """Return the segmentation that the run's films were cut by, and the Dice that `training.segment` measured.

    Raises
    ------
    ConfigurationError
        There is no dice.json beside the weights.
    """
    figures = weights.with_name("dice.json")
    try:
        return ExtraNetwork(
            key="lungs", weights=weights, described={"dice": json.loads(figures.read_text(encoding="utf-8"))}
        )
    except FileNotFoundError:
        raise ConfigurationError(
            f"{figures} is missing: a bundle says how well it finds the lungs; measure with training.segment"
        ) from None


def gate_network(result: Path, lungs: Path | None) -> ExtraNetwork:
    """Return the check of pictures that `training.familiarity` fitted to a run's segmentation.

    Raises
    ------
    ConfigurationError
        The run's films are whole, or the check was fitted to another segmentation.
    """
    if lungs is None:
        raise ConfigurationError("--gate: the run reads whole films, and the check looks at where the lungs are")
    described = read_result(result, lungs).model_dump(mode="json", exclude={"weights_sha256"})
    return ExtraNetwork(key="gate", weights=result / GATE, described=described)


def write_bundle(
    assessment: Assessment,
    out: Path,
    *,
    name: str,
    version: str,
    changelog: str,
    extras: Sequence[ExtraNetwork] = (),
) -> Bundle:
    """Write a bundle and load it again.

    The bundle is written beside its place and renamed, so that a service never loads half of one. What an older bundle
    there says of its versions goes on below the new one.

    Parameters
    ----------
    assessment : Assessment
        The classifier and what was measured with it.
    out : Path
        Folder of the bundle.
    name, version, changelog : str
        Of this model.
    extras : sequence of ExtraNetwork
        Networks beside the classifier and the segmentation that the run's films were cut by.

    Raises
    ------
    ConfigurationError
        `out` holds something that is no bundle, or a weights file is missing, or they are too large together.
    """
    if out.exists() and any(out.iterdir()) and not (out / "configs" / "metadata.json").is_file():
        raise ConfigurationError(f"--out {out} holds other files; give a new folder, or that of an older bundle")
    draft = out.with_name(f".{out.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    for folder in ("configs", "models", "docs"):
        (draft / folder).mkdir(parents=True)
    weights = draft / "models" / "model.pt"
    torch.save(assessment.state, weights)
    lungs = assessment.films.lungs
    networks = [*([lung_network(lungs)] if lungs else []), *extras]
    sections = {extra.key: _copy(extra, draft / "models") for extra in networks}
    _check_size(draft / "models")
    shipped = contract(assessment, weights_sha256=sha256(weights), sections=sections)
    versions = {version: changelog, **{key: text for key, text in _versions(out).items() if key != version}}
    described = metadata(assessment, shipped, name=name, release=version, changelog=versions)
    (draft / "configs" / "metadata.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    (draft / "configs" / "inference.json").write_text(json.dumps(inference(), indent=2) + "\n", encoding="utf-8")
    (draft / "docs" / "README.md").write_text(card(described), encoding="utf-8")
    shutil.copyfile(LICENSE, draft / "LICENSE")
    Bundle(draft)
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)
    return Bundle(out)


def _versions(out: Path) -> dict[str, str]:
    """Return the changelog of the bundle that is replaced; empty where there is none."""
    older = out / "configs" / "metadata.json"
    return dict(json.loads(older.read_text(encoding="utf-8"))["changelog"]) if older.is_file() else {}


def _copy(extra: ExtraNetwork, models: Path) -> dict[str, Any]:
    """Copy a network's weights and return its section of the contract."""
    file = models / f"{extra.key}.pt"
    try:
        shutil.copyfile(extra.weights, file)
    except FileNotFoundError:
        raise ConfigurationError(f"{extra.weights} is missing: the run needs it as its {extra.key} network") from None
    return {"weights_sha256": sha256(file), **extra.described}


def _check_size(models: Path) -> None:
    sizes = {file.name: file.stat().st_size for file in sorted(models.iterdir())}
    if (total := sum(sizes.values())) > MAX_WEIGHTS:
        listed = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes.items())
        raise ConfigurationError(
            f"the weights have {total / 1e6:.1f} MB together ({listed}), a bundle may have {MAX_WEIGHTS / 1e6:.0f}; "
            "save them as float16, or train a smaller network"
        )


if __name__ == "__main__":
    start(export)
