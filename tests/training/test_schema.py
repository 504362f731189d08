"""metadata.json against its schema, by MONAI's own command and without a network."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pneumo_monai.bundle import PACKAGED
from training.schema import SCHEMA, with_contract

METADATA = PACKAGED / "configs" / "metadata.json"


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def verify(metadata: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "monai.bundle", "verify_metadata"]
    command += ["--meta_file", str(metadata), "--filepath", str(SCHEMA)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_monai_verifies_the_packaged_bundle() -> None:
    before = SCHEMA.read_bytes()
    done = verify(METADATA)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "metadata is verified with no error" in done.stdout + done.stderr
    # Nothing was fetched over it.
    assert SCHEMA.read_bytes() == before


def test_monai_refuses_a_bundle_that_breaks_it(tmp_path: Path) -> None:
    broken = read(METADATA)
    broken["network_data_format"]["inputs"]["image"].pop("channel_def")
    (tmp_path / "metadata.json").write_text(json.dumps(broken))
    done = verify(tmp_path / "metadata.json")
    assert done.returncode != 0
    assert "'channel_def' is a required property" in done.stdout + done.stderr


def test_the_schema_is_one_and_holds_the_contract_of_the_package() -> None:
    schema = read(SCHEMA)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert with_contract(schema) == schema, "run: python -m training.schema"
    assert "MONAI Bundle Specification" in schema["$comment"]


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(metadata: dict[str, Any]) -> None:
        for key in path[:-1]:
            metadata = metadata[key]
        del metadata[path[-1]]

    return change


def with_value(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(metadata: dict[str, Any]) -> None:
        for key in path[:-1]:
            metadata = metadata[key]
        metadata[path[-1]] = value

    return change


OF_MONAI = (
    "version",
    "changelog",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "required_packages_version",
    "task",
    "description",
    "authors",
    "copyright",
    "network_data_format",
)
OF_A_TENSOR = (
    "type",
    "format",
    "modality",
    "num_channels",
    "spatial_shape",
    "dtype",
    "value_range",
    "is_patch_data",
    "channel_def",
)
IMAGE, PRED = ("network_data_format", "inputs", "image"), ("network_data_format", "outputs", "pred")
OURS = ("preprocessing", "calibration", "operating_point", "training", "evaluation", "weights_sha256")


@pytest.mark.parametrize(
    "change",
    [
        *(without(key) for key in (*OF_MONAI, "schema", "intended_use", "limitations", "data_source")),
        *(without(*tensor, key) for tensor in (IMAGE, PRED) for key in OF_A_TENSOR),
        *(without("pneumo_monai", key) for key in OURS),
        without("pneumo_monai", "training", "runs"),
        without("pneumo_monai", "evaluation", "intervals"),
        with_value({}, "network_data_format", "outputs"),
        with_value("picture", *IMAGE, "type"),
        with_value([1], *IMAGE, "value_range"),
        with_value("float", *IMAGE, "dtype"),
        with_value([0], *IMAGE, "spatial_shape"),
        with_value({"first": "radiograph"}, *IMAGE, "channel_def"),
        with_value("first", "version"),
        with_value("A doctor's eyes.", "intended_use"),
        with_value(-1.0, "pneumo_monai", "calibration", "slope"),
        with_value(1, "pneumo_monai", "unknown"),
    ],
)
def test_what_breaks_the_specification_or_the_contract_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    schema, metadata = read(SCHEMA), read(METADATA)
    broken = copy.deepcopy(metadata)
    change(broken)
    jsonschema.validate(metadata, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_a_figure_has_its_interval() -> None:
    schema, metadata = read(SCHEMA), read(METADATA)
    (group, *_) = metadata["pneumo_monai"]["evaluation"]["test"]
    del metadata["pneumo_monai"]["evaluation"]["test"][group]["all"]["auroc"]["low"]
    with pytest.raises(jsonschema.ValidationError, match="'low' is a required property"):
        jsonschema.validate(metadata, schema)


@pytest.mark.parametrize("shape", [["*", "*"], ["2**n", "2**n"], ["16*n", 3], []])
def test_shapes_of_the_specification_are_known(shape: list[Any]) -> None:
    metadata = read(METADATA)
    metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] = shape
    jsonschema.validate(metadata, read(SCHEMA))


def test_channels_are_counted_and_named() -> None:
    for tensors in read(METADATA)["network_data_format"].values():
        for tensor in tensors.values():
            assert sorted(tensor["channel_def"]) == [str(place) for place in range(tensor["num_channels"])]
