"""What regularizes in a config, and how each of it is switched off: asked of the sections' marks.

`regrun ablate` leaves these out one by one, and a run without any gets a suggestion to add one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regrun.kinds.base import Choices, Described, Section
from regrun.kinds.penalties.base import Penalty

if TYPE_CHECKING:
    from regrun.config.schema import Config


@dataclass(frozen=True)
class Ingredient:
    """One thing that regularizes.

    key: the dotted key of its section or value, such as `penalty.0` or `model.dropout`.
    """

    name: str
    key: str


def ingredients_of(config: Config) -> list[Ingredient]:
    """Everything that regularizes in a config, in the order of its sections."""
    found: list[Ingredient] = []
    for part, section in config:
        if isinstance(section, Section):
            found += (Ingredient(key, f"{part}.{key}") for key, _ in _active(section))
        elif isinstance(section, tuple):
            found += _listed(part, section)
    return found


def overrides_without(config: Config, removed: Iterable[Ingredient]) -> Mapping[str, Any]:
    """Dotted key → value that switch these ingredients off."""
    keys = {ingredient.key for ingredient in removed}
    overrides: dict[str, Any] = {}
    for part, section in config:
        if isinstance(section, Section):
            overrides |= {
                f"{part}.{key}": off for key, off in _active(section) if f"{part}.{key}" in keys
            }
        elif isinstance(section, tuple):
            gone = {at for at in range(len(section)) if f"{part}.{at}" in keys}
            if all(isinstance(each, Penalty) for each in section):
                overrides |= {f"{part}.{at}.strength": 0.0 for at in sorted(gone)}
            elif gone:
                overrides[part] = [
                    each.model_dump(mode="json")
                    for at, each in enumerate(section)
                    if at not in gone
                ]
    return overrides


def _listed(part: str, entries: tuple[Any, ...]) -> Iterator[Ingredient]:
    """Penalties with a strength, and constraints."""
    for at, section in enumerate(entries):
        if not isinstance(section, Section):
            continue  # names of metrics
        if not isinstance(section, Penalty):
            yield Ingredient(section.kind, f"{part}.{at}")
        elif section.strength:
            number = f" {at + 1}" if at else ""
            yield Ingredient(f"penalty {section.kind}{number}", f"{part}.{at}")


def _active(section: Section) -> Iterator[tuple[str, Any]]:
    """Each marked key that is switched on, and the value that switches it off."""
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        for mark in field.metadata:
            described = mark.get(value) if isinstance(mark, Choices) else mark
            if isinstance(described, Described) and described.regularizes:
                levels = value if isinstance(value, tuple) else (value,)
                if any(level is not None and level != described.off for level in levels):
                    yield key, described.off
