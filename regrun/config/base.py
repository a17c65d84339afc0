"""What every section of a config shares: strictness, and the mark of per-member numbers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict


class Section(BaseModel):
    """A frozen part of the config: unknown keys are errors, nothing is coerced."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class PerMember:
    """Marks a field whose value may differ between the members of one stack.

    Every other field shapes tensors or control flow: members must agree on it to be
    trained together.
    """


PER_MEMBER = PerMember()

NonNegative = Annotated[float, Field(ge=0), PER_MEMBER]
Positive = Annotated[float, Field(gt=0), PER_MEMBER]
Rate = Annotated[float, Field(ge=0, le=1), PER_MEMBER]
Fraction = Annotated[float, Field(ge=0, lt=1), PER_MEMBER]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Selector = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Strict(False),
    BeforeValidator(_one_or_many, json_schema_input_type=str | list[str]),
]
"""Parameters by role (``weight``, ``bias``, ``norm``), name pattern (``hidden.*``), or ``all``."""

WEIGHT_ONLY: tuple[str, ...] = ("weight",)
