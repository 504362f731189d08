"""What a site can set, and what this one did (PS3.2 annex N, section 6)."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

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
    section = _section(field)
    if section is None:
        yield key, _default(field), _shown(value)
    elif field.annotation is section:
        for name, below in section.model_fields.items():
            yield from _below(f"{key}.{name}", below, getattr(value, name))
    else:
        count = f"{len(value)} entries" if isinstance(value, tuple) else "set"
        yield key, _default(field), count if value else "none"
        yield from _inside(key, field, section)


def _inside(key: str, field: Any, section: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    """Yield the keys of what may be there or not: the items of a list, or a section that is off by default."""
    mark = "[]" if get_origin(field.annotation) is tuple else ""
    for name, below in section.model_fields.items():
        inner = _section(below)
        yield f"{key}{mark}.{name}", _default(below), ""
        if inner is not None:
            yield from _inside(f"{key}{mark}.{name}", below, inner)


def _section(field: Any) -> type[BaseModel] | None:
    parts = [part for part in (field.annotation, *get_args(field.annotation)) if isinstance(part, type)]
    return next((part for part in parts if issubclass(part, BaseModel)), None)


def _default(field: Any) -> str:
    return _shown(field.get_default(call_default_factory=True))


def _shown(value: Any) -> str:
    if value is PydanticUndefined:
        return "must be set"
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]" if value else "none"
    return str(value)
