"""The content tree of a form: its items, their templates, and where their values come from (PS3.3 C.17.3)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.attributes import items, text
from pneumo_monai.conformance.observed import Observations, Path, as_code, made_of, show_code, shown_values
from pneumo_monai.conformance.samples import SCENES, Factor, Scene, instances, variations
from pneumo_monai.forms import Form

__all__ = ["ContentItem", "content_of", "templates_of"]


@dataclass(frozen=True, kw_only=True)
class ContentItem:
    """One row of the table of a content tree.

    Attributes
    ----------
    level : int
        0: the root.
    relationship, value_type : str
        As PS3.3 C.17.3.2 has them.
    concept : str
        Name of the item, as a code; empty where it has none.
    presence, condition : str
        As of an attribute (`pneumo_monai.conformance.attributes_written.Attribute`).
    value : str
        The value, where it is fixed; what it is made of, where it is not.
    """

    level: int
    relationship: str
    value_type: str
    concept: str
    presence: str
    value: str
    condition: str


def _children(item: Dataset, path: Path) -> Iterator[tuple[Path, Dataset]]:
    """Walk through the items below one, each at the path of the items that lead to it."""
    for child in items(item, "ContentSequence"):
        name = next((code for named in items(child, "ConceptNameCodeSequence") if (code := as_code(named))), None)
        step = "|".join((text(child, "RelationshipType"), text(child, "ValueType"), _shown_name(name)))
        yield (*path, step), child


def _shown_name(name: Code | None) -> str:
    """Return the name of an item; of ours there is one for each reason, and annex A.E has them."""
    if name is None:
        return ""
    is_private = name.scheme_designator.startswith("99")
    return f"one of the codes of {name.scheme_designator}" if is_private else show_code(name)


def _codes(found: Iterable[Dataset]) -> str:
    return ", ".join(show_code(code) for item in found if (code := as_code(item)))


def _value(item: Dataset) -> str:
    match text(item, "ValueType"):
        case "CODE":
            return _codes(items(item, "ConceptCodeSequence"))
        case "TEXT":
            return str(item.TextValue)
        case "UIDREF":
            return str(item.UID)
        case "NUM":
            (measured,) = items(item, "MeasuredValueSequence")
            return text(measured, "NumericValue")
        case "IMAGE" | "COMPOSITE" | "WAVEFORM":
            (referenced,) = items(item, "ReferencedSOPSequence")
            return text(referenced, "ReferencedSOPInstanceUID")
        case "SCOORD" | "SCOORD3D":
            return f"{item.GraphicType} {item.GraphicData}"
        case "CONTAINER":
            return "items" if "ContentSequence" in item else ""
        case kind:
            return " ".join(str(element.value) for element in item if element.keyword == _HOLDERS.get(kind, ""))


_HOLDERS = {"PNAME": "PersonName", "DATE": "Date", "TIME": "Time", "DATETIME": "DateTime"}


def _kind(item: Dataset) -> str:
    """Return what is the same of each value of an item: unit or graphic type."""
    match text(item, "ValueType"):
        case "NUM":
            (measured,) = items(item, "MeasuredValueSequence")
            return _codes(items(measured, "MeasurementUnitsCodeSequence"))
        case "SCOORD" | "SCOORD3D":
            return str(item.GraphicType)
    return ""


def _see(
    observations: Observations,
    kinds: dict[Path, dict[str, None]],
    scene: Scene,
    changed: Factor | None,
    item: Dataset,
    path: Path = (),
) -> None:
    children = list(_children(item, path))
    observations.see(scene, changed, path, ((inner, _value(child)) for inner, child in children))
    for inner, child in children:
        if kind := _kind(child):
            kinds.setdefault(inner, {}).setdefault(kind)
        _see(observations, kinds, scene, changed, child, inner)


@cache
def content_of(form: Form) -> tuple[ContentItem, ...]:
    """Return the items of a form's tree below its root, each kind once, parents first; none where it has no tree."""
    seen, kinds = Observations(), dict[Path, dict[str, None]]()
    for scene in SCENES:
        for changed in variations(scene):
            for instance in instances(scene, changed).get(form, ()):
                _see(seen, kinds, scene, changed, instance)
    return tuple(_item(seen, path, tuple(kinds.get(path, ()))) for path in _in_order(seen))


def _in_order(seen: Observations) -> list[Path]:
    """Sort paths so that what was first seen in a later scene stands below its parent all the same."""
    below: dict[Path, list[Path]] = {}
    for path in seen:
        below.setdefault(path[:-1], []).append(path)

    def walk(path: Path) -> Iterator[Path]:
        for inner in below.get(path, ()):
            yield inner
            yield from walk(inner)

    return list(walk(()))


def _item(seen: Observations, path: Path, kinds: tuple[str, ...]) -> ContentItem:
    relationship, value_type, concept = path[-1].split("|")
    factors, values, presence = seen.factors(path), seen.values(path), str(seen.presence(path))
    if value_type == "CONTAINER":
        value = ""
    elif factors:
        value = made_of(factors)
    else:
        value = shown_values(values)
    if kinds:
        value = f"{' or '.join(kinds)}, {value}"
    return ContentItem(
        level=len(path),
        relationship=relationship,
        value_type=value_type,
        concept=concept,
        presence=presence,
        value=value,
        condition=seen.condition(path) or ("in some items" if presence in {"ANAP", "VNAP"} else ""),
    )


@cache
def templates_of(form: Form) -> tuple[str, ...]:
    """Return the identifiers of the templates that the roots of a form's trees name: ``TID 1500``."""
    return tuple(
        dict.fromkeys(
            f"TID {text(template, 'TemplateIdentifier')}"
            for scene in SCENES
            for instance in instances(scene).get(form, ())
            for template in items(instance, "ContentTemplateSequence")
        )
    )
