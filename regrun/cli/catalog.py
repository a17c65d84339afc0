"""What a config can name, read from the schema that also validates it. No torch."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from regrun.errors import UsageError
from regrun.suggest import did_you_mean

if TYPE_CHECKING:
    from regrun.cli.keys import Key
    from regrun.kinds.base import Section

FAMILIES = ("datasets", "models", "penalties", "constraints", "optimizers", "schedules")
"""Topics whose names choose a section: the families of `regrun.kinds.registry`."""

SWITCHES = ("noise", "norms", "augmentation", "decay", "training")
"""Topics whose names are keys, or values of keys: the families of `regrun.kinds.base.Described`."""

TOPICS = (*FAMILIES[:4], *SWITCHES, *FAMILIES[4:])
"""What `regrun list` lists, from data to schedule."""


@dataclass(frozen=True)
class Entry:
    """One name that a config may use: here, of a section."""

    name: str
    line: str
    about: Mapping[str, str]
    """``formula``, ``source`` or ``origin``, those that the section has."""
    section: type[Section]

    @property
    def capabilities(self) -> dict[str, str]:
        """What it needs and can be combined with, where the table says so."""
        section: Any = self.section
        found = {}
        if hasattr(section, "needs"):
            found["needs"] = section.needs
        if hasattr(section, "methods"):
            found["methods"] = ", ".join(section.methods)
        if hasattr(section, "proximal"):
            found["proximal penalties"] = "yes" if section.proximal else "no"
        return found

    @property
    def keys(self) -> list[Key]:
        """Its keys with their defaults, those without a default first."""
        from regrun.cli.keys import key_of

        names = [name for name in self.section.model_fields if name not in ("name", "type")]
        keys = [key_of(self.section, name) for name in names]
        return sorted(keys, key=lambda key: key.default != "required")


@dataclass(frozen=True)
class Switch(Entry):
    """One key, or one value of a key, that switches something on."""

    where: str
    """The dotted key that a config has it under."""
    needs: str = ""
    sections: tuple[str, ...] = ()
    """Which of the sections that could be there have it; all, if empty."""

    @property
    def capabilities(self) -> dict[str, str]:
        """How a config has it, what it needs, and with which models it is to be had."""
        key = self.where.rpartition(".")[2]
        found = {"written": self.where if key == self.name else f"{self.where}: {self.name}"}
        if self.needs:
            found["needs"] = self.needs
        if self.sections:
            found[f"{self.where.partition('.')[0]}s"] = ", ".join(self.sections)
        return found

    @property
    def keys(self) -> list[Key]:
        """The key itself, and those within it."""
        from regrun.cli.keys import key_of, keys_within
        from regrun.config.schema_tree import fields, section_of

        own = replace(key_of(self.section, self.where), help="")
        inner = section_of(fields(self.section)[self.where.rpartition(".")[2]])
        return [own, *(keys_within(inner, f"{self.where}.") if inner else ())]


def entries(topic: str | None) -> list[Entry]:
    """The entries of one topic, in the order of the table; none for an unknown topic."""
    if topic in SWITCHES:
        return list(_switches()[topic])
    if topic is None or topic not in FAMILIES:
        return []
    from regrun.kinds.registry import KINDS

    return [
        Entry(name, _paragraph(section.__doc__), _about(section), section)
        for section in KINDS[topic]
        for name in _names(section)
    ]


def find(topic: str, name: str) -> Entry:
    """The entry of that name; UsageError with a suggestion when there is none."""
    known = {entry.name: entry for entry in entries(topic)}
    if name in known:
        return known[name]
    hint = did_you_mean(name, known) or f"; see `regrun list {topic}`"
    raise UsageError(f"{name}: not one of the {topic}{hint}")


@functools.cache
def _switches() -> dict[str, list[Switch]]:
    """Every marked key of the config, by topic; what several sections have is one entry."""
    from regrun.config.schema_tree import fields, root, section_of

    found: dict[str, dict[str, Switch]] = {topic: {} for topic in SWITCHES}
    for part, node in fields(root().kinds[None]).items():
        section = section_of(node)
        kinds: list[Any] = section.distinct() if section else []
        having: dict[tuple[str, str], list[type[Section]]] = {}
        for kind in kinds:
            for topic, switch in _marked(kind, part):
                found[topic].setdefault(switch.name, switch)
                having.setdefault((topic, switch.name), []).append(kind)
        for (topic, name), having_it in having.items():
            if len(having_it) < len(kinds):
                labels = tuple(_label(kind) for kind in having_it)
                found[topic][name] = replace(found[topic][name], sections=labels)
    return {topic: list(named.values()) for topic, named in found.items()}


def _marked(section: type[Section], part: str) -> Iterator[tuple[str, Switch]]:
    """Topic and entry of each key with `Described`, and of the values of each with `Choices`."""
    from regrun.kinds.base import Choices, Described, values_of

    for key, field in section.model_fields.items():
        described = []
        for mark in field.metadata:
            if isinstance(mark, Described):
                described.append((key, field.description, mark))
            elif isinstance(mark, Choices):
                values = [value for value in values_of(field.annotation) if value in mark]
                described += [(value, mark[value].summary, mark[value]) for value in values]
        for name, line, mark in described:
            about = {"formula": mark.formula, "source": mark.reference}
            where = f"{part}.{key}"
            yield mark.topic, Switch(name, _paragraph(line), about, section, where, mark.needs)


def _names(section: type[Section]) -> tuple[str, ...]:
    field = section.model_fields.get("name") or section.model_fields["type"]
    return tuple(str(name) for name in get_args(field.annotation))


def _label(section: type[Section]) -> str:
    """Its name; of a section with many names, that of their library."""
    names = _names(section)
    return names[0] if len(names) == 1 else section.__name__.lower()


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split())


def _about(section: type[Section]) -> dict[str, str]:
    labels = {"formula": "formula", "source": "reference", "origin": "origin"}
    return {label: getattr(section, key) for label, key in labels.items() if hasattr(section, key)}
