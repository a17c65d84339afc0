"""Sections of the schema that other installed packages bring, and what these have to give.

A package names its section classes as entry points of `regrun.models`, `regrun.datasets` or
`regrun.penalties`. A class is written as those of regrun are: its `name` or `type` is a literal,
its fields are its keys, its docstring is the line that `regrun list` shows.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Protocol,
    get_args,
    get_origin,
    runtime_checkable,
)

from regrun.errors import UsageError
from regrun.kinds.base import FAULTS, Section
from regrun.kinds.constraints import Constraint
from regrun.kinds.datasets import DatasetSection
from regrun.kinds.models import ModelSection
from regrun.kinds.optimizers.base import Optimizer
from regrun.kinds.penalties import WeightPenalty
from regrun.kinds.schedules import Schedule

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@runtime_checkable
class GivesArrays(Protocol):
    """A `DatasetSection` that knows its examples.

    Keys called `path`, `test_path` and `root` arrive as absolute paths. With a key `task` the user
    chooses between classification and regression, with `test` what share is held out of `x` and
    `y`; a class that also derives from `Subset` has `num_train` and `num_test`.
    """

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """`x_train, y_train, x_test, y_test`, and `x_val, y_val` if there are any; or `x, y`.

        x (N, …): uint8 of 3 or 4 axes are images, everything else features. y (N,) of whole
        numbers, booleans or text are classes, else (N,) or (N, T) the numbers to predict.
        """
        ...


@runtime_checkable
class MeasuresWeights(Protocol):
    """A `WeightPenalty` that knows its value; autograd differentiates it together with the loss."""

    def value(self, weight: Tensor) -> Tensor:
        """One parameter of some members, (K, *shape) → its value for each at strength 1, (K,).

        A member's value depends on its own weights alone.
        """
        ...


@dataclass(frozen=True)
class _Group:
    base: type[Section]
    tag: str
    gives: type
    method: str


GROUPS: Mapping[str, _Group] = {
    "regrun.models": _Group(ModelSection, "name", object, ""),
    "regrun.datasets": _Group(DatasetSection, "name", GivesArrays, "arrays"),
    "regrun.penalties": _Group(WeightPenalty, "type", MeasuresWeights, "value"),
    "regrun.constraints": _Group(Constraint, "type", object, ""),
    "regrun.optimizers": _Group(Optimizer, "name", object, ""),
    "regrun.schedules": _Group(Schedule, "type", object, ""),
}
"""Entry-point group → what its classes derive from, are chosen by, and have to have."""


def sections(group: str, built_in: Sequence[type[Section]] = ()) -> list[type[Section]]:
    """The section classes of a group of entry points, by name. Raises UsageError."""
    rules = GROUPS[group]
    taken = dict.fromkeys((tag for kind in built_in for tag in _tags(kind, rules.tag)), "regrun")
    found = []
    for point in _installed()[group]:
        section = _load(point, rules)
        for tag in _tags(section, rules.tag):
            if tag in taken:
                raise _unusable(point, f"{rules.tag}: {tag} is taken by {taken[tag]}")
            taken[tag] = _package(point)
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
        section = point.load()
    except FAULTS as error:
        raise _unusable(point, f"{type(error).__name__}: {error}") from error
    if not (isinstance(section, type) and issubclass(section, rules.base)):
        raise _unusable(point, f"is no subclass of {rules.base.__module__}.{rules.base.__name__}")
    if not _tags(section, rules.tag):
        raise _unusable(point, f'has no key {rules.tag}: Literal["…"] to be chosen by')
    missing = sorted(section.__abstractmethods__)
    if missing:
        raise _unusable(point, f"has no method {', '.join(missing)}")
    if not issubclass(section, rules.gives):
        raise _unusable(point, f"has no method {rules.method}")
    if not section.__doc__:
        raise _unusable(point, "has no docstring to be listed with")
    for fact in ("formula", "reference") if rules.base is WeightPenalty else ():
        if not isinstance(getattr(section, fact, None), str):
            raise _unusable(point, f"has no {fact}: ClassVar[str]")
    return section


def _tags(section: type[Section], key: str) -> tuple[str, ...]:
    field = section.model_fields.get(key)
    if field is None or get_origin(field.annotation) is not Literal:
        return ()
    return tuple(str(word) for word in get_args(field.annotation))


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "a package without a name"


def _unusable(point: EntryPoint, why: str) -> UsageError:
    return UsageError(
        f"{point.value}: {why}\n"
        f"This plug-in ({point.group}, {point.name}) comes with the package {_package(point)}; "
        "fix that package or uninstall it"
    )
