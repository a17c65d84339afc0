"""The table of penalties: a class a type, with its formula.

Each adds to the objective. w runs over the entries of the parameters in `apply_to`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema

from regrun.config.base import PER_MEMBER, WEIGHT_ONLY, NonNegative, Section, Selector


class PenaltySection(Section):
    """Keys that every penalty has."""

    formula: ClassVar[str]
    source: ClassVar[str]

    strength: NonNegative
    """λ; 0 is exactly no penalty."""
    apply_to: Selector = WEIGHT_ONLY
    """Roles (`weight`, `bias`, `norm`), name patterns, or `all`."""


class L1(PenaltySection):
    """Sum of absolute values (lasso)."""

    formula: ClassVar[str] = "λ Σ|w|"
    source: ClassVar[str] = "Tibshirani 1996"
    type: Literal["l1"]
    method: Literal["gradient"] = "gradient"


class L2(PenaltySection):
    """Sum of squares (ridge, Tikhonov)."""

    formula: ClassVar[str] = "½ λ Σ w²  (half: false: λ Σ w²)"
    source: ClassVar[str] = "Hoerl & Kennard 1970"
    type: Literal["l2"]
    half: bool = True
    """True: ½ λ Σ w², which under plain SGD is `weight_decay: λ`. False: λ Σ w², as Keras."""
    method: Literal["gradient"] = "gradient"


class ElasticNet(PenaltySection):
    """L1 and L2 mixed by `l1_ratio`."""

    formula: ClassVar[str] = "λ (ρ Σ|w| + (1−ρ) ½ Σ w²)  (half: false: without the ½)"
    source: ClassVar[str] = "Zou & Hastie 2005; scikit-learn's convention"
    type: Literal["elastic_net"]
    l1_ratio: Annotated[float, Field(ge=0, le=1), PER_MEMBER] = 0.5
    """ρ: 1 is all L1, 0 is all L2."""
    half: bool = True
    method: Literal["gradient"] = "gradient"


Penalty = Annotated[L1 | L2 | ElasticNet, Field(discriminator="type")]


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
