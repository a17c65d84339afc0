"""``KEY=VALUE``: setting values in a config by dotted path, by the rules of the file itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regrun.config.outline import (
    MISSING,
    Anything,
    Choice,
    Items,
    OneOf,
    Scalar,
    Sections,
    Shape,
    Table,
    fields,
    root,
)
from regrun.config.report import Finding, Mark
from regrun.config.wording import show
from regrun.config.yaml_compose import YAMLProblem, compose
from regrun.errors import Path, Problem

_KEY = re.compile(r"[^\s=.]+(\.[^\s=.]+)*")


@dataclass(frozen=True)
class Assignment:
    """A value set from outside the file: by an override, or by an axis of a sweep."""

    said_by: str
    """How messages name it: ``override 2: optimizer.lr=0.1``."""
    short: str
    """``override 2``."""
    key: str
    value: Any
    number: int = 0
    """Of the override, from 1."""
    mark: Mark | None = None
    """Where the file holds it, for an axis of its own sweep."""


class AssignmentProblem(Exception):  # noqa: N818 - becomes a finding of a ConfigError
    """An override cannot be read, or there is nothing that it could set."""

    def __init__(self, said_by: str, number: int, message: str) -> None:
        super().__init__(message)
        self.said_by = said_by
        self.number = number

    def finding(self, mark: Mark | None = None) -> Finding:
        """The same as a part of a ConfigError."""
        return Finding(Problem((), str(self)), mark, self.said_by, order=self.number)


def parse_override(text: str, number: int) -> Assignment:
    """``optimizer.lr=0.1``, the ``number``-th override, from 1. Raises AssignmentProblem."""
    short = f"override {number}"
    said_by = f"{short}: {''.join(c if c.isprintable() else ' ' for c in text[:100])}"
    key, equals, value = text.partition("=")
    if not equals:
        raise AssignmentProblem(said_by, number, "not of the form KEY=VALUE")
    if not _KEY.fullmatch(key.strip()):
        raise AssignmentProblem(said_by, number, f"{key[:60]!r} is not a dotted key")
    try:
        return Assignment(said_by, short, key.strip(), compose(value).data, number)
    except YAMLProblem as problem:
        raise AssignmentProblem(said_by, number, str(problem)) from None


def parse_value(text: str) -> Any:
    """A value as an override writes it. Raises ValueError with the reason."""
    try:
        return compose(text).data
    except YAMLProblem as problem:
        raise ValueError(str(problem)) from None


def assign(tree: Mapping[str, Any], assignment: Assignment) -> tuple[dict[str, Any], Path]:
    """A copy of the tree with the value set, and its path there; what it does not touch is shared.

    Sections on the way are made where they are missing; a shorthand becomes the section it stands
    for. Unknown keys are set too: validation words them. Raises AssignmentProblem when the way is
    blocked by a value that has no keys.
    """
    parts = assignment.key.split(".")
    path: list[str | int] = []
    try:
        return _set(tree, root(), parts, assignment.value, path), tuple(path)
    except _Blocked as blocked:
        raise AssignmentProblem(assignment.said_by, assignment.number, str(blocked)) from None


class _Blocked(Exception):  # noqa: N818 - private
    pass


def _set(raw: Any, shape: Shape | None, parts: Sequence[str], value: Any, path: list[Any]) -> Any:
    if not parts:
        return value
    if isinstance(shape, OneOf):
        shape = next((each for each in shape.shapes if isinstance(each, Items)), shape)
    if isinstance(shape, Items):
        if isinstance(shape.item, Sections):
            return _set_in_sections(raw, shape, parts, value, path)
        return _set_in_list(raw, shape, parts, value, path)
    if isinstance(shape, Scalar | Choice | OneOf | Anything):
        raise _Blocked(f"{'.'.join(map(str, path))} has no keys")
    if isinstance(shape, Table):
        parts = [".".join(parts)]
    section = _opened(raw, shape, path)
    head = parts[0]
    path.append(head)
    section[head] = _set(
        section.get(head, MISSING), _inner(shape, section, head), parts[1:], value, path
    )
    return section


def _set_in_sections(
    raw: Any, shape: Items, parts: Sequence[str], value: Any, path: list[Any]
) -> Any:
    """None, one or many: a section given alone is reached with and without an index."""
    here = ".".join(map(str, path))
    indexed = parts[0].isdecimal()
    if not isinstance(raw, list) or not raw:
        if indexed and parts[0] != "0":
            raise _Blocked(f"{here} has no entry {parts[0]}; it is not a list")
        alone = MISSING if raw in (None, "none", []) else raw
        return _set(alone, shape.item, parts[1:] if indexed else parts, value, path)
    if indexed or len(raw) > 1:
        if not indexed:
            last = len(raw) - 1
            rest = ".".join(parts)
            raise _Blocked(
                f"{here} is a list of {len(raw)}; write {here}.0.{rest} to {here}.{last}.{rest}"
            )
        return _set_in_list(raw, shape, parts, value, path)
    return _set_in_list(raw, shape, ["0", *parts], value, path)


def _set_in_list(raw: Any, shape: Items, parts: Sequence[str], value: Any, path: list[Any]) -> Any:
    here, head = ".".join(map(str, path)), parts[0]
    if not isinstance(raw, list):
        shown = "not given" if raw is MISSING else f"{show(raw)}, not a list"
        raise _Blocked(f"{here} is {shown}; give the whole list")
    if not head.isdecimal() or int(head[:9]) >= len(raw):
        raise _Blocked(f"{here} has no entry {head}; it is a list of {len(raw)}, counted from 0")
    index = int(head)
    path.append(index)
    changed = list(raw)
    changed[index] = _set(raw[index], shape.item, parts[1:], value, path)
    return changed


def _opened(raw: Any, shape: Shape | None, path: Sequence[Any]) -> dict[str, Any]:
    """A copy of the section to set a key in; new where there is none."""
    if isinstance(raw, Mapping):
        return dict(raw)
    if raw is MISSING or raw is None:
        return {}
    if isinstance(shape, Sections) and shape.shorthand and isinstance(raw, str):
        return {str(shape.tag): raw}
    raise _Blocked(f"{'.'.join(map(str, path))} is {show(raw)}, not a section")


def _inner(shape: Shape | None, section: Mapping[str, Any], key: str) -> Shape | None:
    if isinstance(shape, Table):
        return shape.value
    if isinstance(shape, Sections):
        kinds = [shape.kind(section), *shape.distinct()]
        return next((fields(kind)[key] for kind in kinds if kind and key in fields(kind)), None)
    return None
