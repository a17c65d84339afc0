"""What a config can name, and its keys in words, read from the schema. Loads no torch."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import BaseModel

from regrun.config.schema import Config
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
from regrun.errors import UsageError
from regrun.kinds.base import Section, Topic, marks_of, names_of, sentences
from regrun.kinds.docstrings import description
from regrun.kinds.registry import KINDS
from regrun.settings import format_value
from regrun.suggest import did_you_mean

SWITCHES: tuple[str, ...] = get_args(Topic)
"""Topics whose names are keys, or values of keys; those of the other topics choose a section."""

_TYPES = {int: "integer", float: "number", str: "string", bool: "true, false"}


@dataclass(frozen=True)
class Entry:
    """One name that a config may use: that of a kind, or of what a key switches on."""

    name: str
    line: str
    section: type[Section]
    about: Mapping[str, str]
    """``formula``, ``source`` or ``origin``, those that it has."""
    capabilities: Mapping[str, str]
    """How a config has it, what it needs and what it can be combined with."""
    key: str = ""
    """The dotted key that switches it on; empty for a kind."""

    @property
    def keys(self) -> list[Key]:
        """A kind's keys, those without a default first; or the key itself and those within it."""
        if not self.key:
            names = [name for name in self.section.model_fields if name not in ("name", "type")]
            keys = [key_of(self.section, name) for name in names]
            return sorted(keys, key=lambda key: key.default != "required")
        own = replace(key_of(self.section, self.key), description="")
        inner = section_of(fields(self.section)[self.key.rpartition(".")[2]])
        return [own, *(keys_within(inner, f"{self.key}.") if inner else ())]


def entries(topic: str | None) -> list[Entry]:
    """The entries of one topic, in the order of the schema; none for an unknown topic."""
    kinds = [(kind, name) for kind in KINDS.get(topic or "", ()) for name in names_of(kind)]
    return _switches().get(topic or "") or [_kind(kind, name) for kind, name in kinds]


def find(topic: str, name: str) -> Entry:
    """The entry of that name; UsageError with a suggestion when there is none."""
    known = {entry.name: entry for entry in entries(topic)}
    if name in known:
        return known[name]
    hint = did_you_mean(name, known) or f"; see `regrun list {topic}`"
    raise UsageError(f"{name}: not one of the {topic}{hint}")


def _kind(kind: Any, name: str) -> Entry:
    labels = {"formula": "formula", "source": "reference", "origin": "origin"}
    about = {label: getattr(kind, key) for label, key in labels.items() if hasattr(kind, key)}
    capabilities = {}
    if hasattr(kind, "needs"):
        capabilities["needs"] = kind.needs
    if hasattr(kind, "methods"):
        capabilities["methods"] = ", ".join(kind.methods)
    if hasattr(kind, "proximal"):
        capabilities["proximal penalties"] = "yes" if kind.proximal else "no"
    return Entry(name, _paragraph(kind.__doc__), kind, about, capabilities)


@functools.cache
def _switches() -> dict[str, list[Entry]]:
    """Every marked key of the config, by topic; what several sections have is one entry."""
    found: dict[str, list[Entry]] = {topic: [] for topic in SWITCHES}
    for part, node in fields(Config).items():
        section = section_of(node)
        kinds: list[Any] = section.distinct() if section else []
        marked: dict[tuple[str, str], list[Entry]] = {}
        for kind in kinds:
            for topic, entry in _marked(kind, part):
                marked.setdefault((topic, entry.name), []).append(entry)
        for (topic, _), (entry, *others) in marked.items():
            if len(others) + 1 < len(kinds):
                labels = ", ".join(_label(each.section) for each in (entry, *others))
                entry = replace(entry, capabilities={**entry.capabilities, f"{part}s": labels})
            found[topic].append(entry)
    return found


def _marked(section: type[Section], part: str) -> Iterator[tuple[str, Entry]]:
    """Topic and entry of each marked key, and of each marked value of a key."""
    for name, field in section.model_fields.items():
        key = f"{part}.{name}"
        for value, mark in marks_of(field):
            line = _paragraph(mark.summary if value else description(section, name))
            about = {"formula": mark.formula, "source": mark.reference}
            capabilities = {"written": f"{key}: {value}" if value else key}
            if mark.needs:
                capabilities["needs"] = mark.needs
            yield mark.topic, Entry(value or name, line, section, about, capabilities, key)


def _label(section: type[Section]) -> str:
    """Its name; of a section with many names, that of their library."""
    names = names_of(section)
    return names[0] if len(names) == 1 else section.__name__.lower()


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split())


@dataclass(frozen=True)
class Key:
    """One key of a section."""

    name: str
    values: str
    """What it may hold, in words: ``number ≥ 0``."""
    default: str
    """As YAML writes it; ``required`` without one."""
    description: str
    choices: tuple[str, ...] = ()


def override_keys() -> dict[str, Key]:
    """Every dotted key that an override may set, over all kinds of every section."""
    keys = {key.name: key for key in keys_within(root(), "")}
    for name, node in fields(Config).items():
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
    default = (
        "required"
        if info.is_required()
        else format_value(info.get_default(call_default_factory=True), digits=None)
    )
    help_text = " ".join([description(kind, name), *sentences(info)])
    return Key(path, _in_words(node), default, _paragraph(help_text), tuple(_choices(node)))


def _choices(node: Node) -> Iterator[str]:
    for each in node.options if isinstance(node, AnyOf) else (node,):
        if isinstance(each, Scalar) and each.type is bool:
            yield from ("true", "false")
        elif isinstance(each, Choice):
            yield from each.words
        elif isinstance(each, ListNode):
            yield from _choices(each.item)


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
    high = node.lt if node.le is None else node.le
    # A bound of the machine's integers explains nothing to a reader.
    if high is not None and high < 2**31 - 1 and node.interval:
        return f" in {node.interval}"
    signs = {"≥": node.ge, ">": node.gt, "≤": node.le, "<": node.lt}
    return next((f" {sign} {bound}" for sign, bound in signs.items() if bound is not None), "")
