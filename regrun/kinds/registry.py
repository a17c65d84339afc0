"""The registry: every kind that a config may name, built in or from a plug-in.

A family is one set of kinds that the same key chooses from. To add a kind to regrun, write its
class in a module of `regrun.kinds` and add one line to `REGISTERED`. A package of your own names
the class in an entry point instead; see `regrun.kinds.plugins`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, Strict, WithJsonSchema

from regrun.kinds.base import Section, names_of, tag_of
from regrun.kinds.losses import Auto
from regrun.kinds.optimizers.sgd import SGD
from regrun.kinds.plugins import sections
from regrun.kinds.schedules import Constant

if TYPE_CHECKING:
    from regrun.kinds.constraints import Constraint
    from regrun.kinds.datasets.base import DatasetSection
    from regrun.kinds.losses import LossSetting
    from regrun.kinds.models import ModelSection
    from regrun.kinds.optimizers.base import Optimizer
    from regrun.kinds.penalties import Penalty
    from regrun.kinds.schedules import Schedule

REGISTERED: Mapping[str, tuple[str, ...]] = {
    "datasets": (
        "regrun.kinds.datasets.synthetic:SyntheticLinear",
        "regrun.kinds.datasets.bundled:Digits",
        "regrun.kinds.datasets.bundled:Diabetes",
        "regrun.kinds.datasets.bundled:BreastCancer",
        "regrun.kinds.datasets.bundled:Wine",
        "regrun.kinds.datasets.bundled:CaliforniaHousing",
        "regrun.kinds.datasets.vision:MNIST",
        "regrun.kinds.datasets.vision:FashionMNIST",
        "regrun.kinds.datasets.vision:KMNIST",
        "regrun.kinds.datasets.vision:CIFAR10",
        "regrun.kinds.datasets.table:CSV",
        "regrun.kinds.datasets.npz:NPZ",
        "regrun.kinds.datasets.image_folder:ImageFolder",
    ),
    "models": (
        "regrun.kinds.models.builtin:Linear",
        "regrun.kinds.models.builtin:MLP",
        "regrun.kinds.models.builtin:CNN",
        "regrun.kinds.models.torchvision:Torchvision",
    ),
    "losses": (
        "regrun.kinds.losses:MSE",
        "regrun.kinds.losses:HalfMSE",
        "regrun.kinds.losses:Huber",
        "regrun.kinds.losses:CrossEntropy",
        "regrun.kinds.losses:BinaryCrossEntropy",
    ),
    "penalties": (
        "regrun.kinds.penalties.l1_l2:L1",
        "regrun.kinds.penalties.l1_l2:L2",
        "regrun.kinds.penalties.l1_l2:ElasticNet",
        "regrun.kinds.penalties.start:L2SP",
        "regrun.kinds.penalties.concave:MCP",
        "regrun.kinds.penalties.concave:SCAD",
        "regrun.kinds.penalties.matrix:GroupLasso",
        "regrun.kinds.penalties.matrix:Orthogonal",
        "regrun.kinds.penalties.matrix:Spectral",
        "regrun.kinds.penalties.activity:ActivityL1",
        "regrun.kinds.penalties.activity:ActivityL2",
    ),
    "constraints": (
        "regrun.kinds.constraints:MaxNorm",
        "regrun.kinds.constraints:UnitNorm",
        "regrun.kinds.constraints:NonNegative",
        "regrun.kinds.constraints:MaxSpectralNorm",
    ),
    "optimizers": (
        "regrun.kinds.optimizers.sgd:SGD",
        "regrun.kinds.optimizers.adam:Adam",
        "regrun.kinds.optimizers.adam:AdamW",
        "regrun.kinds.optimizers.adaptive:RMSprop",
        "regrun.kinds.optimizers.adaptive:Adagrad",
        "regrun.kinds.optimizers.fista:Fista",
    ),
    "schedules": (
        "regrun.kinds.schedules:Constant",
        "regrun.kinds.schedules:StepDecay",
        "regrun.kinds.schedules:MultiStep",
        "regrun.kinds.schedules:Cosine",
        "regrun.kinds.schedules:CosineRestarts",
        "regrun.kinds.schedules:OneCycle",
        "regrun.kinds.schedules:Plateau",
    ),
}
"""Family → module and class of each built-in kind, in the order in which they are listed.

The notation is that of entry points, so that adding a kind is one line here, as it is in a package.
"""

BUILT_IN: Mapping[str, tuple[type[Section], ...]] = {
    family: tuple(map(resolve_name, paths)) for family, paths in REGISTERED.items()
}
"""Family → the classes of its built-in kinds."""

KINDS: Mapping[str, tuple[type[Section], ...]] = {
    family: (*built_in, *sections(f"regrun.{family}", built_in))
    for family, built_in in BUILT_IN.items()
}
"""Family → the classes of all its kinds, those of installed packages last."""


def union(kinds: tuple[type[Section], ...]) -> Any:
    """Return the type of a section of any of these kinds, chosen by its `name` or `type`."""
    return Annotated[reduce(or_, kinds), Field(discriminator=tag_of(kinds[0]))]


if TYPE_CHECKING:  # a type checker sees what all kinds of a family have in common
    AnyDataset = DatasetSection
    AnyModel = ModelSection
    AnyLoss = LossSetting
    AnyPenalty = Penalty
    AnyConstraint = Constraint
    AnyOptimizer = Optimizer
    AnySchedule = Schedule
else:
    AnyDataset = union(KINDS["datasets"])
    AnyModel = union(KINDS["models"])
    AnyLoss = union((Auto, *KINDS["losses"]))
    AnyPenalty = union(KINDS["penalties"])
    AnyConstraint = union(KINDS["constraints"])
    AnyOptimizer = union(KINDS["optimizers"])
    AnySchedule = union(KINDS["schedules"])


def _as_list(value: Any) -> Any:
    """Bring none, one or many sections to a list."""
    if value is None or value is False or value in ("none", {}):
        return []
    return [value] if isinstance(value, Mapping) else value


def _penalties_as_list(value: Any) -> Any:
    """Drop `{type: none, …}` too, whatever else it has: `penalty.type` can then be an axis."""
    items = _as_list(value)
    if not isinstance(items, list | tuple):
        return items
    return [
        item for item in items if not (isinstance(item, Mapping) and item.get("type") == "none")
    ]


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
        _penalties_as_list,
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
        _as_list,
        json_schema_input_type=Literal["none"] | AnyConstraint | list[AnyConstraint] | None,
    ),
]


def _schedule(value: Any) -> Any:
    if value is None or value is False or value == "none":
        return {"type": "constant"}
    return _as_section(value)


def _as_section(value: Any) -> Any:
    """A name alone stands for that type with its defaults."""
    return {"type": value} if isinstance(value, str) else value


def _names_alone(kinds: tuple[type[Section], ...]) -> tuple[str, ...]:
    """Names of the kinds without required keys, so that a name alone can stand for them."""
    return tuple(
        name
        for kind in kinds
        for name in names_of(kind)
        if not any(
            field.is_required() for key, field in kind.model_fields.items() if key != tag_of(kind)
        )
    )


def _shortest(section: Section) -> str | dict[str, Any]:
    """A section without keys as its name alone."""
    keys = section.model_dump()
    return str(keys[tag_of(type(section))]) if len(keys) == 1 else keys


if TYPE_CHECKING:
    ScheduleName = str
    LossName = str
else:
    ScheduleName = Literal[_names_alone(KINDS["schedules"])]
    LossName = Literal[_names_alone((Auto, *KINDS["losses"]))]

ScheduleOrName = Annotated[
    AnySchedule,
    BeforeValidator(_schedule, json_schema_input_type=ScheduleName | AnySchedule),
]
LossOrName = Annotated[
    AnyLoss,
    BeforeValidator(_as_section, json_schema_input_type=LossName | AnyLoss),
    PlainSerializer(_shortest),
]
DEFAULT_LOSS = Auto(type="auto")
DEFAULT_SCHEDULE = Constant(type="constant")
DEFAULT_OPTIMIZER: str = SGD.model_fields["name"].default
"""The optimizer of a section without a `name`."""
