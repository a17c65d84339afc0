"""``KEY=VALUE``: values set in a config by dotted path, by the rules of the file itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regrun.config.diagnostics import Diagnostic, Span, config_error
from regrun.config.schema_tree import (
    MISSING,
    AnyOf,
    Anything,
    Choice,
    DictNode,
    ListNode,
    Node,
    Scalar,
    SectionNode,
    fields,
    root,
)
from regrun.config.validate import show
from regrun.config.yaml_nodes import MAX_DEPTH, compose
from regrun.errors import ConfigError, KeyPath, Problem

_GRID = "sweep.grid."
_KEY = re.compile(r"[^\s=.]+(\.[^\s=.]+)*")
_PART = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'|.', re.DOTALL)


@dataclass(frozen=True)
class Assignment:
    """A value set from outside the file: by an override, or by an axis of a sweep."""

    origin: str
    """How messages name it: ``override 2: optimizer.lr=0.1``."""
    short: str
    """``override 2``."""
    key: str
    value: Any
    number: int = 0
    """The override's number, from 1; 0 for an axis."""
    span: Span | None = None
    """Where the file holds it, for an axis of its own sweep."""

    def as_axis(self) -> Assignment:
        """The same values as an axis of the sweep's grid."""
        return replace(self, key=_GRID + self.key)

    @property
    def is_axis(self) -> bool:
        """Whether it sets an axis of the sweep's grid."""
        return self.key.startswith(_GRID)

    def error(self, message: str) -> ConfigError:
        """The value cannot be set."""
        problem = Problem((), message)
        return config_error([Diagnostic(problem, self.span, self.origin, number=self.number)])


def parse_overrides(
    texts: Sequence[str], *, axes: bool = False
) -> tuple[list[Assignment], list[Diagnostic]]:
    """Every override, and what is wrong with those that cannot be read; see `parse_override`."""
    assignments: list[Assignment] = []
    diagnostics: list[Diagnostic] = []
    for number, text in enumerate(texts, start=1):
        try:
            parsed = parse_override(text, number, axes=axes)
            if parsed.is_axis and any(parsed.key == each.key for each in assignments):
                axis = parsed.key.removeprefix(_GRID)
                raise parsed.error(f"{axis} is an axis already")
            assignments.append(parsed)
        except ConfigError as error:
            diagnostics += error.diagnostics
    return assignments, diagnostics


def parse_override(text: str, number: int, *, axes: bool = False) -> Assignment:
    """``optimizer.lr=0.1``, the ``number``-th override, from 1.

    With ``axes``, ``KEY=V1,V2`` with commas outside of brackets and quotes sets the axis
    `sweep.grid.KEY`: ``model.dropout=[0,0],[0.2,0.5]`` has two values, ``model.dropout=[0.2,0.5]``
    is an ordinary override. Raises ConfigError.
    """
    short = f"override {number}"
    origin = f"{short}: {''.join(c if c.isprintable() else ' ' for c in text[:100])}"
    key, equals, value = text.partition("=")
    key = key.strip()
    unread = Assignment(origin, short, key, None, number)
    if not equals:
        raise unread.error("not of the form KEY=VALUE")
    if not _KEY.fullmatch(key):
        raise unread.error(f"{key[:60]!r} is not a dotted key")
    values = _split(value) if axes else []
    try:
        if len(values) < 2:
            return replace(unread, value=compose(value).data)
        if "" in values:
            raise unread.error("an empty value between commas; write null for none")
        return replace(unread, value=[compose(each).data for each in values]).as_axis()
    except ConfigError as error:
        raise unread.error(error.problems[0].message) from None


def _split(text: str) -> list[str]:
    """Comma-separated values; commas in brackets and quotes do not separate."""
    values, depth = [""], 0
    for part in _PART.findall(text):
        depth += (part in "[{") - (part in "]}")
        if part == "," and depth == 0:
            values.append("")
        else:
            values[-1] += part
    return [value.strip() for value in values]


def assign(tree: Mapping[str, Any], assignment: Assignment) -> tuple[dict[str, Any], KeyPath]:
    """A copy of the tree with the value set, and its path there; what it does not touch is shared.

    Sections on the way are made where they are missing; a shorthand becomes the section it stands
    for. Unknown keys are set too, and left to validation. Raises ConfigError if the way is blocked
    by a value that has no keys.
    """
    parts = assignment.key.split(".")
    path: list[str | int] = []
    try:
        if len(parts) > MAX_DEPTH:
            raise _Blocked(f"nested more than {MAX_DEPTH} deep")
        return _set(tree, root(), parts, assignment.value, path), tuple(path)
    except _Blocked as blocked:
        raise assignment.error(str(blocked)) from None


class _Blocked(Exception):  # noqa: N818 - private
    pass


def _set(raw: Any, node: Node | None, parts: Sequence[str], value: Any, path: list[Any]) -> Any:
    if not parts:
        return value
    if isinstance(node, AnyOf):
        node = node.list_or_self()
    if isinstance(node, ListNode):
        if isinstance(node.item, SectionNode):
            return _set_in_sections(raw, node, parts, value, path)
        return _set_in_list(raw, node, parts, value, path)
    if isinstance(node, Scalar | Choice | AnyOf | Anything):
        raise _Blocked(f"{_dotted(path)} has no keys")
    if isinstance(node, DictNode):
        parts = [".".join(parts)]
    section = _opened(raw, node, path)
    head = parts[0]
    path.append(head)
    inner = _inner(node, section, head)
    section[head] = _set(section.get(head, MISSING), inner, parts[1:], value, path)
    return section


def _set_in_sections(
    raw: Any, node: ListNode, parts: Sequence[str], value: Any, path: list[Any]
) -> Any:
    """None, one or many: a section given alone is reached with and without an index."""
    here = _dotted(path)
    indexed = parts[0].isdecimal()
    if not isinstance(raw, list) or not raw:
        if indexed and parts[0] != "0":
            raise _Blocked(f"{here} has no entry {parts[0]}; it is not a list")
        alone = MISSING if raw in (None, "none", []) else raw
        return _set(alone, node.item, parts[1:] if indexed else parts, value, path)
    if indexed or len(raw) > 1:
        if not indexed:
            last = len(raw) - 1
            rest = ".".join(parts)
            raise _Blocked(
                f"{here} is a list of {len(raw)}; write {here}.0.{rest} to {here}.{last}.{rest}"
            )
        return _set_in_list(raw, node, parts, value, path)
    return _set_in_list(raw, node, ["0", *parts], value, path)


def _set_in_list(
    raw: Any, node: ListNode, parts: Sequence[str], value: Any, path: list[Any]
) -> Any:
    here, head = _dotted(path), parts[0]
    if not isinstance(raw, list):
        shown = "not given" if raw is MISSING else f"{show(raw)}, not a list"
        raise _Blocked(f"{here} is {shown}; give the whole list")
    if not head.isdecimal() or int(head[:9]) >= len(raw):
        raise _Blocked(f"{here} has no entry {head}; it is a list of {len(raw)}, counted from 0")
    index = int(head)
    path.append(index)
    changed = list(raw)
    changed[index] = _set(raw[index], node.item, parts[1:], value, path)
    return changed


def _opened(raw: Any, node: Node | None, path: Sequence[Any]) -> dict[str, Any]:
    """A copy of the section to set a key in; new if there is none."""
    if isinstance(raw, Mapping):
        return dict(raw)
    if raw is MISSING or raw is None:
        return {}
    if isinstance(node, SectionNode) and node.shorthand and isinstance(raw, str):
        return {str(node.tag): raw}
    raise _Blocked(f"{_dotted(path)} is {show(raw)}, not a section")


def _inner(node: Node | None, section: Mapping[str, Any], key: str) -> Node | None:
    if isinstance(node, DictNode):
        return node.value
    if isinstance(node, SectionNode):
        kinds = [node.kind(section), *node.distinct()]
        return next((fields(kind)[key] for kind in kinds if kind and key in fields(kind)), None)
    return None


def _dotted(path: Sequence[Any]) -> str:
    return ".".join(map(str, path))
