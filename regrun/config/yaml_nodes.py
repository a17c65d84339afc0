"""YAML text → plain data, and the span of every key and value.

PyYAML composes the nodes, libyaml parses. Plain scalars follow the core schema of YAML 1.2
(§10.3.2) instead of PyYAML's YAML 1.1, in which ``no`` is a boolean, ``1e-3`` a string and
``12:30`` a number. The result holds strings, numbers, booleans, null, lists and mappings only, and
no text, however hostile, costs more than the limits below allow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from regrun.config.diagnostics import Diagnostic, Span, config_error
from regrun.errors import ConfigError, KeyPath, Problem, UsageError
from regrun.regular_files import open_file_or_stream
from regrun.suggest import did_you_mean

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_NODES = 10_000
"""Keys and values, counted after aliases are expanded."""

_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
# libyaml compares every %TAG line with all earlier ones: 60,000 of them take minutes.
_TAG_DIRECTIVE = re.compile(r"^%TAG\b", re.MULTILINE)

_CORE = "tag:yaml.org,2002:"
_STR = f"{_CORE}str"
_MERGE = f"{_CORE}merge"
_CORE_SCHEMA: Mapping[str, re.Pattern[str]] = {
    f"{_CORE}null": re.compile(r"(null|Null|NULL|~|)\Z"),
    f"{_CORE}bool": re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"),
    f"{_CORE}int": re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
    f"{_CORE}float": re.compile(
        r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)"
        r"|\.(nan|NaN|NAN))\Z"
    ),
    _MERGE: re.compile(r"<<\Z"),  # not of the core schema: recognised in order to refuse it
}
"""Tag → the plain scalars that have it, the first match counts; all others are strings."""


_VALUES: Mapping[str, Callable[[str], Any]] = {
    f"{_CORE}null": lambda text: None,
    f"{_CORE}bool": lambda text: text[0] in "tT",
    f"{_CORE}int": lambda text: int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)),
    # Python writes .inf and .nan without a dot.
    f"{_CORE}float": lambda text: float(re.sub(r"\.(?=[a-z])", "", text.lower())),
    _STR: str,
    _MERGE: str,
}


@dataclass(frozen=True)
class Document:
    """Plain data and, for every path in it, the span of its key and of its value."""

    data: Any
    keys: Mapping[KeyPath, Span] = field(default_factory=dict)
    values: Mapping[KeyPath, Span] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    label: str = ""
    """The file as the user named it, empty if there is none."""


def read_config(path: Path | str) -> Document:
    """Read a config file. Raises UsageError if it cannot be read, ConfigError if it is no YAML."""
    return parse_config(_read(Path(path)), label=str(path))


def parse_config(text: str | bytes, label: str) -> Document:
    """Parse a config, whose root is a mapping. Raises ConfigError, located in ``label``."""
    lines: tuple[str, ...] = ()
    try:
        decoded = _decode(text) if isinstance(text, bytes) else text
        lines = split_lines(decoded)
        document = compose(decoded)
        if document.data is None:
            raise _error("the config is empty; it needs at least dataset, model and optimizer")
        if not isinstance(document.data, dict):
            found = "a list" if isinstance(document.data, list) else "a single value"
            message = f"the config is {found}, not a mapping of keys to values"
            raise _error(message, document.values[()])
        return replace(document, label=label)
    except ConfigError as error:
        raise config_error(error.diagnostics, label, lines) from None


def compose(text: str) -> Document:
    """Parse one YAML document of any type. Raises ConfigError with the spans of all problems."""
    check_text(text)
    lines = split_lines(text)
    directive = _TAG_DIRECTIVE.search(text)
    if directive:
        raise _error("%TAG: tags are not supported", _character(text[: directive.start()], 4))
    try:
        root = _Loader(text).root()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, lines) from None
    except yaml.YAMLError as error:
        raise _error(f"not valid YAML: {error}") from None
    if root is None:
        return Document(None, {}, {(): Span(0, 0, 0, 1)}, lines)
    return _Builder(lines).document(root)


def is_string(text: str) -> bool:
    """Whether a plain scalar is a string, so that it needs no quotes."""
    return _VALUES[_tag_of(text)] is str


def check_text(text: str) -> None:
    """Raise ConfigError at the first character that YAML does not allow, such as a NUL."""
    found = _UNPRINTABLE.search(text)
    if found:
        message = f"U+{ord(found.group()):04X}: control characters are not allowed"
        raise _error(message, _character(text[: found.start()]))


def split_lines(text: str) -> tuple[str, ...]:
    """Split as libyaml counts lines, so that spans fit."""
    return tuple(re.sub("\r\n|[\r\x85\u2028\u2029]", "\n", text).split("\n"))


if TYPE_CHECKING or yaml.__with_libyaml__:
    from yaml._yaml import CParser as Events
else:

    class Events(Reader, Scanner, Parser):
        """The same events, more slowly, where PyYAML was built without libyaml."""

        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)


class _Loader(Composer, Events, BaseResolver):
    """PyYAML's composer over a parser's events, with limits.

    An alias becomes a node of its own, with the content of its anchor, so that its span is that of
    the alias.
    """

    def __init__(self, text: str) -> None:
        Events.__init__(self, text)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = self._nodes = 0

    def root(self) -> yaml.Node | None:
        self.get_event()  # the start of the stream
        root = None if self.check_event(yaml.StreamEndEvent) else self.compose_document()
        if not self.check_event(yaml.StreamEndEvent):
            message = "a config is a single YAML document; this starts a second one"
            raise _error(message, _span(self.get_event()))
        return root

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        self._nodes += 1
        self._depth += 1
        _check_size(self._depth, self._nodes, _span(event))
        if isinstance(event, yaml.AliasEvent):
            node: yaml.Node | None = self._aliased(self.get_event())
        else:
            self.anchors.pop(event.anchor, None)  # an anchor may be set again
            if isinstance(event, yaml.ScalarEvent) and event.tag == "!":
                event.implicit = (False, True)  # `! 1` is the string "1"
            node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _aliased(self, event: Any) -> yaml.Node:
        anchored, name = self.anchors.get(event.anchor), event.anchor
        if anchored is None:
            raise _error(f"*{name}: there is no anchor &{name} above", _span(event))
        if anchored.end_mark is None:  # still being composed
            raise _error(f"*{name}: an alias cannot be part of its own anchor", _span(event))
        return type(anchored)(anchored.tag, anchored.value, event.start_mark, event.end_mark)


for _tag, _pattern in _CORE_SCHEMA.items():
    _Loader.add_implicit_resolver(_tag, _pattern, first=None)


@dataclass
class _Builder:
    """Nodes → plain data; notes what a config may not hold and goes on."""

    lines: tuple[str, ...]
    keys: dict[KeyPath, Span] = field(default_factory=dict)
    values: dict[KeyPath, Span] = field(default_factory=dict)
    refused: dict[Diagnostic, None] = field(default_factory=dict)
    """An ordered set: what is refused inside an anchor comes up again with every alias."""

    def document(self, root: yaml.Node) -> Document:
        data = self._value(root, ())
        if self.refused:
            raise config_error(list(self.refused))
        return Document(data, self.keys, self.values, self.lines)

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.values[path] = span = _span(node)
        _check_size(len(path) + 1, len(self.values), span)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        is_list = isinstance(node, yaml.SequenceNode)
        if node.tag != f"{_CORE}{'seq' if is_list else 'map'}":
            self._refuse_tag(node)
        if is_list:
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, key_span = self._key(key_node), _span(key_node)
            if key in data:
                first = self.keys[(*path, key)].line + 1
                self._refuse(f"{key}: duplicate key; the first is on line {first}", key_span)
            elif key is not None:
                self.keys[(*path, key)] = key_span
                data[key] = self._value(value_node, (*path, key))
        return data

    def _key(self, node: yaml.Node) -> Any:
        span = _span(node)
        if node.tag == _MERGE:
            return self._refuse("<<: merge keys are not supported; write the keys out", span)
        key = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            return self._refuse(f"{self._text(span)}: a key must be a string; quote it", span)
        return key

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text, span, implied = node.value, _span(node), _tag_of(node.value)
        if node.tag not in _VALUES:
            return self._refuse_tag(node)
        as_float = (node.tag, implied) == (f"{_CORE}float", f"{_CORE}int")
        if node.tag not in (_STR, _MERGE, implied) and not as_float:
            return self._refuse(f"{self._text(span)}: the value does not fit its tag", span)
        try:
            value = _VALUES[node.tag](text)
        except ValueError:  # Python refuses integers of more than 4,300 digits
            return self._refuse(f"a number of {len(text):,} digits", span)
        if isinstance(value, str) and _UNPRINTABLE.search(value):
            self._refuse("control characters are not allowed, not even escaped", span)
        return value

    def _refuse_tag(self, node: yaml.Node) -> Any:
        tag = "!!" + node.tag.removeprefix(_CORE) if node.tag.startswith(_CORE) else node.tag
        start = _span(node)
        written = re.match(r"[^\s,\[\]{}]*", self.lines[start.line][start.column :])
        end = start.column + len(written[0] if written else "")
        span = replace(start, end_line=start.line, end_column=end)
        return self._refuse(f"{tag[:80]}: tags are not supported", span)

    def _refuse(self, message: str, span: Span) -> Any:
        """Note what is wrong; None stands for the value."""
        self.refused[Diagnostic(Problem((), message[:200]), span)] = None

    def _text(self, span: Span) -> str:
        """What stands there, shortened."""
        end = span.end_column if span.end_line == span.line else None
        return self.lines[span.line][span.column : end].strip()[:60]


def _tag_of(text: str) -> str:
    return next((tag for tag, pattern in _CORE_SCHEMA.items() if pattern.match(text)), _STR)


def _span(node: Any) -> Span:
    """The span of a node or an event."""
    start, end = node.start_mark, node.end_mark
    return Span(start.line, start.column, end.line, end.column)


def _character(before: str, width: int = 1) -> Span:
    """The span of a character, or of several on its line, after the text ``before``."""
    line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
    return Span(line, column, line, column + width)


def _check_size(depth: int, count: int, span: Span) -> None:
    if depth > MAX_DEPTH:
        raise _error(f"nested more than {MAX_DEPTH} deep", span)
    if count > MAX_NODES:
        raise _error(f"the config has more than {MAX_NODES:,} values", span)


def _error(message: str, span: Span | None = None) -> ConfigError:
    """One problem that ends the reading."""
    return config_error([Diagnostic(Problem((), message), span)])


def _syntax_error(error: yaml.MarkedYAMLError, lines: tuple[str, ...]) -> ConfigError:
    message, mark = f"not valid YAML: {error.problem}", error.problem_mark or error.context_mark
    if mark is None:
        return _error(message)
    line = min(mark.line, len(lines) - 1)
    column = mark.column if line == mark.line else len(lines[line])
    if lines[line][column : column + 1] == "\t":
        message = "YAML is indented with spaces, not with tabs"
    elif error.context and error.context_mark and error.context_mark.line != line:
        message += f" ({error.context} that starts on line {error.context_mark.line + 1})"
    return _error(message, Span(line, column, line, column + 1))


def _elsewhere(path: Path) -> str:
    """A config of that name in a folder of the working directory, as a suggestion."""
    found = islice(Path().glob("*/*.y*ml"), 500)
    names = [str(each) for each in found if path.name in (each.name, each.stem)]
    return f', did you mean "{min(names)}"?' if names else ""


def _read(path: Path) -> bytes:
    try:
        with open_file_or_stream(path) as file:
            return file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        others = [each.name for each in sorted(path.parent.glob("*.y*ml"))[:500]]
        hint = did_you_mean(path.name, others) or _elsewhere(path)
        if str(path) == "-":
            hint = "; standard input is /dev/stdin"
        raise UsageError(f"{path}: no such config file{hint}") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: a folder, not a config file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UsageError(f"{str(path)!r}: not a file name ({error})") from None


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise _error(f"the file is larger than {MAX_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        span = _character(error.object[: error.start].decode("utf-8", errors="replace"))
        byte = error.object[error.start]
        raise _error(f"byte 0x{byte:02x}: not UTF-8 text", span) from None
