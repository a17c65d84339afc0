"""The keys of the config in words, read from the tree of its schema. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic import BaseModel

from regrun.config.schema_tree import (
    AnyOf,
    Choice,
    DictNode,
    ListNode,
    Node,
    Scalar,
    SectionNode,
    fields,
    root,
    section_of,
    walk,
)
from regrun.kinds.base import sentences
from regrun.settings import format_value

_TYPES = {int: "integer", float: "number", str: "string", bool: "true, false"}


@dataclass(frozen=True)
class Key:
    """One key of a section."""

    name: str
    values: str
    """What it may hold, in words: ``number ≥ 0``."""
    default: str
    """As YAML writes it; ``required`` without one."""
    help: str
    choices: tuple[str, ...] = ()


def override_keys() -> dict[str, Key]:
    """Every dotted key that an override may set, over all kinds of every section."""
    keys = {key.name: key for key in keys_within(root(), "")}
    for name, node in fields(root().kinds[None]).items():
        none = {"type": "none"}
        if isinstance(node, ListNode) and node.before and not node.before(none):
            kind = keys[f"{name}.type"]  # `{type: none}` is no entry
            keys[kind.name] = replace(kind, choices=(*kind.choices, "none"))
    return keys


def keys_within(section: SectionNode, prefix: str) -> Iterator[Key]:
    """The keys within a section and its inner sections; those of several kinds as one."""
    found: dict[str, list[Key]] = {}
    for path, kind, node in walk(section, prefix):
        if section_of(node) is None:
            found.setdefault(path, []).append(key_of(kind, path))
    for same in found.values():
        choices = dict.fromkeys(choice for key in same for choice in key.choices)
        yield replace(same[0], choices=tuple(choices))


def key_of(kind: type[BaseModel], path: str) -> Key:
    """The key of a section that the last part of ``path`` names."""
    name = path.rpartition(".")[2]
    info, node = kind.model_fields[name], fields(kind)[name]
    default = "required" if info.is_required() else format_value(info.get_default(), digits=None)
    help_text = " ".join([info.description or "", *sentences(info)])
    return Key(path, _in_words(node), default, " ".join(help_text.split()), tuple(_choices(node)))


def _choices(node: Node) -> Iterator[str]:
    if isinstance(node, Scalar) and node.type is bool:
        yield from ("true", "false")
    elif isinstance(node, Choice):
        yield from node.words
    elif isinstance(node, AnyOf):
        for option in node.options:
            yield from _choices(option)


def _in_words(node: Node) -> str:
    """What a node may hold."""
    if node.nullable:
        return f"{_in_words(replace(node, nullable=False))} | null"
    match node:
        case Scalar():
            return _TYPES.get(node.type, node.type.__name__) + _bounds(node)
        case Choice():
            return ", ".join(node.words)
        case AnyOf():
            return " | ".join(_in_words(option) for option in node.options)
        case ListNode():
            item = _in_words(node.item)
            return f"{item} | list of {item}" if node.before else f"list of {item}"
        case DictNode():
            return "object"
        case _:
            return "section"


def _bounds(node: Scalar) -> str:
    """`` ≥ 1``, or `` in [0, 1)``."""
    low = node.gt if node.ge is None else node.ge
    high = node.lt if node.le is None else node.le
    if high is not None and high >= 2**31 - 1:
        high = None  # a bound of the machine's integers explains nothing to a reader
    if low is not None and high is not None:
        opening, closing = "[" if node.gt is None else "(", "]" if node.lt is None else ")"
        return f" in {opening}{low}, {high}{closing}"
    if low is not None:
        return f" {'≥' if node.gt is None else '>'} {low}"
    return "" if high is None else f" {'≤' if node.lt is None else '<'} {high}"
