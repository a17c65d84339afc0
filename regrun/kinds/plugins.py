"""Section classes of other installed packages.

A package names them as entry points of the group of their family (see `GROUPS`). Like regrun's own,
a class has a literal `name` or `type`, its fields are its keys, its docstring is its line in
`regrun list`, and it defines the abstract methods of its base class in `regrun.plugins`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points

from regrun.errors import UsageError
from regrun.kinds.base import FAULTS, Section, names_of, tag_of
from regrun.kinds.constraints import Constraint
from regrun.kinds.datasets import DatasetSection
from regrun.kinds.losses import Loss
from regrun.kinds.models import ModelSection
from regrun.kinds.optimizers.base import Optimizer
from regrun.kinds.penalties import WeightPenalty
from regrun.kinds.schedules import Schedule

GROUPS: Mapping[str, type[Section]] = {
    "regrun.models": ModelSection,
    "regrun.datasets": DatasetSection,
    "regrun.losses": Loss,
    "regrun.penalties": WeightPenalty,
    "regrun.constraints": Constraint,
    "regrun.optimizers": Optimizer,
    "regrun.schedules": Schedule,
}
"""Entry-point group → what its classes derive from."""


def sections(group: str, built_in: Sequence[type[Section]] = ()) -> list[type[Section]]:
    """The section classes of a group of entry points, by name. Raises UsageError."""
    taken = dict.fromkeys((name for kind in built_in for name in names_of(kind)), "regrun")
    found = []
    for point in _installed()[group]:
        section = _load(point, GROUPS[group])
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


def _load(point: EntryPoint, base: type[Section]) -> type[Section]:
    try:
        section: type[Section] = point.load()
    except FAULTS as error:
        raise _unusable(point, f"{type(error).__name__}: {error}") from error
    if not (isinstance(section, type) and issubclass(section, base)):
        raise _unusable(point, f"is no subclass of regrun.plugins.{base.__name__}")
    if not names_of(section):
        raise _unusable(point, f'has no key {tag_of(section)}: Literal["…"] to be chosen by')
    missing = section.undefined()
    if missing:
        raise _unusable(point, f"has no method {', '.join(missing)}")
    if not section.__doc__:
        raise _unusable(point, "has no docstring to be listed with")
    if not issubclass(base, ModelSection | DatasetSection):
        for fact in ("formula", "reference"):
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
