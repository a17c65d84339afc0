"""The house rules that can be read off the source: who imports whom, and what handlers catch."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.source import FILES, PACKAGE, module_of, tree_of

BASE = {
    "errors",
    "seeding",
    "metrics",
    "numbers",
    "histograms",
    "results",
    "suggest",
    "settings",
    "escapes",
    "regular_files",
    "memory",
    "signals",
    "outliving",
    "cores",
    "devices",
}
CONFIG = BASE | {"kinds", "config", "plugins"}
ENGINE = CONFIG | {"nn", "stack", "data"}
TRAINING = ENGINE | {"training", "inspection"}
MAY_IMPORT = {
    **dict.fromkeys(BASE, BASE),
    "plugins": BASE | {"kinds"},
    "nn": BASE,
    "kinds": BASE | {"data", "nn"},
    "config": CONFIG | {"plugins"},
    **dict.fromkeys(("stack", "data"), ENGINE),
    "training": TRAINING,
    "inspection": TRAINING,
    "store": CONFIG,
    "analysis": CONFIG | {"store"},
    "pictures": CONFIG | {"store", "analysis"},
    "execution": TRAINING | {"store", "__init__"},
    "sweeps": TRAINING | {"analysis", "execution", "store"},
    "studies": TRAINING | {"sweeps", "analysis", "pictures", "execution", "store"},
    "guide": BASE,
    "stored": BASE | {"store", "analysis", "pictures", "cli"},
    "api": ENGINE
    | {"studies", "sweeps", "execution", "store", "analysis", "pictures", "cli", "stored"},
    "cli": CONFIG
    | {"studies", "sweeps", "execution", "store", "analysis", "pictures", "guide", "__init__"},
    "__init__": {"api", "stored"},
    "__main__": {"cli", "signals", "outliving"},
}
"""Part of the package → the parts it may import, besides itself."""


OPTIONAL = ("excel", "mlflow", "notebook", "onnx", "ray", "wandb")
"""Extras that one feature each needs; without them it says what to install, or is not asked for."""


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, at any depth; imports for a type checker do not run."""
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree, without the blocks that only a type checker reads."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _running(child)


def imported_parts(source: str) -> set[str]:
    parts = set()
    for name in imported_modules(ast.parse(source)):
        words = name.split(".")
        if words[0] == "regrun":
            known = len(words) > 1 and words[1] in MAY_IMPORT
            parts.add(words[1] if known else "__init__")
    return parts


def test_the_reader_of_imports_sees_every_form() -> None:
    source = (
        "import regrun\ndef f():\n    from regrun.store import reading\n    import regrun.cli.app"
    )
    assert imported_parts(source) == {"__init__", "store", "cli"}
    assert imported_parts("from regrun import errors, __version__") == {"errors", "__init__"}
    assert imported_parts("import torch\nfrom os import path") == set()


def test_every_part_of_the_package_has_its_place() -> None:
    assert {part_of(path) for path in FILES} <= set(MAY_IMPORT)
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    imported = imported_parts(path.read_text(encoding="utf-8")) - {part}
    assert imported <= MAY_IMPORT[part]


def test_every_package_that_is_imported_is_a_declared_dependency() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    optional = [name for extra in OPTIONAL for name in project["optional-dependencies"][extra]]
    names = [*project["dependencies"], *optional]
    declared = {re.split("[><=]", each)[0].lower() for each in names}
    imported = {name.split(".")[0] for path in FILES for name in imported_modules(tree_of(path))}
    brought = {"pydantic_core", "triton"}  # by pydantic, and by builds of torch for GPUs
    outside = imported - sys.stdlib_module_names - {"regrun"} - brought
    given_by = packages_distributions()
    missing = {name for name in outside if not declared & {d.lower() for d in given_by[name]}}
    assert missing == set()


def test_no_modules_import_in_a_circle() -> None:
    names = {module_of(path) for path in FILES}
    edges: dict[str, set[str]] = {}
    for path in FILES:
        name = module_of(path)
        found = set(imported_modules(tree_of(path)))
        edges[name] = {target for item in found for target in (item, item.rpartition(".")[0])}
        edges[name] &= names - {name}
    seen: set[str] = set()
    while free := {name for name in edges if name not in seen and edges[name] <= seen}:
        seen |= free
    assert seen == names, f"a circle among {sorted(names - seen)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_handlers_catch_only_what_they_name(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {getattr(kind, "id", getattr(kind, "attr", None)) for kind in caught}
            if names & {None, "Exception", "BaseException"}:
                last = node.body[-1]
                cleans_up = isinstance(last, ast.Raise) and last.exc is None
                assert cleans_up, f"line {node.lineno} swallows everything"
