"""Sections of the schema that other installed packages bring, and what these have to give.

A package names its section classes as entry points of the group of their family (see `GROUPS`). A
class is written as those of regrun are: its `name` or `type` is a literal, its fields are its keys,
its docstring is the line that `regrun list` shows, and it defines the abstract methods of its base
class in `regrun.plugins`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from regrun.errors import UsageError
from regrun.kinds.base import FAULTS, Section, names_of, tag_of
from regrun.kinds.constraints import Constraint
from regrun.kinds.datasets import DatasetSection
from regrun.kinds.models import ModelSection
from regrun.kinds.optimizers.base import Optimizer
from regrun.kinds.penalties import WeightPenalty
from regrun.kinds.schedules import Schedule


@dataclass(frozen=True)
class _Group:
    base: type
    computes: bool = True
    """Whether its classes have a formula and a reference."""


GROUPS: Mapping[str, _Group] = {
    "regrun.models": _Group(ModelSection, computes=False),
    "regrun.datasets": _Group(DatasetSection, computes=False),
    "regrun.penalties": _Group(WeightPenalty),
    "regrun.constraints": _Group(Constraint),
    "regrun.optimizers": _Group(Optimizer),
    "regrun.schedules": _Group(Schedule),
}
"""Entry-point group → what its classes derive from and have to have."""


def sections(group: str, built_in: Sequence[type[Section]] = ()) -> list[type[Section]]:
    """The section classes of a group of entry points, by name. Raises UsageError."""
    rules = GROUPS[group]
    taken = dict.fromkeys((name for kind in built_in for name in names_of(kind)), "regrun")
    found = []
    for point in _installed()[group]:
        section = _load(point, rules)
        for name in names_of(section):
            if name in taken:
                raise _unusable(point, f"{tag_of(section)}: {name} is taken by {taken[name]}")
            taken[name] = _package(point)
        found.append(section)
    return found


@functools.cache
def _installed() -> Mapping[str, Sequence[EntryPoint]]:
    """Group → its entry points; a look into every installed package, and therefore only one."""
    found = entry_points()
    return {
        group: sorted(found.select(group=group), key=lambda point: (point.name, point.value))
        for group in GROUPS
    }


def _load(point: EntryPoint, rules: _Group) -> type[Section]:
    try:
        section: type[Section] = point.load()
    except FAULTS as error:
        raise _unusable(point, f"{type(error).__name__}: {error}") from error
    if not (isinstance(section, type) and issubclass(section, rules.base)):
        raise _unusable(point, f"is no subclass of regrun.plugins.{rules.base.__name__}")
    if not names_of(section):
        raise _unusable(point, f'has no key {tag_of(section)}: Literal["…"] to be chosen by')
    missing = section.undefined()
    if missing:
        raise _unusable(point, f"has no method {', '.join(missing)}")
    if not section.__doc__:
        raise _unusable(point, "has no docstring to be listed with")
    for fact in ("formula", "reference") if rules.computes else ():
        if not isinstance(getattr(section, fact, None), str):
            raise _unusable(point, f"has no {fact}: ClassVar[str]")
    return section


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "a package without a name"


def _unusable(point: EntryPoint, why: str) -> UsageError:
    return UsageError(
        f"{point.value}: {why}\n"
        f"This plug-in ({point.group}, {point.name}) comes with the package {_package(point)}; "
        "fix that package or uninstall it"
    )
