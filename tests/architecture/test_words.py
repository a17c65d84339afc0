"""The words that this project has given up do not come back: in prose, in messages, in names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import FILES, PAGES, ROOT, docstrings, prose, tree_of

GIVEN_UP = re.compile(r"(?<![A-Za-z])(told|tells?|beside)(?![A-Za-z])", re.IGNORECASE)
"""Words for which plain English has better ones: says, reports, next to, besides."""

TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))


def faults(path: Path) -> Iterator[str]:
    """Places with words that were given up."""
    for line, text in prose(path):
        if GIVEN_UP.search(text):
            yield f"{path}:{line}: {text}"
    for line, text in docstrings(path):
        if text.startswith("Of "):
            yield f"{path}:{line}: {text}"
    for name in names(path) - {"tell"}:  # Optuna's word for handing results over
        if GIVEN_UP.search(name):
            yield f"{path}: {name}"


def names(path: Path) -> set[str]:
    """Every name that a file defines: functions, classes, arguments, variables."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_the_words_are_those_of_the_field(path: Path) -> None:
    """Docstrings do not open with "Of" either, as in "Of a config the keys"."""
    assert list(faults(path)) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_words_of_pages_are_those_of_the_field(path: Path) -> None:
    assert [line for line in path.read_text("utf-8").splitlines() if GIVEN_UP.search(line)] == []
