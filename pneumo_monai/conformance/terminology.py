"""Every code that is written, and where (PS3.2 annex A.E)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.attributes import items, text
from pneumo_monai.conformance.observed import as_code
from pneumo_monai.conformance.samples import SCENES, instances, variations
from pneumo_monai.forms import Form

__all__ = ["CodeUse", "CodingScheme", "private_coding_schemes", "uses_of_codes"]


@dataclass(kw_only=True)
class CodeUse:
    """A code, the attributes that hold it, and the forms that do."""

    code: Code
    attributes: dict[str, None] = field(default_factory=dict)
    forms: dict[Form, None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CodingScheme:
    """A coding scheme of ours, as Coding Scheme Identification Sequence (0008,0110) declares it."""

    designator: str
    uid: str
    name: str


def _codes(dataset: Dataset) -> Iterator[tuple[str, Code]]:
    for element in dataset:
        if element.VR != "SQ":
            continue
        for item in element.value:
            if code := as_code(item):
                yield dictionary_description(element.tag), code
            else:
                yield from _codes(item)


@cache
def uses_of_codes() -> tuple[CodeUse, ...]:
    """Return every code of every sample, by scheme and value."""
    uses: dict[tuple[str, str, str], CodeUse] = {}
    for scene in SCENES:
        for changed in variations(scene):
            for form, found in instances(scene, changed).items():
                for instance in found:
                    for attribute, code in _codes(instance):
                        key = (code.scheme_designator, code.value, code.meaning)
                        use = uses.setdefault(key, CodeUse(code=code))
                        use.attributes.setdefault(attribute)
                        use.forms.setdefault(form)
    return tuple(uses[key] for key in sorted(uses))


@cache
def private_coding_schemes() -> tuple[CodingScheme, ...]:
    """Return the schemes that instances declare."""
    found: dict[str, CodingScheme] = {}
    for scene in SCENES:
        for instance in (each for form in instances(scene).values() for each in form):
            for item in items(instance, "CodingSchemeIdentificationSequence"):
                designator = text(item, "CodingSchemeDesignator")
                found[designator] = CodingScheme(
                    designator=designator, uid=text(item, "CodingSchemeUID"), name=text(item, "CodingSchemeName")
                )
    return tuple(found.values())
