"""The schema as a tree of nodes, read from the annotations of the sections.

A node says what a place of a config may hold. Messages, overrides, the axes of a sweep,
`regrun list` and the completion of keys all walk this one tree.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from regrun.config.schema import Config
from regrun.errors import KeyPath


@dataclass(frozen=True, kw_only=True)
class Node:
    """What may stand at a place of a config."""

    nullable: bool = False


@dataclass(frozen=True)
class Scalar(Node):
    """A number, a string or a boolean, with its bounds."""

    type: type
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None


@dataclass(frozen=True)
class Choice(Node):
    """One of these words."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class ListNode(Node):
    """A list; ``before`` is the validator that brings its shorthands to a list."""

    item: Node
    length: int | None = None
    before: Callable[[Any], Any] | None = None

    def raw_index(self, raw: Sequence[Any], index: int) -> int:
        """The index in the list as written of what is entry ``index`` of the validated list."""
        if self.before is None or not isinstance(raw, list):
            return index
        kept = [id(entry) for entry in self.before(raw)]
        if len(kept) == len(raw) or index >= len(kept):
            return index
        return [id(entry) for entry in raw].index(kept[index])


@dataclass(frozen=True)
class DictNode(Node):
    """A mapping with free keys."""

    value: Node


@dataclass(frozen=True)
class SectionNode(Node):
    """A section of one kind, or of the kind that its ``name`` or ``type`` chooses."""

    noun: str
    """``dataset``, ``penalty``: what the kinds are kinds of."""
    tag: str | None
    kinds: Mapping[str | None, type[BaseModel]] = field(hash=False)
    shorthand: bool = False
    """Whether the tag alone may stand for the section."""

    def tag_of(self, raw: Any) -> Any:
        """The tag as written, None if there is none."""
        if self.shorthand and isinstance(raw, str):
            return raw
        return raw.get(self.tag) if isinstance(raw, Mapping) else None

    def kind(self, raw: Any) -> type[BaseModel] | None:
        """The kind that the tag chooses; None if no kind has this tag."""
        if self.tag is None:
            return self.kinds[None]
        tag = self.tag_of(raw)
        return self.kinds.get(tag) if isinstance(tag, str) else None

    def tags(self) -> list[str]:
        """Every tag, in the order of the schema."""
        return [tag for tag in self.kinds if tag is not None]

    def distinct(self) -> list[type[BaseModel]]:
        """Every kind once."""
        return list(dict.fromkeys(self.kinds.values()))

    def kinds_with(self, key: str) -> list[str]:
        """The tags of the kinds that have such a key."""
        return [tag for tag in self.tags() if key in fields(self.kinds[tag])]


@dataclass(frozen=True)
class AnyOf(Node):
    """Any of several nodes."""

    options: tuple[Node, ...]

    def list_or_self(self) -> Node:
        """The list among the options, which is what an index leads into."""
        return next((each for each in self.options if isinstance(each, ListNode)), self)


@dataclass(frozen=True)
class Anything(Node):
    """No rule."""


MISSING: Final = object()
"""Stands for a value that is not written."""


@dataclass(frozen=True)
class Place:
    """A place on the way from the root: its path as written, its node, and its value there."""

    path: KeyPath
    node: Node | None
    """None: the schema has no such place."""
    value: Any


@functools.cache
def root() -> SectionNode:
    """The whole config."""
    return SectionNode("config", None, {None: Config})


@functools.cache
def fields(kind: type[BaseModel]) -> dict[str, Node]:
    """Key → node, in the order of the schema."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: _node(hints[name], name) for name in kind.model_fields}


def section_of(node: Node | None) -> SectionNode | None:
    """The section that may stand here, alone or as an entry of a list."""
    if isinstance(node, ListNode):
        return section_of(node.item)
    return node if isinstance(node, SectionNode) else None


def walk(section: SectionNode, prefix: str = "") -> Iterator[tuple[str, type[BaseModel], Node]]:
    """Every key within a section, over all kinds: its dotted path, the kind that has it, its node.

    A key of several kinds comes once for each.
    """
    for kind in section.distinct():
        for name, node in fields(kind).items():
            yield prefix + name, kind, node
            inner = section_of(node)
            if inner:
                yield from walk(inner, f"{prefix}{name}.")


@functools.cache
def dotted_keys() -> tuple[str, ...]:
    """Every key of the schema after its sections: ``penalty.strength``."""
    return tuple(dict.fromkeys(path for path, _, _ in walk(root())))


@functools.cache
def paths_by_key() -> Mapping[str, list[str]]:
    """Key → the dotted paths of every section that has it."""
    found: dict[str, list[str]] = {}
    for path in dotted_keys():
        found.setdefault(path.rpartition(".")[2], []).append(path)
    return found


def trace(parts: Iterable[str | int], tree: Any, *, labelled: bool = False) -> list[Place]:
    """The places from the root to one that validation names.

    ``parts`` is the path in the `Config`: it has a list index also where a single penalty is
    written, and a dotted key of `sweep.grid` may be one part or several. If ``labelled`` it is
    pydantic's ``loc``, which also holds the tags of sections and labels for the options of unions.
    """
    places = [Place((), root(), tree)]
    todo = list(parts)
    while todo:
        here = places[-1]
        node = here.node
        if labelled and (isinstance(node, AnyOf) or (isinstance(node, SectionNode) and node.tag)):
            todo.pop(0)
            if not todo:
                break
        if isinstance(node, AnyOf):
            node = node.list_or_self()
        if isinstance(node, ListNode) and not isinstance(here.value, list) and node.before:
            if str(todo[0]).isdecimal():
                todo.pop(0)
            places[-1] = Place(here.path, node.item, here.value)
        elif isinstance(node, Scalar | Choice | Anything) and labelled:
            break
        else:
            places.append(_step(here, node, todo))
    return places


def _step(here: Place, node: Node | None, todo: list[str | int]) -> Place:
    """One place further; takes what it used from ``todo``."""
    value, part = here.value, todo.pop(0)
    if isinstance(value, list) and str(part).isdecimal():
        index = int(part)
        if isinstance(node, ListNode):
            index = node.raw_index(value, index)
        item = node.item if isinstance(node, ListNode) else None
        return Place((*here.path, index), item, value[index] if index < len(value) else MISSING)
    entries = value if isinstance(value, Mapping) else {}
    if isinstance(node, DictNode):
        key = _dict_key(part, todo, entries)
        return Place((*here.path, key), node.value, entries.get(key, MISSING))
    inner = None
    if isinstance(node, SectionNode):
        kind = node.kind(value)
        inner = fields(kind).get(str(part)) if kind else None
    return Place((*here.path, part), inner, entries.get(part, MISSING))


def _dict_key(part: str | int, todo: list[str | int], entries: Mapping[Any, Any]) -> str:
    """The longest run of parts that is a key as written, else the first part."""
    for count in range(len(todo), 0, -1):
        key = ".".join(str(each) for each in [part, *todo[:count]])
        if key in entries:
            del todo[:count]
            return key
    return str(part)


def _node(hint: Any, noun: str) -> Node:
    hint, metadata = _bare(hint)
    before: Any = next((each.func for each in metadata if isinstance(each, BeforeValidator)), None)
    origin = get_origin(hint)
    if hint is Any:
        return Anything()
    if origin is Literal:
        return Choice(get_args(hint))
    if origin in (Union, types.UnionType):
        return _union(get_args(hint), noun, shorthand=before is not None)
    if origin in (tuple, list):
        args = get_args(hint)
        length = None if origin is list or args[-1] is Ellipsis else len(args)
        return ListNode(_node(args[0], noun.removesuffix("s")), length, before)
    if origin is dict:
        return DictNode(_node(get_args(hint)[1], noun))
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return SectionNode(noun, None, {None: hint})
    bounds = {
        name: getattr(mark, name)
        for mark in metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(mark, name)
    }
    return Scalar(hint, **bounds)


def _bare(hint: Any) -> tuple[Any, list[Any]]:
    """The type without its annotations; and these, with those of pydantic's Field unpacked."""
    if get_origin(hint) is not Annotated:
        return hint, []
    metadata: list[Any] = []
    for each in hint.__metadata__:
        metadata.extend(each.metadata if isinstance(each, FieldInfo) else [each])
    bare, inner = _bare(hint.__origin__)
    return bare, inner + metadata


def _union(hints: Sequence[Any], noun: str, *, shorthand: bool) -> Node:
    present = [hint for hint in hints if hint is not type(None)]
    bare = [_bare(hint)[0] for hint in present]
    node: Node
    if len(present) == 1:
        node = _node(present[0], noun)
    elif all(isinstance(each, type) and issubclass(each, BaseModel) for each in bare):
        tag = "name" if "name" in bare[0].model_fields else "type"
        kinds = {
            word: kind for kind in bare for word in get_args(kind.model_fields[tag].annotation)
        }
        node = SectionNode(noun, tag, kinds, shorthand)
    else:
        node = AnyOf(tuple(_node(hint, noun) for hint in present))
    return replace(node, nullable=len(present) < len(hints))
