"""Found by a service that a test starts with this folder on PYTHONPATH: two places fail, and quote what a film says.

A film of station FAULT fails in the gate; a result of the patient whose identifier holds FAULT-STORE cannot be stored.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def _in_the_gate(check: Callable[..., Any]) -> Callable[..., Any]:
    def checked(dataset: Any) -> Any:
        if dataset.get("StationName") == "FAULT":
            raise ValueError(f"{dataset.PatientName} cannot be checked:\n{dataset}")
        return check(dataset)

    return checked


def _in_the_store(file_report: Callable[..., Any]) -> Callable[..., Any]:
    def filed(report: Any, *arguments: Any, **named: Any) -> Any:
        if any(b"FAULT-STORE" in document.encoded for document in report.documents):
            raise ValueError(str(report.documents[0].encoded))
        return file_report(report, *arguments, **named)

    return filed


_FAULTS = {"pneumo_monai.gate": ("check", _in_the_gate), "pneumo_monai.filing": ("file_report", _in_the_store)}


class _Finder(MetaPathFinder):
    """Puts the faults in as these modules are imported: no other module is imported for it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _FAULTS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.loader is not None
        name, fault = _FAULTS[fullname]
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            setattr(module, name, fault(getattr(module, name)))

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder())
