"""Docstrings of the keys of a section, read from the source when they are shown.

pydantic's `use_attribute_docstrings` gives the same texts, but reads the source of every class when
the class is made. That took a third of the start of every command.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise

from pydantic import BaseModel


def description(section: type[BaseModel], key: str) -> str:
    """What a key says of itself: its `Field(description=…)`, else the string below it, else ""."""
    given = section.model_fields[key].description
    if given is not None:
        return given
    documented = (_docstrings(each.__module__).get(each.__qualname__, {}) for each in section.mro())
    return next((texts[key] for texts in documented if key in texts), "")


@functools.cache
def _docstrings(module: str) -> Mapping[str, Mapping[str, str]]:
    """Qualified name of each class → the docstring, or "", of each attribute that it annotates."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError):  # a module without source
        return {}
    return dict(_classes(tree, ""))


def _classes(node: ast.AST, scope: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield scope + child.name, dict(_documented(child))
            yield from _classes(child, f"{scope}{child.name}.")
        elif isinstance(child, ast.FunctionDef):
            yield from _classes(child, f"{scope}{child.name}.<locals>.")


def _documented(section: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, following in pairwise([*section.body, ast.Pass()]):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            match following:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.target.id, inspect.cleandoc(text)
                case _:
                    yield statement.target.id, ""
