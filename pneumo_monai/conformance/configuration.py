"""What a site can set, and what this one did (PS3.2 annex N, section 6)."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pneumo_monai.settings import Settings

__all__ = ["parameters"]

_NOT_OF_DICOM = frozenset({"data_dir", "ledger", "web", "model"})
"""Sections that change nothing that another application entity sees; a ledger's URL has a password in it."""


def parameters(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield key, default and the site's value of every setting that concerns DICOM; items of a list have none."""
    for name in Settings.model_fields:
        if name not in _NOT_OF_DICOM:
            yield from _below(name, Settings.model_fields[name], getattr(settings, name))


def _below(key: str, field: Any, value: Any) -> Iterator[tuple[str, str, str]]:
    inner = [part for part in (field.annotation, *get_args(field.annotation)) if isinstance(part, type)]
    section = next((part for part in inner if issubclass(part, BaseModel)), None)
    if section is None:
        yield key, _shown(field.get_default(call_default_factory=True)), _shown(value)
        return
    is_section = field.annotation is section
    if not is_section:
        yield key, _shown(field.get_default(call_default_factory=True)), f"{len(value)} entries" if value else "none"
    for name, below in section.model_fields.items():
        if is_section:
            yield from _below(f"{key}.{name}", below, getattr(value, name))
        else:
            yield f"{key}[].{name}", _shown(below.get_default(call_default_factory=True)), ""


def _shown(value: Any) -> str:
    if value is PydanticUndefined:
        return "must be set"
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]" if value else "none"
    return str(value)
