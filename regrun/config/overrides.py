"""``KEY=VALUE``: values set in a config by dotted path, by the rules of the file itself."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regrun.config.diagnostics import Diagnostic, Span, config_error, printable
from regrun.config.ranges import expand_range, foreign_axis
from regrun.config.schema_tree import (
    MISSING,
    AnyOf,
    DictNode,
    ListNode,
    Node,
    SectionNode,
    fields,
    root,
    trace,
)
from regrun.config.validate import show
from regrun.config.yaml_nodes import MAX_DEPTH, compose
from regrun.errors import ConfigError, KeyPath, Problem, dotted

_GRID = "sweep.grid."
_KEY = re.compile(r"[^\s=.]+(\.[^\s=.]+)*")
_MARK = re.compile(r"[!#%&*,.:;<=>?@|/$^+-]")
"""A single sign, such as a separator: in YAML it begins something that does not follow."""
_PART = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'|.', re.DOTALL)


@dataclass(frozen=True)
class Assignment:
    """A value set from outside the file: by an override, or by an axis of a sweep."""

    text: str
    """As messages show it: ``optimizer.lr=0.1``."""
    key: str
    value: Any
    number: int = 0
    """The override's number, from 1; 0 for an axis."""
    span: Span | None = None
    """Where the file holds it, for an axis of its own sweep."""
    appends: bool = False
    """Whether the value is added to a list (``penalty+=…``)."""

    @property
    def origin(self) -> str:
        """``override 2: optimizer.lr=0.1``."""
        return f"override {self.number}: {self.text}" if self.number else self.text

    def as_axis(self) -> Assignment:
        """The same values as an axis of the sweep's grid."""
        return replace(self, key=_GRID + self.key)

    def error(self, message: str) -> ConfigError:
        """The value cannot be set."""
        where = Diagnostic(Problem((), message), self.span, self.origin, number=self.number)
        return config_error([where])


def parse_overrides(
    texts: Sequence[str], *, axes: bool = False
) -> tuple[list[Assignment], list[Diagnostic]]:
    """Every override, and what is wrong with those that cannot be read; see `parse_override`."""
    assignments: list[Assignment] = []
    diagnostics: list[Diagnostic] = []
    for number, words in _words_of_each(texts):
        text = words[0]
        try:
            if len(words) > 1:
                raise _torn(words, number)
            parsed = parse_override(text, number, axes=axes)
            axis = parsed.key.removeprefix(_GRID)
            if axis != parsed.key and parsed.key in [each.key for each in assignments]:
                raise parsed.error(f"{axis} is an axis already")
            assignments.append(parsed)
        except ConfigError as error:
            diagnostics += error.diagnostics
    return assignments, diagnostics


def _words_of_each(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Number and words of each override; of several words where a shell tore it apart.

    That is at spaces around the sign, and at spaces in brackets that no quotes protect.
    """
    at = 0
    while at < len(texts):
        ends = range(at + 2, len(texts) + 1)
        whole = next((end for end in ends if _is_whole(texts[at:end])), at + 1)
        yield at + 1, list(texts[at:whole])
        at = whole


def _is_whole(words: Sequence[str]) -> bool:
    """Whether these words, no fewer, are one override."""
    first, *others, last = words
    if "=" in first and not first.endswith("="):  # torn at spaces in brackets
        return not any("=" in word for word in words[1:]) and (
            _depth(words[:-1]) > 0 and _depth(words) == 0
        )
    if "=" in first:
        return not others and "=" not in last
    if others:
        return others == ["="] and "=" not in last
    return last.startswith("=") and last != "="


def _depth(words: Sequence[str]) -> int:
    """How many brackets are open after these words."""
    text = "".join(words)
    return sum(text.count(each) for each in "[{") - sum(text.count(each) for each in "]}")


def _torn(words: Sequence[str], number: int) -> ConfigError:
    """The error for one override that arrived as several words."""
    key = words[0].partition("=")[0]
    joined = re.sub(r"^([^=]*?)\s*=\s*", r"\1=", " ".join(words))
    shown = Assignment(printable(" ".join(words)[:100]), key, None, number)
    return shown.error(f"several words; write {shlex.quote(printable(joined[:200]))}")


def parse_override(text: str, number: int, *, axes: bool = False) -> Assignment:
    """``optimizer.lr=0.1``, the ``number``-th override, from 1. Raises ConfigError.

    With ``axes``, values with commas between them set the axis `sweep.grid.KEY`: two values in
    ``model.dropout=[0,0],[0.2,0.5]``; ``model.dropout=[0.2,0.5]`` is an ordinary override.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    unread = Assignment(printable(text[:100]), key, None, number)
    if key.startswith("~"):
        raise unread.error(f"to switch it off, write {key[1:]}=null")
    if not equals:
        raise unread.error("not of the form KEY=VALUE")
    key = key.removeprefix("+").removeprefix("+")  # Hydra's marks for a new key
    appends = key.endswith("+")
    key = key.removesuffix("+")
    unread = replace(unread, key=key, appends=appends)
    if not _KEY.fullmatch(key):
        raise unread.error(f"{key[:60]!r} is not a dotted key")
    known = foreign_axis(key, value)
    if known is not None:
        verb = "" if axes else "several values are for regrun sweep; "
        raise unread.error(f"{verb}write {known}")
    if _MARK.fullmatch(value.strip()):
        return replace(unread, value=value.strip())
    values = _split(value) if axes and not appends else [value]
    if len(values) > 1 and "" in values:
        raise unread.error("an empty value between commas; write null for none")
    try:
        data: list[Any] = []
        for each in values:
            several = expand_range(each) if axes else None
            data += [compose(each).data] if several is None else several
    except ConfigError as error:
        raise unread.error(error.problems[0].message) from None
    except ValueError as error:
        raise unread.error(str(error)) from None
    if len(data) == 1:
        return replace(unread, value=data[0])
    return replace(unread, value=data).as_axis()


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

    Missing sections are made, and a shorthand becomes its section. Unknown keys are left to
    validation. Raises ConfigError if a value on the way has no keys.
    """
    parts = assignment.key.split(".")
    if len(parts) > MAX_DEPTH:
        raise assignment.error(f"nested more than {MAX_DEPTH} deep")
    path: list[str | int] = []
    try:
        value = assignment.value
        if assignment.appends:
            value = [*_entries(tree, parts), value]
        return _set(tree, root(), parts, value, path), tuple(path)
    except ConfigError as blocked:
        raise assignment.error(str(blocked)) from None


def _entries(tree: Mapping[str, Any], parts: Sequence[str]) -> list[Any]:
    """The entries of the list at a path: none, one that stands alone, or several."""
    place = trace(parts, tree)
    if not isinstance(place.node, ListNode):
        raise _blocked(parts, "is no list, so that nothing can be appended")
    raw = place.value
    if raw is MISSING or raw is None or raw in ("none", False) or raw == []:
        return []
    return list(raw) if isinstance(raw, list) else [raw]


def several_values(text: str) -> bool:
    """Whether an override ``KEY=VALUE`` has commas outside of brackets and quotes."""
    return len(_split(text.partition("=")[2])) > 1


def _blocked(path: Sequence[Any], why: str) -> ConfigError:
    return ConfigError([Problem((), f"{dotted(tuple(path))} {why}")])


def _set(raw: Any, node: Node | None, parts: Sequence[str], value: Any, path: list[Any]) -> Any:
    """A copy of ``raw``, which stands at ``path``, with the value set at ``parts`` from there."""
    if not parts:
        return value
    if isinstance(node, AnyOf):
        node = node.list_or_self()
    if isinstance(node, ListNode):
        return _set_in_list(raw, node, parts, value, path)
    if not isinstance(node, DictNode | SectionNode | None):
        raise _blocked(path, "has no keys")
    if isinstance(raw, Mapping):
        section = dict(raw)
    elif raw is MISSING or raw is None:
        section = {}
    elif isinstance(node, SectionNode) and node.shorthand and isinstance(raw, str):
        section = {str(node.tag): raw}
    else:
        raise _blocked(path, f"is {show(raw)}, not a section")
    inner = None
    head, rest = parts[0], parts[1:]
    if isinstance(node, DictNode):
        head, rest, inner = ".".join(parts), (), node.value
    elif isinstance(node, SectionNode):
        kinds = [fields(kind) for kind in (node.kind(section), *node.distinct()) if kind]
        inner = next((keys[head] for keys in kinds if head in keys), None)
    path.append(head)
    section[head] = _set(section.get(head, MISSING), inner, rest, value, path)
    return section


def _set_in_list(
    raw: Any, node: ListNode, parts: Sequence[str], value: Any, path: list[Any]
) -> Any:
    """The same in a list. A section given alone is reached with and without an index."""
    head, rest = parts[0], parts[1:]
    if isinstance(node.item, SectionNode):
        if not head.isdecimal():
            head, rest = "0", parts
            if isinstance(raw, list) and len(raw) > 1:
                first, last = (dotted((*path, at, *parts)) for at in (0, len(raw) - 1))
                raise _blocked(path, f"is a list of {len(raw)}; write {first} to {last}")
        if not isinstance(raw, list) or not raw:
            if head == "1" and not rest and raw not in (MISSING, None, "none", False, []):
                return [raw, value]
            if head != "0":
                raise _blocked(path, f"has no entry {head}; it is not a list")
            alone = MISSING if raw in (None, "none", []) else raw
            return _set(alone, node.item, rest, value, path)
    if not isinstance(raw, list):
        shown = "not set" if raw is MISSING else f"{show(raw)}, not a list"
        raise _blocked(path, f"is {shown}; give the whole list")
    if head == str(len(raw)) and not rest and node.length is None:
        path.append(len(raw))
        return [*raw, value]
    if not head.isdecimal() or int(head[:9]) >= len(raw):
        raise _blocked(path, f"has no entry {head}; it is a list of {len(raw)}, counted from 0")
    index = int(head)
    path.append(index)
    changed = list(raw)
    changed[index] = _set(raw[index], node.item, rest, value, path)
    return changed
