"""The tables of annex A.A: each form's IOD by its modules."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from highdicom import _standard_utils as standard
from pydicom.datadict import tag_for_keyword
from pydicom.uid import UID

from pneumo_monai.conformance.attributes_written import Attribute, attributes_of
from pneumo_monai.conformance.observed import Path
from pneumo_monai.conformance.samples import SCENES, instances
from pneumo_monai.forms import Form
from pneumo_monai.report.documents import BUILDERS

__all__ = ["Module", "common_entities", "extensions", "modules_of", "sop_classes", "specific_attributes"]

_ENTITIES = ("Patient", "Study", "Series", "Equipment")
_MODULE_WORDS = {"sop": "SOP", "sr": "SR", "sc": "SC", "voi": "VOI", "lut": "LUT", "icc": "ICC"}


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module and those of its attributes that are written, sequences before what is in them."""

    name: str
    attributes: Sequence[Attribute]


def sop_classes(form: Form) -> tuple[UID, ...]:
    """Return the SOP Classes that a form's instances have."""
    found = {UID(str(item.SOPClassUID)): None for scene in SCENES for item in instances(scene).get(form, ())}
    return tuple(found)


@cache
def _iod(form: Form) -> tuple[Mapping[str, str], ...]:
    """Return key, usage and information entity of the modules of a form's IODs, in the order of PS3.3 annex A."""
    iods, of = standard.get_iod_module_map(), standard.get_sop_class_iod_map()
    modules = {module["key"]: module for sop_class in sop_classes(form) for module in iods[of[sop_class]]}
    return tuple(modules.values())


@cache
def _keywords(module: str) -> list[str]:
    return [entry["keyword"] for entry in standard.get_module_attribute_map()[module] if not entry["path"]]


def _home(form: Form, keyword: str) -> Mapping[str, str] | None:
    """Return the module of an attribute; of several that have it, the first that cannot be absent."""
    having = [module for module in _iod(form) if keyword in _keywords(module["key"])]
    return min(having, key=lambda module: module["usage"] != "M", default=None)


def _name(module: str) -> str:
    return " ".join(_MODULE_WORDS.get(word, word.capitalize()) for word in module.split("-"))


def _entity(form: Form, keyword: str) -> str:
    """Return the information entity of an attribute, whatever the IOD calls its instance."""
    module = _home(form, keyword)
    entity = module["ie"] if module else ""
    return entity if entity in _ENTITIES else "Instance"


def extensions(form: Form) -> tuple[Attribute, ...]:
    """Return what a form writes at its top level beyond its IOD: a Standard Extended SOP Class (PS3.2 7.3)."""
    return tuple(
        attribute
        for attribute in attributes_of(form)
        if len(attribute.path) == 1 and _home(form, attribute.path[0]) is None
    )


def _in_order(attributes: Iterable[Attribute]) -> list[Attribute]:
    def place(path: Path) -> list[tuple[int, str]]:
        return [(tag_for_keyword(keyword) or 0, keyword) for keyword in path]

    return sorted(attributes, key=lambda attribute: place(attribute.path))


def _tops(form: Form) -> dict[str, list[Attribute]]:
    """Return each attribute of the top level with what is in it."""
    tops: dict[str, list[Attribute]] = {}
    for attribute in _in_order(attributes_of(form)):
        tops.setdefault(attribute.path[0], []).append(attribute)
    return tops


@cache
def _common() -> frozenset[str]:
    """Return the attributes of the top level that every form writes alike, whatever is in them included."""
    forms = [_tops(form) for form in BUILDERS]
    return frozenset(
        keyword for keyword, written in forms[0].items() if all(tops.get(keyword) == written for tops in forms)
    )


def specific_attributes(form: Form) -> frozenset[str]:
    """Return the attributes of the top level that this form does not write as all others do."""
    return frozenset(_tops(form)) - _common()


def common_entities() -> Iterator[Module]:
    """Yield what every form writes alike by its information entity: their modules have different names."""
    form = next(iter(BUILDERS))
    for entity in (*_ENTITIES, "Instance"):
        modules = modules_of(form, frozenset(keyword for keyword in _common() if _entity(form, keyword) == entity))
        if attributes := [attribute for module in modules for attribute in module.attributes]:
            yield Module(name=entity, attributes=attributes)


def modules_of(form: Form, keywords: frozenset[str]) -> Iterator[Module]:
    """Yield the modules of a form's IOD that have some of these attributes of the top level."""
    tops = _tops(form)
    for module in _iod(form):
        listed = _keywords(module["key"])
        chosen = [keyword for keyword in listed if keyword in keywords and _home(form, keyword) == module]
        attributes = [attribute for keyword in dict.fromkeys(chosen) for attribute in tops[keyword]]
        if attributes:
            yield Module(name=_name(module["key"]), attributes=attributes)
