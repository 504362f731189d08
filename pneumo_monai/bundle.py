"""The model on disk: a MONAI Bundle and the contract it carries.

::

    <bundle>/configs/metadata.json     version, changelog, intended use, network_data_format, and under `pneumo_monai`
                                       the preprocessing constants, calibration, operating point, training, evaluation
    <bundle>/configs/inference.json    network_def, for `monai.bundle`
    <bundle>/models/model.pt           state dict, float16, loadable with `weights_only=True`
    <bundle>/models/lungs.pt           the same of the segmentation, where films are cut to their lungs
    <bundle>/models/gate.pt            what chest films look like, where pictures that are none are refused
    <bundle>/docs/README.md, LICENSE
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pneumo_monai.errors import BundleError
from pneumo_monai.findings import ModelIdentity, OperatingPoint
from pneumo_monai.uids import derive_uid

__all__ = ["PACKAGED", "Bundle", "Calibration", "Contract", "Gate", "GateLimits", "Lungs", "Preprocessing", "sha256"]

PACKAGED = Path(__file__).parent / "models" / "pneumonia_resnet18"
"""The bundle that ships with the package."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Preprocessing(_Strict):
    """Constants of `pneumo_monai.transforms.preprocessing`."""

    size: int = Field(ge=32, multiple_of=32)
    mean: float = Field(ge=0.0, le=1.0)
    std: float = Field(gt=0.0, le=1.0)


class Calibration(_Strict):
    """Platt scaling: probability = sigmoid(slope * logit + intercept), fitted on the validation part."""

    method: Literal["platt"] = "platt"
    slope: float = Field(gt=0.0)
    intercept: float
    fitted_on: str


class _OperatingPoint(_Strict):
    name: str
    threshold: float = Field(gt=0.0, lt=1.0)
    sensitivity: float = Field(ge=0.0, le=1.0)
    specificity: float = Field(ge=0.0, le=1.0)


class Lungs(_Strict):
    """The segmentation by which films are cut to their lungs (`pneumo_monai.lungs`)."""

    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: Literal[128] = 128
    dice: dict[str, Any] = Field(default_factory=dict)


class GateLimits(_Strict):
    """What a picture may measure and still be a frontal chest film (`pneumo_monai.familiarity.Measures`).

    `turned` is None in bundles that were made before there was such a limit.
    """

    distance: float = Field(gt=0.0)
    turned: float | None = Field(default=None, gt=0.0)
    lung_share: float = Field(ge=0.0, le=1.0)
    undecided_share: float = Field(ge=0.0, le=1.0)


class Gate(_Strict):
    """The check of pictures that contradict their header, and how often it errs."""

    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    limits: GateLimits
    false_refusals: dict[str, Any] = Field(default_factory=dict)
    detections: dict[str, Any] = Field(default_factory=dict)


class Contract(_Strict):
    """The `pneumo_monai` part of metadata.json: what the service needs beyond the weights."""

    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    preprocessing: Preprocessing
    calibration: Calibration
    operating_point: _OperatingPoint
    lungs: Lungs | None = None
    gate: Gate | None = None
    training: dict[str, Any]
    evaluation: dict[str, Any]

    @model_validator(mode="after")
    def _gate_needs_lungs(self) -> Self:
        if self.gate and not self.lungs:
            raise ValueError("gate needs lungs: it looks at where they are")
        return self


class Bundle:
    """A bundle whose contract was read and whose weights are the ones it names.

    Parameters
    ----------
    path : Path
        Folder of the bundle.

    Raises
    ------
    BundleError
        A file is missing or breaks the contract; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        metadata_file = path / "configs" / "metadata.json"
        try:
            self.metadata: dict[str, Any] = json.loads(metadata_file.read_text(encoding="utf-8"))
            self.contract = Contract.model_validate(self.metadata["pneumo_monai"])
            self.name, self.version = str(self.metadata["name"]), str(self.metadata["version"])
        except FileNotFoundError:
            raise BundleError(f"model.path: {path} is no MONAI Bundle: {metadata_file} is missing") from None
        except (json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
            raise BundleError(f"model.path: {metadata_file} breaks the bundle's contract: {error}") from error
        self.weights = path / "models" / "model.pt"
        _check_weights(self.weights, self.contract.weights_sha256)
        self.lung_weights = path / "models" / "lungs.pt" if self.contract.lungs else None
        if self.lung_weights and self.contract.lungs:
            _check_weights(self.lung_weights, self.contract.lungs.weights_sha256)
        self.gate_weights = path / "models" / "gate.pt" if self.contract.gate else None
        if self.gate_weights and self.contract.gate:
            _check_weights(self.gate_weights, self.contract.gate.weights_sha256)

    @property
    def operating_point(self) -> OperatingPoint:
        """The threshold this bundle reports at."""
        return OperatingPoint(**self.contract.operating_point.model_dump())

    @property
    def identity(self) -> ModelIdentity:
        """Name, version and a UID that changes with all weights, the calibration, the operating point and the gate."""
        decision = self.contract.model_dump_json(include={"preprocessing", "calibration", "operating_point"})
        if self.contract.lungs:
            decision += self.contract.lungs.weights_sha256
        if self.contract.gate:
            decision += self.contract.gate.model_dump_json(include={"weights_sha256", "limits"}, exclude_none=True)
        uid = derive_uid("model", self.contract.weights_sha256, decision)
        return ModelIdentity(name=self.name, version=self.version, uid=uid)


def _check_weights(file: Path, expected: str) -> None:
    if not file.is_file():
        raise BundleError(f"model.path: {file} is missing")
    if (found := sha256(file)) != expected:
        raise BundleError(f"model.path: {file} is not the file that metadata.json names (SHA-256 {found})")


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
