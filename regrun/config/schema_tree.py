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

from regrun.config.schema import Config, current_schema
from regrun.errors import KeyPath
from regrun.kinds.base import names_of, tag_of


@dataclass(frozen=True, kw_only=True)
class Node:
    """What a place of a config may hold; this class itself: anything."""

    nullable: bool = False


@dataclass(frozen=True)
class Scalar(Node):
    """A number, a string or a boolean, with its bounds."""

    type: type
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    @property
    def interval(self) -> str:
        """``[0, 1)``; empty unless both bounds are given."""
        low = self.gt if self.ge is None else self.ge
        high = self.lt if self.le is None else self.le
        if low is None or high is None:
            return ""
        opening, closing = "[" if self.gt is None else "(", "]" if self.lt is None else ")"
        return f"{opening}{low:g}, {high:g}{closing}"


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
        kept = self.before(raw) if self.before else raw
        if len(kept) == len(raw) or index >= len(kept):
            return index
        return next(at for at, entry in enumerate(raw) if entry is kept[index])


@dataclass(frozen=True)
class DictNode(Node):
    """A mapping with free keys."""

    value: Node


@dataclass(frozen=True)
class AnyOf(Node):
    """Any of several nodes."""

    options: tuple[Node, ...]

    def list_or_self(self) -> Node:
        """The list among the options, which is what an index leads into."""
        return next((each for each in self.options if isinstance(each, ListNode)), self)


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
        tag = self.tag_of(raw) if self.tag else None
        return self.kinds.get(tag) if tag is None or isinstance(tag, str) else None

    def tags(self) -> list[str]:
        """Every tag, in the order of the schema."""
        return [tag for tag in self.kinds if tag is not None]

    def distinct(self) -> list[type[BaseModel]]:
        """Every kind once."""
        return list(dict.fromkeys(self.kinds.values()))

    def kinds_with(self, key: str) -> list[str]:
        """The tags of the kinds that have such a key."""
        return [tag for tag in self.tags() if key in fields(self.kinds[tag])]


MISSING: Final = object()
"""Stands for a value that is not written."""


@dataclass(frozen=True)
class Place:
    """A place in a config as written."""

    path: KeyPath
    node: Node | None
    """None: the schema has no such place."""
    value: Any
    parent: Place | None = None


def root() -> SectionNode:
    """The whole config."""
    return _root(current_schema())


@functools.cache
def _root(schema: type[Config]) -> SectionNode:
    return SectionNode("config", None, {None: schema})


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


def dotted_keys() -> tuple[str, ...]:
    """Every key of the schema after its sections: ``penalty.strength``."""
    return _dotted_keys(current_schema())


@functools.cache
def _dotted_keys(schema: type[Config]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path for path, _, _ in walk(_root(schema))))


def trace(parts: Iterable[str | int], tree: Any, *, labelled: bool = False) -> Place:
    """The place that validation names, as written.

    ``parts`` is the path in the `Config`, which has a list index also where a single penalty is
    written. If ``labelled`` it is pydantic's ``loc``, which also holds the tags of sections and
    labels for the options of unions.
    """
    here = Place((), root(), tree)
    todo = list(parts)
    while todo:
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
            here = replace(here, node=node.item)
        elif labelled and not isinstance(node, ListNode | DictNode | SectionNode | None):
            break
        else:
            here = _step(here, node, todo.pop(0))
    return here


def _step(here: Place, node: Node | None, part: str | int) -> Place:
    value, inner = here.value, None
    if isinstance(value, list) and str(part).isdecimal():
        index = int(part)
        if isinstance(node, ListNode):
            index, inner = node.raw_index(value, index), node.item
        entry = value[index] if index < len(value) else MISSING
        return Place((*here.path, index), inner, entry, here)
    if isinstance(node, DictNode):
        inner = node.value
    elif isinstance(node, SectionNode) and (kind := node.kind(value)):
        inner = fields(kind).get(str(part))
    entry = value.get(part, MISSING) if isinstance(value, Mapping) else MISSING
    return Place((*here.path, part), inner, entry, here)


def _node(hint: Any, noun: str) -> Node:
    hint, metadata = _bare(hint)
    before: Any = next((each.func for each in metadata if isinstance(each, BeforeValidator)), None)
    origin = get_origin(hint)
    if hint is Any:
        return Node()
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
    names = ("ge", "gt", "le", "lt")
    bounds = [(name, getattr(mark, name, None)) for mark in metadata for name in names]
    return Scalar(hint, **{name: bound for name, bound in bounds if bound is not None})


def _bare(hint: Any) -> tuple[Any, list[Any]]:
    """The type without its annotations; and these, with those of pydantic's Field unpacked."""
    if get_origin(hint) is not Annotated:
        return hint, []
    bare, metadata = _bare(hint.__origin__)
    for each in hint.__metadata__:
        metadata += each.metadata if isinstance(each, FieldInfo) else [each]
    return bare, metadata


def _union(hints: Sequence[Any], noun: str, *, shorthand: bool) -> Node:
    present = [hint for hint in hints if hint is not type(None)]
    bare = [_bare(hint)[0] for hint in present]
    node: Node
    if len(present) == 1:
        node = _node(present[0], noun)
    elif all(isinstance(each, type) and issubclass(each, BaseModel) for each in bare):
        kinds: dict[str | None, type[BaseModel]]
        kinds = {name: kind for kind in bare for name in names_of(kind)}
        node = SectionNode(noun, tag_of(bare[0]), kinds, shorthand)
    else:
        node = AnyOf(tuple(_node(hint, noun) for hint in present))
    return replace(node, nullable=len(present) < len(hints))
