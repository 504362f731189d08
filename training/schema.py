"""``python -m training.schema``: the JSON Schema that metadata.json is held to.

The part about MONAI is written by hand, from the MONAI Bundle Specification. The part about our own section is that of
`Contract`: this command puts it into the file, and a test fails when the two differ.
"""

import json
import logging
from pathlib import Path
from typing import Any

from pneumo_monai.bundle import Contract
from training.entry import start

__all__ = ["SCHEMA", "with_contract"]

SCHEMA = Path(__file__).parent / "schemas" / "bundle-metadata.schema.json"

_OURS = "Contract"
_WRITTEN_BY_HAND = ("Tensor", "Tensors", "Versions", "Figure", "Figures")

_log = logging.getLogger(__name__)


def write() -> None:
    """Put the contract of the package into the schema."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    SCHEMA.write_text(json.dumps(with_contract(schema), indent=2) + "\n", encoding="utf-8")
    _log.info("%s holds the contract of the package", SCHEMA)


def with_contract(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with the definitions of `Contract` as they are now."""
    contract = Contract.model_json_schema()
    definitions = {name: schema["$defs"][name] for name in _WRITTEN_BY_HAND}
    return {**schema, "$defs": {**definitions, **contract.pop("$defs"), _OURS: contract}}


if __name__ == "__main__":
    start(write)
