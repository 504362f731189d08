"""Seen over all samples: how often something stands, of which results, and what changes it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pneumo_monai.conformance.samples import SCENES, Factor, Kind, Scene
from pneumo_monai.findings import RetractionCause

__all__ = ["Observations", "Path", "Presence", "as_code", "condition_of", "made_of", "show_code", "shown_values"]

_LONGEST = 120
_MOST = 4
"""Fixed values are shown up to so many characters, and up to so many of them."""

Path = tuple[str, ...]
"""Where something stands: the names of what is around it, and its own."""

_CODE_KEYWORDS = frozenset(
    {"CodeValue", "LongCodeValue", "URNCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning"}
)

_KINDS = {
    "": set(Kind),
    "findings": {Kind.POSITIVE, Kind.NEGATIVE},
    "pneumonia present": {Kind.POSITIVE},
    "pneumonia absent": {Kind.NEGATIVE},
    "not analysed": {Kind.REFUSAL},
    "withdrawn": {Kind.RETRACTION},
    "findings, not analysed": {Kind.POSITIVE, Kind.NEGATIVE, Kind.REFUSAL},
    "not analysed, withdrawn": {Kind.REFUSAL, Kind.RETRACTION},
    "findings, withdrawn": {Kind.POSITIVE, Kind.NEGATIVE, Kind.RETRACTION},
}
_CIRCUMSTANCES = {
    "": lambda _: True,
    "from the second revision": lambda scene: scene.revision > 1,
    "where the film states it": lambda scene: scene.states_all,
    "where the film has a VOI LUT": lambda scene: scene.has_table,
    "where the film has a window": lambda scene: scene.states_all and not scene.has_table,
    "where something is remarked": lambda scene: scene.remarked,
    "where a film shows none": lambda scene: scene.kind is Kind.NEGATIVE or scene.films > 1,
    "several films": lambda scene: scene.films > 1,
    "for reasons of quality": lambda scene: scene.cause is RetractionCause.QUALITY,
}


@dataclass(frozen=True, kw_only=True)
class Presence:
    """In how many places something might stand, in how many it stands, and in how many of these it has a value."""

    places: int
    present: int
    valued: int
    repeated: bool

    def __str__(self) -> str:
        """As PS3.2 abbreviates it, and ``1-n`` of what may stand several times in one place."""
        absent = "ANAP" if self.present < self.places else ""
        empty = "EMPTY" if self.valued == 0 else "VNAP" if self.valued < self.present else ""
        always = "" if absent or empty else "ALWAYS"
        return ", ".join(filter(None, (always, absent, empty, "1-n" if self.repeated else "")))


class Observations:
    """What stands where in one form, over every scene and every change of it."""

    def __init__(self) -> None:
        self._values: dict[tuple[Scene, Factor | None], dict[Path, list[str]]] = {}
        self._counts: dict[Path, list[dict[Path, list[str]]]] = {}
        self._scenes: dict[Path, set[Scene]] = {}
        self._order: dict[Path, None] = {}

    def see(self, scene: Scene, changed: Factor | None, place: Path, found: Iterable[tuple[Path, str]]) -> None:
        """Note one place, and the paths and values of what stands in it."""
        values = self._values.setdefault((scene, changed), {})
        here: dict[Path, list[str]] = {}
        for path, value in found:
            here.setdefault(path, []).append(value)
            values.setdefault(path, []).append(value)
        if changed is None:
            self._order |= dict.fromkeys(here)
            self._counts.setdefault(place, []).append(here)
            self._scenes.setdefault(place, set()).add(scene)

    def __iter__(self) -> Iterator[Path]:
        """Every path of a scene as it is, in the order in which it was first seen."""
        return iter(self._order)

    def values(self, path: Path) -> Sequence[str]:
        """Return each value that stands at a path in a scene as it is, once."""
        return tuple(
            dict.fromkeys(
                value
                for (_, changed), found in self._values.items()
                if changed is None
                for value in found.get(path, ())
                if value
            )
        )

    def factors(self, path: Path) -> frozenset[Factor]:
        """Return what changes the values of a path, in any scene; whether it is there at all, `presence` tells."""
        return frozenset(
            changed
            for (scene, changed), found in self._values.items()
            if changed is not None
            and path in found
            and path in (before := self._values.get((scene, None), {}))
            and found[path] != before[path]
        )

    def presence(self, path: Path) -> Presence:
        """Return how often a path is there among the places where it might be."""
        places = [here.get(path, []) for here in self._counts[path[:-1]]]
        return Presence(
            places=len(places),
            present=sum(map(bool, places)),
            valued=sum(map(any, places)),
            repeated=any(len(values) > 1 for values in places),
        )

    def condition(self, path: Path) -> str:
        """Say of which results a path is there with a value; empty: of all that have its place, or of none."""
        holds = {
            scene for (scene, changed), found in self._values.items() if changed is None and any(found.get(path, ()))
        }
        return condition_of(holds, self._scenes[path[:-1]]) if holds else ""

    def is_found_in(self, path: Path, others: "Observations") -> bool:
        """Tell whether each value at a path is one that others have there, whatever was changed."""
        return all(
            set(found.get(path, ())) - {""} <= set(others._values[key].get(path, ()))
            for key, found in self._values.items()
        )


def condition_of(scenes: Iterable[Scene], among: Iterable[Scene]) -> str:
    """Say in words of which scenes something holds, among those of which it might.

    Raises
    ------
    LookupError
        No words are known for just these.
    """
    holds, possible = set(scenes), set(among)
    known: dict[str, set[Scene]] = {}
    for (kinds, of), (when, circumstance) in product(_KINDS.items(), _CIRCUMSTANCES.items()):
        words = ", ".join(filter(None, (kinds, when)))
        found = {scene for scene in possible if scene.kind in of and circumstance(scene)}
        if found == holds:
            return words
        if found and found < holds:
            known[words] = found
    either = [pair for pair in combinations(known, 2) if known[pair[0]] | known[pair[1]] == holds]
    if not either:
        raise LookupError(f"no words for scenes {[place for place, scene in enumerate(SCENES) if scene in holds]}")
    first, second = min(either, key=lambda pair: len(pair[0] + pair[1]))
    return f"{first}; or {second}"


def as_code(item: Dataset) -> Code | None:
    """Return what a code sequence's item says, if it is one."""
    keywords = {element.keyword for element in item}
    if "CodeMeaning" not in keywords or not keywords <= _CODE_KEYWORDS:
        return None
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue")
    return Code(str(value), str(item.get("CodingSchemeDesignator", "")), str(item.CodeMeaning))


def show_code(code: Code) -> str:
    """Return a code as the standard prints it."""
    return f'({code.value}, {code.scheme_designator}, "{code.meaning}")'


def shown_values(values: Sequence[str]) -> str:
    """Return fixed values as a table shows them."""
    shown = "; ".join(values)
    if len(values) > _MOST:
        return "one of several, by outcome or form"
    return shown if len(shown) <= _LONGEST else "a fixed text"


def made_of(factors: Iterable[Factor]) -> str:
    """Return what a value is made of as a table shows it."""
    return "of " + ", ".join(factor for factor in Factor if factor in factors)
