"""What there is, read from the one table that also validates: the config's schema. No torch."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from regrun.cli.keys import Key, as_key, walk
from regrun.errors import UsageError
from regrun.suggest import did_you_mean

if TYPE_CHECKING:
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
    facts: Mapping[str, str]
    """``formula``, ``source`` or ``origin`` where the table has them."""
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
        schema = self.section.model_json_schema()
        keys = [as_key(name, info, schema) for name, info in schema["properties"].items()]
        chosen = [key for key in keys if key.name not in ("name", "type")]
        return sorted(chosen, key=lambda key: key.default != "required")


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
        schema = self.section.model_json_schema()
        info = schema["properties"][self.where.rpartition(".")[2]]
        own = replace(as_key(self.where, info, schema), help="")
        return [own, *walk(info, schema, f"{self.where}.")]


def entries(topic: str | None) -> list[Entry]:
    """The entries of one topic, in the order of the table; none for an unknown topic."""
    if topic in SWITCHES:
        return list(_switches()[topic])
    if topic is None or topic not in FAMILIES:
        return []
    from regrun.kinds.registry import KINDS

    return [
        Entry(name, _paragraph(section.__doc__), _facts(section), section)
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
    """Every marked key of the config, by family; what several sections have is one entry."""
    from regrun.config.schema import Config

    found: dict[str, dict[str, Switch]] = {family: {} for family in SWITCHES}
    for part, field in Config.model_fields.items():
        choices = list(_sections(field.annotation))
        having: dict[tuple[str, str], list[type[Section]]] = {}
        for section in choices:
            for family, switch in _marked(section, part):
                found[family].setdefault(switch.name, switch)
                having.setdefault((family, switch.name), []).append(section)
        for (family, name), sections in having.items():
            if len(sections) < len(choices):
                labels = tuple(_label(section) for section in sections)
                found[family][name] = replace(found[family][name], sections=labels)
    return {family: list(named.values()) for family, named in found.items()}


def _marked(section: type[Section], part: str) -> Iterator[tuple[str, Switch]]:
    """Of one section its keys with `Described`, and the values of those with `Choices`."""
    from regrun.kinds.base import Choices, Described, values_of

    def switch(name: str, line: str, facts: Described) -> tuple[str, Switch]:
        shown = {"formula": facts.formula, "source": facts.reference}
        where = f"{part}.{key}"
        return facts.topic, Switch(name, line, shown, section, where, facts.needs)

    for key, field in section.model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, Described):
                yield switch(key, _paragraph(field.description), mark)
            elif isinstance(mark, Choices):
                for value in values_of(field.annotation):
                    if value in mark:
                        yield switch(value, mark[value].summary, mark[value])


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """The classes of a union, through Annotated."""
    from regrun.kinds.base import Section

    if inspect.isclass(annotation) and issubclass(annotation, Section):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from _sections(argument)


def _names(section: type[Section]) -> tuple[str, ...]:
    field = section.model_fields.get("name") or section.model_fields["type"]
    return tuple(str(name) for name in get_args(field.annotation))


def _label(section: type[Section]) -> str:
    """Its name; of a section with many names, that of their library."""
    names = _names(section)
    return names[0] if len(names) == 1 else section.__name__.lower()


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split())


def _facts(section: type[Section]) -> dict[str, str]:
    labels = {"formula": "formula", "source": "reference", "origin": "origin"}
    return {label: getattr(section, key) for label, key in labels.items() if hasattr(section, key)}
