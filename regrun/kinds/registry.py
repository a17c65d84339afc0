"""The registry: every kind that a config may name, built in or plugged in.

A family is one set of kinds that the same key chooses from. To add a kind to regrun, write its
class in a module of `regrun.kinds` and add it to its family here; a package of your own names the
class in an entry point instead (see `regrun.kinds.plugins`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema

from regrun.kinds.base import Section, tag_of
from regrun.kinds.constraints import Constraint, MaxNorm, NonNegative, UnitNorm
from regrun.kinds.datasets.base import DatasetSection
from regrun.kinds.datasets.bundled import BreastCancer, CaliforniaHousing, Diabetes, Digits, Wine
from regrun.kinds.datasets.csv_file import CSV
from regrun.kinds.datasets.image_folder import ImageFolder
from regrun.kinds.datasets.npz_file import NPZ
from regrun.kinds.datasets.synthetic import SyntheticLinear
from regrun.kinds.datasets.vision import CIFAR10, KMNIST, MNIST, FashionMNIST
from regrun.kinds.models import CNN, MLP, Linear, ModelSection, Torchvision
from regrun.kinds.optimizers.adagrad import Adagrad
from regrun.kinds.optimizers.adam import Adam, AdamW
from regrun.kinds.optimizers.base import Optimizer
from regrun.kinds.optimizers.fista import Fista
from regrun.kinds.optimizers.rmsprop import RMSprop
from regrun.kinds.optimizers.sgd import SGD
from regrun.kinds.penalties import (
    L1,
    L2,
    ActivityL1,
    ActivityL2,
    ElasticNet,
    GroupLasso,
    Orthogonal,
    Penalty,
    Spectral,
)
from regrun.kinds.plugins import sections
from regrun.kinds.schedules import Constant, Cosine, Schedule, StepDecay

BUILT_IN: Mapping[str, tuple[type[Section], ...]] = {
    "datasets": (
        SyntheticLinear, Digits, Diabetes, BreastCancer, Wine, CaliforniaHousing,
        MNIST, FashionMNIST, KMNIST, CIFAR10, CSV, NPZ, ImageFolder,
    ),
    "models": (Linear, MLP, CNN, Torchvision),
    "penalties": (
        L1, L2, ElasticNet, GroupLasso, Orthogonal, Spectral, ActivityL1, ActivityL2,
    ),
    "constraints": (MaxNorm, UnitNorm, NonNegative),
    "optimizers": (SGD, Adam, AdamW, RMSprop, Adagrad, Fista),
    "schedules": (Constant, StepDecay, Cosine),
}  # fmt: skip
"""Family → the classes of its built-in kinds, in the order in which they are listed."""

KINDS: Mapping[str, tuple[type[Section], ...]] = {
    family: (*built_in, *sections(f"regrun.{family}", built_in))
    for family, built_in in BUILT_IN.items()
}
"""Family → the classes of all its kinds, those of installed packages last."""


def union(kinds: tuple[type[Section], ...]) -> Any:
    """The type of a section of any of these kinds, told apart by their `name` or `type`."""
    tag = "name" if "name" in kinds[0].model_fields else "type"
    return Annotated[reduce(or_, kinds), Field(discriminator=tag)]


if TYPE_CHECKING:  # a type checker sees what all kinds of a family have in common
    AnyDataset = DatasetSection
    AnyModel = ModelSection
    AnyPenalty = Penalty
    AnyConstraint = Constraint
    AnyOptimizer = Optimizer
    AnySchedule = Schedule
else:
    AnyDataset = union(KINDS["datasets"])
    AnyModel = union(KINDS["models"])
    AnyPenalty = union(KINDS["penalties"])
    AnyConstraint = union(KINDS["constraints"])
    AnyOptimizer = union(KINDS["optimizers"])
    AnySchedule = union(KINDS["schedules"])


def as_list(value: Any) -> Any:
    """Bring none, one or many to a list; a list of sections passes untouched.

    `{type: none, …}` is nothing whatever its other keys, so that `penalty.type` can be an axis.
    """
    if value is None or value == "none":
        return []
    items = [value] if isinstance(value, Mapping) else value
    if not isinstance(items, list | tuple):
        return items
    return [
        item for item in items if not (isinstance(item, Mapping) and item.get("type") == "none")
    ]


def _constraints_as_list(value: Any) -> Any:
    if value is None or value == "none":
        return []
    return [value] if isinstance(value, Mapping) else value


def _as_section(value: Any) -> Any:
    """A name alone stands for the section of that type with its defaults."""
    return {"type": value} if isinstance(value, str) else value


_Nothing = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {"type": "object", "properties": {"type": {"const": "none"}}, "required": ["type"]}
    ),
]

Penalties = Annotated[
    tuple[AnyPenalty, ...],
    Strict(False),
    BeforeValidator(
        as_list,
        json_schema_input_type=Literal["none"]
        | AnyPenalty
        | _Nothing
        | list[AnyPenalty | _Nothing]
        | None,
    ),
]
Constraints = Annotated[
    tuple[AnyConstraint, ...],
    Strict(False),
    BeforeValidator(
        _constraints_as_list,
        json_schema_input_type=Literal["none"] | AnyConstraint | list[AnyConstraint] | None,
    ),
]


def names_alone(kinds: tuple[type[Section], ...]) -> tuple[str, ...]:
    """Return the names of the kinds without required keys, which a name alone can stand for."""
    return tuple(
        name
        for kind in kinds
        for name in get_args(kind.model_fields[tag_of(kind)].annotation)
        if not any(
            field.is_required() for key, field in kind.model_fields.items() if key != tag_of(kind)
        )
    )


if TYPE_CHECKING:
    ScheduleName = str
else:
    ScheduleName = Literal[names_alone(KINDS["schedules"])]

ScheduleOrName = Annotated[
    AnySchedule,
    BeforeValidator(_as_section, json_schema_input_type=ScheduleName | AnySchedule),
]
DEFAULT_SCHEDULE = Constant(type="constant")
DEFAULT_OPTIMIZER: str = SGD.model_fields["name"].default
"""The optimizer of a section without a `name`."""
