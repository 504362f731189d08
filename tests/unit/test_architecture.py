"""Imports point one way, modules stay small, and a listener starts without what only a worker needs."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("app_package", "pneumo_monai", "training")
FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
}
TREES = {module: ast.parse(file.read_text(encoding="utf-8")) for module, file in FILES.items()}
INSIDE = [module for module in FILES if module.startswith("pneumo_monai.")]


def imported(module: str) -> Iterator[str]:
    """Yield everything a module imports, at its top or inside its functions: ``a.b`` and ``a.b.name``."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(module: str) -> set[str]:
    """Return the modules of this repository that a module imports; a package counts where its own names are meant."""
    names = set(imported(module)) & FILES.keys()
    # `from pneumo_monai.report import codes` runs the package's file, which is empty, and means the module.
    return {name for name in names if not any(other.startswith(f"{name}.") for other in names)} - {module}


def documented_order() -> list[str]:
    """Return the modules of docs/architecture.md from top to bottom."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split("| module | duty |", 1)[1].split("\n\n", 1)[0]
    return [f"pneumo_monai.{name}" for name in re.findall(r"^\| `([a-z0-9_.]+)` \|", table, re.MULTILINE)]


def test_the_map_of_modules_is_complete():
    assert sorted(documented_order()) == sorted(INSIDE)


@pytest.mark.parametrize("module", INSIDE)
def test_a_module_imports_only_what_stands_below_it(module: str):
    order = documented_order()
    inside = {name for name in ours(module) if name != "pneumo_monai"}
    above = {name for name in inside if order.index(name) < order.index(module)}
    assert not above


def test_the_package_knows_neither_training_nor_the_application():
    outside = {name: ours(name) for name in FILES if name.split(".")[0] == "pneumo_monai"}
    assert not {name for name, names in outside.items() if any(n.split(".")[0] != "pneumo_monai" for n in names)}


@pytest.mark.parametrize("package", ["app_package", "training"])
def test_the_ends_know_themselves_and_the_package(package: str):
    names = {name for module in FILES if module.split(".")[0] == package for name in ours(module)}
    assert {name.split(".")[0] for name in names} <= {package, "pneumo_monai"}


@pytest.mark.parametrize("module", ["errors", "findings", "geometry", "uids"])
def test_the_foundations_stand_on_nothing_of_ours(module: str):
    assert ours(f"pneumo_monai.{module}") <= {"pneumo_monai.errors", "pneumo_monai.geometry"}


def test_only_the_ledger_and_its_workflows_know_dbos():
    assert [module for module in FILES if "dbos" in {name.split(".")[0] for name in imported(module)}] == [
        "pneumo_monai.cleaning",
        "pneumo_monai.committing",
        "pneumo_monai.delivering",
        "pneumo_monai.ledger",
    ]


@pytest.mark.parametrize("module", ["torchvision", "pytorch_lightning", "torchmetrics", "tensorboard"])
def test_only_training_needs_what_only_training_installs(module: str):
    users = {name.split(".")[0] for name in FILES if module in {n.split(".")[0] for n in imported(name)}}
    assert users <= {"training"}


def test_only_the_pictures_of_an_evaluation_know_matplotlib():
    users = [module for module in INSIDE if "matplotlib" in {name.split(".")[0] for name in imported(module)}]
    assert users == ["pneumo_monai.evaluation.plots"]


def test_only_the_page_of_a_result_knows_reportlab():
    users = [module for module in INSIDE if "reportlab" in {name.split(".")[0] for name in imported(module)}]
    assert users == ["pneumo_monai.report.page"]


def test_what_listens_works_or_serves_knows_no_evaluation():
    users = {module for module in INSIDE if any("pneumo_monai.evaluation" in name for name in imported(module))}
    assert {name for name in users if not name.startswith("pneumo_monai.evaluation")} <= {"pneumo_monai.cli"}


def test_a_listener_starts_without_what_only_a_worker_needs():
    heavy = (
        "torch",
        "torchvision",
        "monai",
        "holoscan",
        "highdicom",
        "starlette",
        "uvicorn",
        "matplotlib",
        "reportlab",
    )
    program = (
        "import sys, pneumo_monai.cli, pneumo_monai.listener, pneumo_monai.ledger, pneumo_monai.settings\n"
        f"print(sorted(set({heavy!r}) & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


@pytest.mark.parametrize("module", FILES)
def test_a_module_is_one_room(module: str):
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= 350


def bound(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module binds at its top level."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name for alias in names)
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def is_script(tree: ast.Module) -> bool:
    """Tell whether a module is run and not imported: ``__main__``, or a command of `training`."""
    return any(isinstance(node, ast.If) and "__name__" in ast.dump(node.test) for node in tree.body)


@pytest.mark.parametrize("module", FILES)
def test_a_module_says_what_it_offers(module: str):
    tree = TREES[module]
    names = list(bound(tree))
    if module.endswith("__main__") or is_script(tree) or not names:
        return
    assert "__all__" in names
    exported = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert exported == sorted(set(exported), key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert set(exported) <= set(names)
    assert not [name for name in exported if name.startswith("_") and not name.startswith("__")]


@pytest.mark.parametrize("module", FILES)
def test_a_module_begins_with_what_it_is_for(module: str):
    assert ast.get_docstring(TREES[module])
