"""A kind is known to its own module alone: no other file names it or asks for its class."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from regrun.kinds.base import Section, tag_of
from regrun.kinds.registry import BUILT_IN
from tests.architecture.source import FILES, PACKAGE, module_of, tree_of

CLASSES: dict[str, type[Section]] = {
    kind.__name__: kind for family in BUILT_IN.values() for kind in family
}
HOMES: dict[str, set[str]] = {}
"""Literal name of a kind → the modules of its classes."""
for _kind in CLASSES.values():
    for _name in get_args(_kind.model_fields[tag_of(_kind)].annotation):
        HOMES.setdefault(_name, set()).add(_kind.__module__)

REGISTRY = "regrun.kinds.registry"
PAPERS = "regrun.studies.reproductions"
"""Reproductions are experiments with given kinds, as configs are."""

OTHER_MEANINGS = {"step", "linear", "l1", "l2", "mse"}
"""Also the count of steps, a scale, two norms and a score, as columns of metrics and keys of
summaries."""

MAY_NAME: dict[str, set[str]] = {
    "regrun.execution.first_config": {"mlp", "cnn", "adam"},  # the experiment that it writes
    "regrun.studies.path": {"constant", "fista"},  # the solver of a path and its schedule
}
"""Module → the kinds that it may name, each for a reason."""


def named(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of the kinds that a file names as strings, or whose classes it imports."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Constant) and node.value in HOMES.keys() - OTHER_MEANINGS:
            yield node.lineno, str(node.value)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name in CLASSES and is_within(home(alias.name), node.module or ""):
                    yield node.lineno, alias.name


def home(class_name: str) -> str:
    """The module that declares a kind's class."""
    return CLASSES[class_name].__module__


def is_within(module: str, package: str) -> bool:
    """Whether a module is the package or lies in it."""
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_kind_is_named_in_its_own_module_alone(path: Path) -> None:
    module = module_of(path)
    if module == REGISTRY or module.startswith(PAPERS):
        return
    allowed = MAY_NAME.get(module, set())
    found = [(line, name) for line, name in named(path) if name not in allowed]
    for line, name in found:
        homes = HOMES[name] if name in HOMES else {home(name)}
        assert any(is_within(each, module) for each in homes), f"{path}:{line}: {name}"


def test_the_names_come_from_the_registry() -> None:
    assert {"elastic_net", "adam", "cosine", "mlp", "mnist", "max_norm"} <= HOMES.keys()
    assert HOMES["elastic_net"] == {CLASSES["ElasticNet"].__module__}


def test_every_exception_is_still_needed() -> None:
    found = {module_of(path): {name for _, name in named(path)} for path in FILES}
    for module, kinds in MAY_NAME.items():
        assert kinds <= found[module]
