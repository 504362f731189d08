"""Which attributes a form writes, where from, and whether always."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from pneumo_monai.conformance.observed import Observations, Path, as_code, made_of, show_code, shown_values
from pneumo_monai.conformance.samples import SCENES, Factor, Scene, films_of, instances, variations
from pneumo_monai.forms import Form

__all__ = ["Attribute", "attributes_of", "file_meta_attributes"]

_GROUP_LENGTH = 0x00020000
"""Of file meta information: it says nothing but how long the rest is."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One row of a table of PS3.2 annex A.A.

    Attributes
    ----------
    path : tuple of str
        Keywords of the sequences around it, and its own.
    name, tag, vr : str
        As the data dictionary has them.
    source : str
        FIXED, COPY or AUTO.
    presence : str
        ALWAYS, VNAP, ANAP or EMPTY.
    value : str
        The value, where it is fixed; what it is made of, where it is not.
    condition : str
        Of which results it is there with a value; empty: of all.
    """

    path: Path
    name: str
    tag: str
    vr: str
    source: str
    presence: str
    value: str
    condition: str

    @property
    def is_private(self) -> bool:
        """Whether it is no attribute of the standard."""
        return tag_for_keyword(self.path[-1]) is None


def _items(dataset: Dataset, path: Path = ()) -> Iterator[tuple[Path, Dataset]]:
    """Walk through a data set and its items, but neither codes nor the content tree, which have tables of their own."""
    yield path, dataset
    for element in dataset:
        if element.VR == "SQ" and element.keyword != "ContentSequence":
            for item in element.value:
                if as_code(item) is None:
                    yield from _items(item, (*path, _name(element)))


def _name(element: DataElement) -> str:
    return element.keyword or str(element.tag)


def _shown(element: DataElement) -> str:
    if element.VR == "SQ":
        codes = [code for item in element.value if (code := as_code(item))]
        return ", ".join(map(show_code, codes)) or f"{len(element.value)} items" * bool(element.value)
    if isinstance(element.value, bytes):
        return element.value.hex()
    return "\\".join(map(str, element.value)) if element.VM > 1 else str("" if element.value is None else element.value)


@cache
def attributes_of(form: Form) -> tuple[Attribute, ...]:
    """Return what a form writes, in no particular order but that a sequence precedes what is in it."""
    return _attributes(lambda documents: documents.get(form, ()))


@cache
def file_meta_attributes() -> tuple[Attribute, ...]:
    """Return the file meta information (PS3.10 7.1) of all forms together."""
    return _attributes(lambda documents: [each.file_meta for form in documents.values() for each in form])


def _attributes(choose: Callable[[Mapping[Form, Sequence[Dataset]]], Sequence[Dataset]]) -> tuple[Attribute, ...]:
    written, films, vrs = Observations(), Observations(), dict[Path, str]()
    for scene in SCENES:
        for changed in variations(scene):
            for film in films_of(scene, changed):
                _see(films, scene, changed, film, {})
            for dataset in choose(instances(scene, changed)):
                _see(written, scene, changed, dataset, vrs)
    return tuple(_attribute(written, films, path, vrs[path]) for path in written)


def _see(
    observations: Observations, scene: Scene, changed: Factor | None, dataset: Dataset, vrs: dict[Path, str]
) -> None:
    for place, item in _items(dataset):
        elements = {(*place, _name(element)): element for element in item if element.tag != _GROUP_LENGTH}
        observations.see(scene, changed, place, ((path, _shown(element)) for path, element in elements.items()))
        for path, element in elements.items():
            vrs.setdefault(path, element.VR)


def _attribute(written: Observations, films: Observations, path: Path, vr: str) -> Attribute:
    factors, values, presence = written.factors(path), written.values(path), str(written.presence(path))
    tag = tag_for_keyword(path[-1])
    holds_items = vr == "SQ" and not any(value.startswith("(") for value in values)
    if holds_items or presence.endswith("EMPTY"):
        source, value = "", ""
    elif not factors:
        source, value = "FIXED", shown_values(values)
    else:
        source = "COPY" if written.is_found_in(path, films) else "AUTO"
        value = "" if source == "COPY" else made_of(factors)
    condition = written.condition(path) or ("in some items" if presence in {"ANAP", "VNAP"} else "")
    return Attribute(
        path=path,
        name=path[-1] if tag is None else dictionary_description(tag),
        tag=path[-1] if tag is None else f"({tag >> 16:04X},{tag & 0xFFFF:04X})",
        vr=vr,
        source=source,
        presence=presence,
        value=value,
        condition=condition,
    )
