"""The annexes of the statement: what is written, as Markdown."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydicom.datadict import dictionary_description

from pneumo_monai.conformance.attributes_written import Attribute, attributes_of, file_meta_attributes
from pneumo_monai.conformance.content_tree import content_of
from pneumo_monai.conformance.iods import (
    Module,
    common_entities,
    extensions,
    modules_of,
    sop_classes,
    specific_attributes,
)
from pneumo_monai.conformance.markdown import table
from pneumo_monai.conformance.terminology import private_coding_schemes, uses_of_codes
from pneumo_monai.forms import Form
from pneumo_monai.report.documents import BUILDERS
from pneumo_monai.report.inheritance import OPTIONAL, REQUIRED

__all__ = [
    "Section",
    "codes_table",
    "common_modules",
    "extended_classes",
    "file_meta_table",
    "iod_sections",
    "mapping_table",
    "private_attributes",
    "private_codes",
    "tree_sections",
]

_ATTRIBUTE = ("attribute", "tag", "VR", "source", "presence", "value", "when")
_CONTENT = ("level", "relationship", "type", "name", "presence", "value", "when")
_FEW = 18
"""A form that differs in at most so many rows from one before it is told by these."""

Row = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One heading of an annex, and what stands below it."""

    title: str
    text: str


def title_of(form: Form) -> str:
    """Return the heading of a form: its SOP Classes, and its name in the settings."""
    return f"{', '.join(sop_class.name for sop_class in sop_classes(form))}: {form}"


def _attribute_row(attribute: Attribute) -> Row:
    return (
        f"{'>' * (len(attribute.path) - 1)} {attribute.name}",
        attribute.tag,
        attribute.vr,
        attribute.source,
        attribute.presence,
        attribute.value,
        attribute.condition,
    )


def file_meta_table() -> str:
    """File meta information of every form."""
    return table(_ATTRIBUTE, map(_attribute_row, file_meta_attributes()))


def _rows_of(modules: Iterable[Module]) -> Iterator[Row]:
    for module in modules:
        for attribute in module.attributes:
            yield module.name, *_attribute_row(attribute)


def _module_rows(form: Form, keywords: frozenset[str]) -> Iterator[Row]:
    yield from _rows_of(modules_of(form, keywords))
    for attribute in extensions(form):
        if attribute.path[0] in keywords:
            yield "(beyond the IOD)", *_attribute_row(attribute)


def common_modules() -> str:
    """Attributes that all forms write alike, by information entity."""
    return _table(("entity", *_ATTRIBUTE), list(_rows_of(common_entities())))


def iod_sections() -> list[Section]:
    """One section for each form: what it writes beyond the common attributes."""
    heading = ("module", *_ATTRIBUTE)
    return _sections(heading, lambda form: list(_module_rows(form, specific_attributes(form))))


def tree_sections() -> list[Section]:
    """One section for each form that has a content tree."""

    def rows(form: Form) -> list[Row]:
        return [
            (
                str(item.level),
                item.relationship,
                item.value_type,
                item.concept,
                item.presence,
                item.value,
                item.condition,
            )
            for item in content_of(form)
        ]

    return _sections(_CONTENT, rows)


def _sections(heading: Sequence[str], rows_of: Callable[[Form], list[Row]]) -> list[Section]:
    """Write a table for each form that has rows; one that is nearly as one before it is told by what differs."""
    told: dict[Form, list[Row]] = {}
    sections = []
    for form in BUILDERS:
        if rows := rows_of(form):
            like = next((other for other, known in told.items() if _difference(rows, known) <= _FEW), None)
            text = _table(heading, rows) if like is None else _as_before(heading, rows, like, told[like])
            sections.append(Section(title=title_of(form), text=text))
            told[form] = rows
    return sections


def _table(heading: Sequence[str], rows: Sequence[Row]) -> str:
    """Write rows whose first cell names what holds them only where that changes."""
    if heading[0] not in {"module", "entity"}:
        return table(heading, rows)
    shown = [row if place == 0 or row[0] != rows[place - 1][0] else ("", *row[1:]) for place, row in enumerate(rows)]
    return table(heading, shown)


def _difference(rows: Iterable[Row], known: Iterable[Row]) -> int:
    return len(set(rows) ^ set(known))


def _depth(row: Row) -> int:
    """Return how deep a row is nested: by its level in a tree, by its marks among attributes."""
    return int(row[0]) if row[0].isdecimal() else row[1].count(">")


def _as_before(heading: Sequence[str], rows: Sequence[Row], like: Form, known: Sequence[Row]) -> str:
    shown: set[int] = set()
    for place in (place for place, row in enumerate(rows) if row not in known):
        # With what it stands in.
        depth = _depth(rows[place]) + 1
        for before in range(place, -1, -1):
            if _depth(rows[before]) < depth:
                shown.add(before)
                depth = _depth(rows[before])
    names = {row[1:4] for row in rows}
    missing = [row[1].strip() for row in known if row not in rows and row[1:4] not in names and ">" not in row[1]]
    text = f"As `{like}`"
    if shown:
        text += ", but for:\n\n" + _table(heading, [rows[place] for place in sorted(shown)])
    else:
        text += "."
    return text + (f"\n\nWithout {', '.join(missing)}." if missing else "")


def private_attributes() -> str:
    """Private attributes of every form."""
    found = {attribute.tag for form in BUILDERS for attribute in attributes_of(form) if attribute.is_private}
    return ", ".join(sorted(found)) or "none."


def extended_classes() -> str:
    """Attributes that a form writes beyond its IOD."""
    found = [
        f"`{form}` has {', '.join(f'{attribute.name} {attribute.tag}' for attribute in beyond)}"
        for form in BUILDERS
        if (beyond := extensions(form))
    ]
    return "; ".join(found) + "." if found else "none: every attribute belongs to a module of its IOD."


def mapping_table() -> str:
    """Attributes that are copied from the film, and into which forms."""
    forms: dict[tuple[str, str, tuple[str, ...]], list[Form]] = {}
    for form in BUILDERS:
        for attribute in attributes_of(form):
            if attribute.source == "COPY":
                forms.setdefault((attribute.tag, attribute.name, attribute.path), []).append(form)
    rows = []
    for (tag, name, path), of in sorted(forms.items(), key=lambda item: item[0][2][:-1] + item[0][:1]):
        kind = "Type 2" if path[0] in REQUIRED else "Type 3" if path[0] in OPTIONAL else ""
        place = " > ".join(dictionary_description(keyword) for keyword in path[:-1])
        rows.append((f"{place} > {name}" if place else name, tag, kind, _names(of)))
    return table(("attribute", "tag", "written as", "in"), rows)


def _names(forms: Sequence[Form]) -> str:
    return "all forms" if set(forms) == set(BUILDERS) else ", ".join(forms)


def codes_table() -> str:
    """Every code that is written."""
    return table(
        ("scheme", "value", "meaning", "in attribute", "in form"),
        (
            (
                use.code.scheme_designator,
                use.code.value,
                use.code.meaning,
                ", ".join(use.attributes),
                _names(tuple(use.forms)),
            )
            for use in uses_of_codes()
        ),
    )


def private_codes() -> str:
    """Coding schemes of our own, as Coding Scheme Identification Sequence declares them."""
    schemes = private_coding_schemes()
    if not schemes:
        return "none."
    return table(
        ("designator", "Coding Scheme UID", "name"),
        ((scheme.designator, scheme.uid, scheme.name) for scheme in schemes),
    )
