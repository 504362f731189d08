"""The documentation says what the code does: each setting, reason, status, command and dependency has its line."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pneumo_monai import statuses
from pneumo_monai.cli import app
from pneumo_monai.errors import Reason
from pneumo_monai.processes import EX_CONFIG
from pneumo_monai.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
README, ARCHITECTURE, SETTINGS, INSTALL = (
    (ROOT / page).read_text(encoding="utf-8")
    for page in ("README.md", "docs/architecture.md", "docs/settings.md", "docs/install.md")
)
NOTICE = re.compile(r"research use only[.;] not a medical device", re.IGNORECASE)


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column is called `heading`, marks of code taken off."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {heading} |"):
            next(lines)
            break
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip().removeprefix("`").removesuffix("`") for cell in line.strip("|").split(" | ")])
    assert found, heading
    return found


def settings_keys(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield key, default and variable of the environment of each setting below a model."""
    for name, field in model.model_fields.items():
        key = f"{path}{name}"
        inner = [part for part in (field.annotation, *get_args(field.annotation)) if isinstance(part, type)]
        section = next((part for part in inner if issubclass(part, BaseModel)), None)
        if section is not None and field.annotation is section:
            yield from settings_keys(section, f"{key}.")
            continue
        yield key, _default(field.default), _variable(key)
        if section is not None:
            yield from settings_keys(section, f"{key}[]." if get_origin(field.annotation) is tuple else f"{key}.")


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "must be set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and value:
        return f"[{', '.join(map(_default, value))}]"
    return {None: "null", (): "none"}.get(value, str(value))


def _variable(key: str) -> str:
    holder, is_item, _ = key.partition("[]")
    if is_item:
        return f"in `{_variable(holder)}"
    return "PNEUMO_MONAI_" + key.replace(".", "__").upper()


def dependencies() -> list[tuple[str, str]]:
    """Return every requirement of pyproject.toml with where it belongs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"runtime": project["dependencies"], **project["optional-dependencies"]}
    return [(re.split(r"[\[<>=~!; ]", line)[0], group) for group, lines in groups.items() for line in lines]


def test_every_setting_has_its_row_and_every_row_is_a_setting():
    documented = [tuple(row[:3]) for row in rows(SETTINGS, "key")]
    assert documented == list(settings_keys(Settings))


def test_every_setting_says_what_it_means():
    assert all(len(row) == 4 and row[3].endswith(".") for row in rows(SETTINGS, "key"))


def test_every_reason_says_what_it_means_and_what_to_do():
    documented = rows(README, "reason")
    assert [row[0] for row in documented] == [reason.value for reason in Reason]
    assert all(len(row) == 3 and all(row) for row in documented)


def test_every_status_of_c_store_says_when_it_is_answered():
    codes = {name: value for name, value in vars(statuses).items() if name.isupper()}
    assert {row[1]: row[0] for row in rows(INSTALL, "status")} == {
        name: f"0x{code:04X}" for name, code in codes.items()
    }


def test_every_command_is_mentioned():
    text = "\n".join((README, ARCHITECTURE, INSTALL))
    commands = set(typer.main.get_command(app).commands)
    # The demo is started by make, which names it.
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    missing = {name for name in commands if f"pneumo-monai {name}" not in text + makefile}
    assert not missing
    assert set(re.findall(r"(?:^|bin/|`)pneumo-monai ([a-z]+)", text, re.MULTILINE)) <= commands


def test_every_dependency_says_what_it_is_for_on_one_line():
    documented = rows(ARCHITECTURE, "package")
    assert sorted((row[0], row[1]) for row in documented) == sorted(dependencies())
    assert all(row[2].endswith(".") for row in documented)
    assert not [name for name, count in Counter(row[0] for row in documented).items() if count > 1]


@pytest.mark.parametrize("text", [README, INSTALL], ids=["README", "install"])
def test_nobody_takes_it_for_a_medical_device(text: str):
    assert NOTICE.search(text[:1500])


def test_the_readme_names_its_two_commands_and_their_price():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in ("make demo", "make test", "make demo INPUT="):
        assert command in README
    for figure in ("about 3 GB to download", "6.5 GB on disk"):
        assert figure in README
        assert figure in makefile
    assert "1.9 GB" in INSTALL
    assert "1.9 GB" in makefile


def test_the_readme_attributes_the_data_and_names_the_licence():
    assert "RSNA Pneumonia Detection Challenge (2018)" in README
    assert "NIH Clinical Center ChestX-ray14" in README
    assert "Apache-2.0" in README


def test_the_units_of_systemd_do_not_retry_a_wrong_configuration_and_are_told_of():
    units = list((ROOT / "deploy" / "systemd").glob("*.service"))
    assert len(units) == 3
    for unit in units:
        assert f"RestartPreventExitStatus={EX_CONFIG}" in unit.read_text(encoding="utf-8")
        assert unit.name in INSTALL
    assert f"status {EX_CONFIG}" in INSTALL


def test_the_changelog_knows_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target
