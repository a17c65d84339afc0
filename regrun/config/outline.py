"""The shape of the schema, read from the models' annotations.

Pydantic says that a value is wrong; the outline knows what could have stood there: the keys of the
section as its ``name`` or ``type`` chooses it, the bounds of a number, the words of a choice.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from regrun.config.schema import Config
from regrun.errors import Path


@dataclass(frozen=True)
class Scalar:
    """A number, a text or a boolean, with its bounds."""

    kind: type
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None


@dataclass(frozen=True)
class Choice:
    """One of these words."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Items:
    """A list; with ``normalise`` also the shorthand that it brings to a list."""

    item: Shape
    length: int | None = None
    normalise: Callable[[Any], Any] | None = None

    def raw_index(self, raw: Sequence[Any], index: int) -> int:
        """Where the entry that the schema counts as ``index`` stands in the list as written."""
        if self.normalise is None or not isinstance(raw, list):
            return index
        kept = [id(entry) for entry in self.normalise(raw)]
        if len(kept) == len(raw) or index >= len(kept):
            return index
        return [id(entry) for entry in raw].index(kept[index])


@dataclass(frozen=True)
class Table:
    """A mapping with free keys."""

    value: Shape


@dataclass(frozen=True)
class Sections:
    """A section, of one kind or of several that its ``name`` or ``type`` tells apart."""

    noun: str
    """``dataset``, ``penalty``: what the kinds are kinds of."""
    tag: str | None
    kinds: Mapping[str | None, type[BaseModel]] = field(hash=False)
    shorthand: bool = False
    """Whether the tag alone may stand for the section."""

    def tag_of(self, raw: Any) -> Any:
        """The tag as written, None when there is none."""
        if self.shorthand and isinstance(raw, str):
            return raw
        return raw.get(self.tag) if isinstance(raw, Mapping) else None

    def kind(self, raw: Any) -> type[BaseModel] | None:
        """The kind that the tag chooses; None when it is no known one."""
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


@dataclass(frozen=True)
class OneOf:
    """Any of several shapes."""

    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Anything:
    """No rule."""


Shape = Scalar | Choice | Items | Table | Sections | OneOf | Anything

MISSING: Final = object()
"""Stands for a value that is not written."""


@dataclass(frozen=True)
class Spot:
    """A place on the way from the root: its path as written, what may stand there, what does."""

    path: Path
    shape: Shape | None
    """None: the schema knows no such place."""
    raw: Any


@functools.cache
def root() -> Sections:
    """The whole config."""
    return Sections("config", None, {None: Config})


@functools.cache
def fields(kind: type[BaseModel]) -> dict[str, Shape]:
    """Key → shape, in the order of the schema."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: _shape(hints[name], noun=name) for name in kind.model_fields}


def trace(parts: Iterable[str | int], tree: Any, *, labelled: bool = False) -> list[Spot]:
    """The spots from the root to a place.

    parts: as the schema counts: with a list index also where a single penalty is written, dotted
    keys of `sweep.grid` in one part or several. With ``labelled`` they are a pydantic ``loc``,
    which holds the kinds of sections and the branches of unions besides.
    """
    spots = [Spot((), root(), tree)]
    todo = list(parts)
    while todo:
        here = spots[-1]
        shape = here.shape
        if labelled and (isinstance(shape, OneOf) or (isinstance(shape, Sections) and shape.tag)):
            todo.pop(0)
            if not todo:
                break
        if isinstance(shape, OneOf):
            shape = next((each for each in shape.shapes if isinstance(each, Items)), None)
        if isinstance(shape, Items) and not isinstance(here.raw, list) and shape.normalise:
            if str(todo[0]).isdecimal():
                todo.pop(0)
            spots[-1] = Spot(here.path, shape.item, here.raw)
        elif isinstance(shape, Scalar | Choice | Anything) and labelled:
            break
        else:
            spots.append(_step(here, shape, todo))
    return spots


def _step(here: Spot, shape: Shape | None, todo: list[str | int]) -> Spot:
    """One spot further; takes what it used from ``todo``."""
    raw, part = here.raw, todo.pop(0)
    if isinstance(raw, list) and str(part).isdecimal():
        index = int(part)
        if isinstance(shape, Items):
            index = shape.raw_index(raw, index)
        inner = shape.item if isinstance(shape, Items) else None
        return Spot((*here.path, index), inner, raw[index] if index < len(raw) else MISSING)
    entries = raw if isinstance(raw, Mapping) else {}
    if isinstance(shape, Table):
        key = _table_key(part, todo, entries)
        return Spot((*here.path, key), shape.value, entries.get(key, MISSING))
    inner = None
    if isinstance(shape, Sections):
        kind = shape.kind(raw)
        inner = fields(kind).get(str(part)) if kind else None
    return Spot((*here.path, part), inner, entries.get(part, MISSING))


def _table_key(part: str | int, todo: list[str | int], entries: Mapping[Any, Any]) -> str:
    """The longest run of parts that is a key as written, else the first part."""
    for count in range(len(todo), 0, -1):
        key = ".".join(str(each) for each in [part, *todo[:count]])
        if key in entries:
            del todo[:count]
            return key
    return str(part)


def kinds_with(sections: Sections, key: str) -> list[str]:
    """The tags of the kinds that have such a key."""
    return [tag for tag in sections.tags() if key in fields(sections.kinds[tag])]


def places(key: str) -> list[str]:
    """Dotted paths of every section key of this name."""
    return _places().get(key, [])


@functools.cache
def _places() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in dotted_keys():
        found.setdefault(path.rpartition(".")[2], []).append(path)
    return found


@functools.cache
def dotted_keys() -> tuple[str, ...]:
    """Every key of the schema with its sections before it, over all kinds: `penalty.strength`."""

    def below(sections: Sections, prefix: str) -> Iterator[str]:
        for kind in sections.distinct():
            for name, shape in fields(kind).items():
                yield prefix + name
                inner = as_sections(shape)
                if inner:
                    yield from below(inner, f"{prefix}{name}.")

    return tuple(dict.fromkeys(below(root(), "")))


def as_sections(shape: Shape | None) -> Sections | None:
    """The section that stands here, alone or as an entry of a list."""
    if isinstance(shape, Items):
        return as_sections(shape.item)
    return shape if isinstance(shape, Sections) else None


def _shape(hint: Any, noun: str) -> Shape:
    hint, metadata = _bare(hint)
    validators = [each.func for each in metadata if isinstance(each, BeforeValidator)]
    origin = get_origin(hint)
    if hint is Any:
        return Anything()
    if origin is Literal:
        return Choice(get_args(hint))
    if origin in (Union, types.UnionType):
        return _union(get_args(hint), noun, shorthand=bool(validators))
    if origin is tuple:
        args = get_args(hint)
        length = None if args[-1] is Ellipsis else len(args)
        normalise: Any = validators[0] if validators else None
        return Items(_shape(args[0], noun.removesuffix("s")), length, normalise)
    if origin is dict:
        return Table(_shape(get_args(hint)[1], noun))
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return Sections(noun, None, {None: hint})
    return _scalar(hint, metadata)


def _bare(hint: Any) -> tuple[Any, list[Any]]:
    """The type without its annotations, and these, those of pydantic's Field unpacked."""
    if get_origin(hint) is not Annotated:
        return hint, []
    metadata: list[Any] = []
    for each in hint.__metadata__:
        metadata.extend(each.metadata if isinstance(each, FieldInfo) else [each])
    bare, inner = _bare(hint.__origin__)
    return bare, inner + metadata


def _union(hints: Sequence[Any], noun: str, *, shorthand: bool) -> Shape:
    present = [hint for hint in hints if hint is not type(None)]
    if len(present) == 1:
        return _shape(present[0], noun)
    bare = [_bare(hint)[0] for hint in present]
    if all(isinstance(each, type) and issubclass(each, BaseModel) for each in bare):
        return _tagged(bare, noun, shorthand=shorthand)
    shapes = tuple(_shape(hint, noun) for hint in present)
    choices = [shape for shape in shapes if isinstance(shape, Choice)]
    if len(choices) == len(shapes):
        return Choice(tuple(word for choice in choices for word in choice.words))
    return OneOf(shapes)


def _tagged(kinds: Sequence[type[BaseModel]], noun: str, *, shorthand: bool) -> Sections:
    tag = "name" if "name" in kinds[0].model_fields else "type"
    by_tag = {word: kind for kind in kinds for word in get_args(kind.model_fields[tag].annotation)}
    return Sections(noun, tag, by_tag, shorthand)


def _scalar(kind: type, metadata: Sequence[Any]) -> Scalar:
    bounds: dict[str, Any] = {}
    for each in metadata:
        for name, constraint in _CONSTRAINTS.items():
            if isinstance(each, constraint):
                bounds[name] = getattr(each, name)
    return Scalar(kind, **bounds)


_CONSTRAINTS: Mapping[str, type] = {
    "ge": annotated_types.Ge,
    "gt": annotated_types.Gt,
    "le": annotated_types.Le,
    "lt": annotated_types.Lt,
}
