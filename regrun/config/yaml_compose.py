"""YAML text → plain data and the place of every key and value.

PyYAML's parser gives the events; its own resolver follows YAML 1.1 (``no`` is a boolean, ``1e-3``
a text, ``12:30`` a number), so scalars are resolved here by the core schema of YAML 1.2 (§10.3.2).
Nothing but text, numbers, booleans, null, lists and mappings can come out, and no text, however
hostile, costs more than `MAX_DEPTH` and `MAX_NODES` allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from regrun.config.report import Finding, Mark
from regrun.errors import Path, Problem

MAX_DEPTH = 50
MAX_NODES = 10_000
"""Keys and values, counted after aliases are expanded."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
# libyaml compares every %TAG line with all earlier ones: 60,000 of them take minutes.
_TAG_DIRECTIVE = re.compile(r"^%TAG\b", re.MULTILINE)
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = re.compile(r"\.(nan|NaN|NAN)")
_CORE = "tag:yaml.org,2002:"
_SCALAR_TAGS: Mapping[str, type] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "null": type(None),
}


@dataclass(frozen=True)
class Document:
    """Plain data and, for every path in it, where its key and its value stand."""

    data: Any
    keys: Mapping[Path, Mark]
    values: Mapping[Path, Mark]
    lines: tuple[str, ...]


class YAMLProblem(Exception):  # noqa: N818 - carries findings that become a ConfigError
    """The text is not YAML that a config may hold."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(findings[0].problem.message)
        self.findings = findings


def compose(text: str) -> Document:
    """Parse one YAML document of any kind. Raises YAMLProblem."""
    return _Composer(text, split_lines(text)).document()


def resolve(text: str) -> Any:
    """A plain scalar by the core schema of YAML 1.2."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float("-inf") if text[0] == "-" else float("inf")
    if _NAN.fullmatch(text):
        return float("nan")
    return text


def check_text(text: str) -> None:
    """Raise YAMLProblem at the first character that YAML does not allow, such as a NUL."""
    found = _UNPRINTABLE.search(text)
    if found:
        at = found.start()
        line = text.count("\n", 0, at)
        column = at - (text.rfind("\n", 0, at) + 1)
        code = f"U+{ord(found.group()):04X}"
        raise problem_at(Mark(line, column, line, column + 1), f"{code}: a control character")


def split_lines(text: str) -> tuple[str, ...]:
    """The lines as libyaml counts them, so that marks fit."""
    return tuple(re.sub("\r\n|[\r\x85\u2028\u2029]", "\n", text).split("\n"))


def problem_at(mark: Mark | None, message: str) -> YAMLProblem:
    """One problem that ends the reading."""
    return YAMLProblem([Finding(Problem((), message), mark)])


@dataclass
class _Node:
    """A scalar, a list or a mapping as parsed; aliases share the children of their anchor."""

    content: Any
    """A scalar, ``list[_Node]``, or ``dict[str, tuple[Mark, _Node]]``."""
    mark: Mark


@dataclass
class _Composer:
    text: str
    lines: tuple[str, ...]
    keys: dict[Path, Mark] = field(default_factory=dict)
    values: dict[Path, Mark] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    _anchors: dict[str, _Node | None] = field(default_factory=dict)
    """None while the anchored value is still open."""
    _nodes: int = 0

    def document(self) -> Document:
        check_text(self.text)
        directive = _TAG_DIRECTIVE.search(self.text)
        if directive:
            line = self.text.count("\n", 0, directive.start())
            raise problem_at(Mark(line, 0, line, 4), "%TAG: tags are not supported")
        try:
            root = self._root(yaml.parse(self.text, Loader=_Loader))
        except yaml.MarkedYAMLError as error:
            raise self._syntax(error) from None
        except yaml.YAMLError as error:
            raise problem_at(None, f"not valid YAML: {error}") from None
        self._nodes = 0
        data = self._unfold(root, ())
        if self.findings:
            raise YAMLProblem(self.findings)
        return Document(data, self.keys, self.values, self.lines)

    def _syntax(self, error: yaml.MarkedYAMLError) -> YAMLProblem:
        at = error.problem_mark or error.context_mark
        if at is None:
            return problem_at(None, f"not valid YAML: {error.problem}")
        line = min(at.line, len(self.lines) - 1)
        column = at.column if line == at.line else len(self.lines[line])
        message = f"not valid YAML: {error.problem}"
        if self.lines[line][column : column + 1] == "\t":
            message = "a tab; YAML is indented with spaces"
        elif error.context and error.context_mark and error.context_mark.line != line:
            message += f" ({error.context} of line {error.context_mark.line + 1})"
        return problem_at(Mark(line, column, line, column + 1), message)

    def _root(self, events: Iterator[Any]) -> _Node:
        root = _Node(None, Mark(0, 0, 0, 1))
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise problem_at(_mark(event), "a second document; a config is one")
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, depth=1)
        return root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> _Node:
        self._count(_mark(event), depth)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = _Node(self._scalar(event), _mark(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, events, depth)
        else:
            node = self._mapping(event, events, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _count(self, mark: Mark, depth: int = 0) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise problem_at(mark, f"the config has more than {MAX_NODES:,} values")
        if depth > MAX_DEPTH:
            raise problem_at(mark, f"nested more than {MAX_DEPTH} deep")

    def _alias(self, event: Any) -> _Node:
        mark = _mark(event)
        if event.anchor not in self._anchors:
            raise problem_at(mark, f"*{event.anchor}: there is no anchor &{event.anchor} above")
        anchored = self._anchors[event.anchor]
        if anchored is None:
            raise problem_at(mark, f"*{event.anchor} stands inside its own anchor")
        return _Node(anchored.content, mark)

    def _sequence(self, start: Any, events: Iterator[Any], depth: int) -> _Node:
        self._check_tag(start, "seq")
        items: list[_Node] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                return _Node(items, _mark(start, event))
            items.append(self._node(event, events, depth + 1))
        raise AssertionError("the parser ended inside a list")

    def _mapping(self, start: Any, events: Iterator[Any], depth: int) -> _Node:
        self._check_tag(start, "map")
        entries: dict[str, tuple[Mark, _Node]] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                return _Node(entries, _mark(start, event))
            key = self._node(event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            if isinstance(event, yaml.AliasEvent) or not isinstance(key.content, str):
                self._refuse(key.mark, f"{self._source(key.mark)}: a key must be a text; quote it")
            elif key.content == "<<" and event.implicit[0]:
                self._refuse(key.mark, "<<: merge keys are not supported; write the keys out")
            elif key.content in entries:
                line = entries[key.content][0].line + 1
                self._refuse(key.mark, f"{key.content}: a second time; the first is on line {line}")
            else:
                entries[key.content] = (key.mark, value)
        raise AssertionError("the parser ended inside a mapping")

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        tag: str | None = event.tag
        try:
            if tag is None or tag == "!":
                value = resolve(text) if event.implicit[0] and tag is None else text
            elif tag.removeprefix(_CORE) in _SCALAR_TAGS and tag.startswith(_CORE):
                value = self._tagged(event, _SCALAR_TAGS[tag.removeprefix(_CORE)])
            else:
                value = None
                self._check_tag(event, None)
        except ValueError:  # Python refuses whole numbers of more than 4,300 digits
            value = None
            self._refuse(_mark(event), f"a number of {len(text):,} digits")
        if isinstance(value, str) and _UNPRINTABLE.search(value):
            self._refuse(_mark(event), "an escaped control character")
        return value

    def _tagged(self, event: Any, kind: type) -> Any:
        value = event.value if kind is str else resolve(event.value)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            shown = self._source(_mark(event))
            self._refuse(_mark(event), f"{shown}: the value does not fit its tag")
        return value

    def _check_tag(self, event: Any, own: str | None) -> None:
        if event.tag in (None, "!") or (own and event.tag == _CORE + own):
            return
        shown = "!!" + event.tag.removeprefix(_CORE) if _CORE in event.tag else event.tag
        self._refuse(_mark(event), f"{shown[:80]}: tags are not supported")

    def _refuse(self, mark: Mark, message: str) -> None:
        """Note a problem that does not keep the rest from being read."""
        self.findings.append(Finding(Problem((), message[:200]), mark))

    def _source(self, mark: Mark) -> str:
        line = self.lines[mark.line]
        end = mark.end_column if mark.end_line == mark.line else len(line)
        return line[mark.column : end].strip()[:60]

    def _unfold(self, node: _Node, path: Path) -> Any:
        """Plain data with aliases expanded: each use is a copy with its own place."""
        self._count(node.mark)
        self.values[path] = node.mark
        if isinstance(node.content, list):
            return [self._unfold(item, (*path, at)) for at, item in enumerate(node.content)]
        if isinstance(node.content, dict):
            data = {}
            for key, (mark, value) in node.content.items():
                self.keys[(*path, key)] = mark
                data[key] = self._unfold(value, (*path, key))
            return data
        return node.content


def _mark(start: Any, end: Any = None) -> Mark:
    first, last = start.start_mark, (end or start).end_mark
    return Mark(first.line, first.column, last.line, last.column)
