"""The tables of datasets, models and penalties: regrun's own sections, and those of plug-ins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema

from regrun.config.datasets import (
    CIFAR10,
    CSV,
    KMNIST,
    MNIST,
    NPZ,
    BreastCancer,
    CaliforniaHousing,
    Diabetes,
    Digits,
    FashionMNIST,
    ImageFolder,
    SyntheticLinear,
    Wine,
)
from regrun.config.models import CNN, MLP, Linear, Torchvision
from regrun.config.penalties import (
    L1,
    L2,
    ActivityL1,
    ActivityL2,
    ElasticNet,
    GroupLasso,
    Orthogonal,
    Spectral,
)
from regrun.config.plugins import with_plugins

Dataset = Annotated[
    SyntheticLinear
    | Digits
    | Diabetes
    | BreastCancer
    | Wine
    | CaliforniaHousing
    | MNIST
    | FashionMNIST
    | KMNIST
    | CIFAR10
    | CSV
    | NPZ
    | ImageFolder,
    Field(discriminator="name"),
]
Model = Annotated[Linear | MLP | CNN | Torchvision, Field(discriminator="name")]
Penalty = Annotated[
    L1 | L2 | ElasticNet | GroupLasso | Orthogonal | Spectral | ActivityL1 | ActivityL2,
    Field(discriminator="type"),
]

if not TYPE_CHECKING:  # a type checker knows the built-in sections only
    Dataset = with_plugins("regrun.datasets", Dataset)
    Model = with_plugins("regrun.models", Model)
    Penalty = with_plugins("regrun.penalties", Penalty)


def _as_list(value: Any) -> Any:
    """Bring none, one or many to a list; a list passes untouched.

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


_Nothing = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {"type": "object", "properties": {"type": {"const": "none"}}, "required": ["type"]}
    ),
]
_Written = Literal["none"] | Penalty | _Nothing | list[Penalty | _Nothing] | None

Penalties = Annotated[
    tuple[Penalty, ...],
    Strict(False),
    BeforeValidator(_as_list, json_schema_input_type=_Written),
]
