"""Sections of a config: frozen pydantic models, and the marks of their keys.

A *kind* is a section that a config chooses by its `name` or `type`; its class also holds its
formula, its reference and its arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

from regrun.errors import PluginError
from regrun.kinds.boundary import Boundary, Origin, guarded_schema, name_of
from regrun.kinds.docstrings import description

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.fields import FieldInfo
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema
    from torch import Tensor

    from regrun.config.schema import Config
    from regrun.errors import Problem

Topic = Literal["noise", "norms", "augmentation", "decay", "training"]
"""Topics of `regrun list` whose entries are keys, or values of keys."""


@dataclass(frozen=True)
class Described:
    """Marks a key with what it computes and who published it.

    Formula and reference end the key's description in the JSON Schema. A kind has them as class
    variables instead.
    """

    topic: Topic
    summary: str = ""
    """One sentence on one of several `Choices`; a key has its docstring instead."""
    _: KW_ONLY
    formula: str
    reference: str
    needs: str = ""
    """What it requires, such as ``images``; empty: nothing."""
    off: Any = None
    """The value that switches it off, as `regrun ablate` and the next steps use it."""
    regularizes: bool = True
    """Whether `regrun ablate` treats a key that is not `off` as an ingredient."""


class Choices(dict[str, Described]):
    """Marks a key that chooses between several things: value → its description."""


class Section(BaseModel):
    """A frozen part of the config: unknown keys are errors, nothing is coerced."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _switched_off(cls, value: Any) -> Any:
        """Read `none` and `false` as null where null switches a key off."""
        if not isinstance(value, Mapping):
            return value
        off = [
            key
            for key in switchable(cls)
            if key in value and (value[key] is False or value[key] == "none")
        ]
        return {**value, **dict.fromkeys(off)} if off else value

    formula: ClassVar[str]
    """What the kind computes, in symbols."""
    reference: ClassVar[str]
    """Who published it: author and year, section where that helps."""
    plugin_origin: ClassVar[Origin | None] = None
    """Where the class of a plug-in comes from; None: it is regrun's own."""

    @property
    def kind(self) -> str:
        """The `name` or `type` by which a config chooses this section."""
        return str(getattr(self, tag_of(type(self))))

    def conflicts(self, config: Config) -> Iterator[Problem]:
        """Yield what this section asks of the others in a valid config and cannot have.

        Args:
            config: The whole config that this section is a part of.

        Yields:
            Problems whose path starts at this section: ``("method",)`` for its own key `method`.
        """
        return iter(())

    def idle(self, config: Config, steps_per_epoch: int) -> Iterator[Problem]:
        """Yield what is set here and has no effect in a single run of a valid config.

        Such a config is valid: in a sweep, or with more epochs, the key may have its effect.

        Args:
            config: The whole config that this section is a part of.
            steps_per_epoch: Steps of one epoch.

        Yields:
            Notes whose path starts at this section, as those of `conflicts`.
        """
        return iter(())

    def numbers(self) -> dict[str, float]:
        """Return the values of its `PerMember` keys, where they are numbers."""
        return {
            name: value
            for name, field in type(self).model_fields.items()
            if PER_MEMBER in field.metadata
            and isinstance(value := getattr(self, name), int | float)
        }

    def structure(self) -> tuple[Any, ...]:
        """All that shapes tensors or control flow: equal for members of one stack."""
        parts: list[Any] = [type(self).__name__]
        for name, field in type(self).model_fields.items():
            if PER_MEMBER not in field.metadata:
                value = getattr(self, name)
                if isinstance(value, Section):
                    value = value.structure()
                parts.append((name, tuple(value.items()) if isinstance(value, dict) else value))
        return tuple(parts)

    @classmethod
    def undefined(cls) -> list[str]:
        """Return the names of the methods that a kind has to define and this class does not."""
        return sorted(cls.__abstractmethods__)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Accept `source`, the name of `reference` in plug-ins for regrun 0.1."""
        super().__pydantic_init_subclass__(**kwargs)
        if "source" in vars(cls) and "reference" not in vars(cls):
            cls.reference = vars(cls)["source"]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let the validators of a plug-in run behind its boundary."""
        schema = handler(source)
        origin = cls.plugin_origin
        return schema if origin is None else guarded_schema(schema, origin, cls)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the keys by their docstrings; append formulas and references."""
        schema = handler(core_schema)
        described = handler.resolve_ref_schema(schema)
        if hasattr(cls, "formula") and hasattr(cls, "reference"):
            _append(described, f"{cls.formula} ({cls.reference}).")
        for name, field in cls.model_fields.items():
            if text := " ".join(filter(None, [description(cls, name), *sentences(field)])):
                described["properties"][name]["description"] = text
        return schema


@cache
def switchable(kind: type[BaseModel]) -> tuple[str, ...]:
    """The keys whose null means off, and that hold neither strings nor booleans otherwise."""

    def types_in(annotation: Any) -> Iterator[Any]:
        inner = get_args(annotation)
        if get_origin(annotation) is Literal or not inner:
            yield annotation
        elif get_origin(annotation) is Annotated:
            yield from types_in(inner[0])
        else:
            for each in inner:
                yield from types_in(each)

    def is_switch(annotation: Any) -> bool:
        found = set(types_in(annotation))
        words = [word for each in found for word in get_args(each)]
        return type(None) in found and not found & {str, bool} and "none" not in words

    return tuple(name for name, field in kind.model_fields.items() if is_switch(field.annotation))


def running(section: Section, what: str) -> AbstractContextManager[None]:
    """A context for code of a section's plug-in that is no method of its class: ``forward``."""
    origin = section.plugin_origin
    return (
        nullcontext() if origin is None else Boundary(origin, f"{name_of(type(section))}: {what}")
    )


def wrong(section: Section, method: str, why: str) -> PluginError:
    """The error for what a method of a section gave. why: that, and what it has to give.

    method: empty where the section is a function.
    """
    what = f"{'.'.join(filter(None, [name_of(type(section)), method]))} {why}"
    origin = section.plugin_origin
    return PluginError(what) if origin is None else origin.fault(what)


def tag_of(kind: type[Section]) -> str:
    """The key that chooses a kind: ``type`` or ``name``."""
    return "type" if "type" in kind.model_fields else "name"


def names_of(kind: type[Section]) -> tuple[str, ...]:
    """The names by which a config chooses a kind; none where its tag is not a literal."""
    field = kind.model_fields.get(tag_of(kind))
    if field is None or get_origin(field.annotation) is not Literal:
        return ()
    return tuple(str(name) for name in get_args(field.annotation))


def listed(selector: Sequence[str]) -> str:
    """A selector as `regrun inspect` shows it: ``[weight, bias]``."""
    return f"[{', '.join(selector)}]"


def expand_members(numbers: Tensor, like: Tensor) -> Tensor:
    """View numbers so that they broadcast against a stacked tensor, member by member.

    Args:
        numbers: (K,), one for each member.
        like: (K, ...).

    Returns:
        (K, 1, …, 1), with as many axes as `like`; dtype and device stay.
    """
    return numbers.view(-1, *[1] * (like.dim() - 1))


def _append(described: dict[str, Any], sentence: str) -> None:
    described["description"] = f"{described.get('description', '')} {sentence}".strip()


def marks_of(field: FieldInfo) -> Iterator[tuple[str, Described]]:
    """The mark of a key, as ``("", mark)``, or those of its values."""
    for mark in field.metadata:
        if isinstance(mark, Described):
            yield "", mark
        elif isinstance(mark, Choices):
            values = values_of(field.annotation)
            yield from ((value, mark[value]) for value in values if value in mark)


def sentences(field: FieldInfo) -> Iterator[str]:
    """What the marks of a key add to its description."""
    for value, mark in marks_of(field):
        computed = f"{mark.formula} ({mark.reference})."
        yield f"{value}: {mark.summary} {computed}" if value else computed


def values_of(annotation: Any) -> Iterator[str]:
    """The strings of a literal, or of a union of literals."""
    for each in get_args(annotation):
        if isinstance(each, str):
            yield each
        else:
            yield from values_of(each)


@dataclass(frozen=True)
class PerMember:
    """Marks a key that may differ between the members of one stack.

    Every other key shapes tensors or control flow, so members must agree on it.
    """


PER_MEMBER = PerMember()

NonNegative = Annotated[float, Field(ge=0), PER_MEMBER]
Positive = Annotated[float, Field(gt=0), PER_MEMBER]
Rate = Annotated[float, Field(ge=0, le=1), PER_MEMBER]
Fraction = Annotated[float, Field(ge=0, lt=1), PER_MEMBER]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]

Selector = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Strict(False),
    BeforeValidator(
        lambda value: [value] if isinstance(value, str) else value,
        json_schema_input_type=str | list[str],
    ),
]
"""Parameters by role (``weight``, ``bias``, ``norm``), name pattern (``hidden.*``), or ``all``."""

WEIGHT_ONLY: tuple[str, ...] = ("weight",)
