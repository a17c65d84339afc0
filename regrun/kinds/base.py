"""What every section of a config shares: strictness, and the marks of its keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.fields import FieldInfo
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

Family = Literal["noise", "norms", "augmentation", "decay", "training"]
"""What is switched on by a key, by the topic under which `regrun list` shows it."""


@dataclass(frozen=True)
class Facts:
    """Marks a key with what it computes and who published that.

    Both end the key's description in the schema, and are therefore not in its docstring. What is a
    section of its own has them as class variables instead.
    """

    family: Family
    line: str = ""
    """Describes one of several `Kinds`; a key has its docstring."""
    _: KW_ONLY
    formula: str
    source: str
    needs: str = ""
    """What it cannot do without; nothing if empty."""


class Kinds(dict[str, Facts]):
    """Marks a key that chooses between kinds: value → its facts."""


class Section(BaseModel):
    """A frozen part of the config: unknown keys are errors, nothing is coerced."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    @property
    def kind(self) -> str:
        """Its `name` or `type`: the word by which a config chooses this section."""
        fields = type(self).model_fields
        return str(getattr(self, "type" if "type" in fields else "name"))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Descriptions end with formula and source."""
        schema = handler(core_schema)
        described = handler.resolve_ref_schema(schema)
        if hasattr(cls, "formula") and hasattr(cls, "source"):
            _add(described, f"{cls.formula} ({cls.source}).")
        for name, field in cls.model_fields.items():
            for sentence in _told(field):
                _add(described["properties"][name], sentence)
        return schema


def _add(described: dict[str, Any], sentence: str) -> None:
    described["description"] = f"{described.get('description', '')} {sentence}".strip()


def _told(field: FieldInfo) -> Iterator[str]:
    """What the marks of a key say."""
    for mark in field.metadata:
        if isinstance(mark, Facts):
            yield f"{mark.formula} ({mark.source})."
        elif isinstance(mark, Kinds):
            for value in values_of(field.annotation):
                if value in mark:
                    facts = mark[value]
                    yield f"{value}: {facts.line} {facts.formula} ({facts.source})."


def values_of(annotation: Any) -> Iterator[str]:
    """The words of a literal, or of a union of literals."""
    for each in get_args(annotation):
        if isinstance(each, str):
            yield each
        else:
            yield from values_of(each)


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
