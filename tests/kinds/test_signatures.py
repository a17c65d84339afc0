"""Arguments of plain classes as keys: the types that are taken, and what is said of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from regrun.kinds.base import PER_MEMBER
from regrun.kinds.models import ModelSection
from regrun.kinds.signatures import UnusableError, arguments_of
from regrun.plugins import Rate

SUPPLIED = ("in_features",)


def section(function: Callable[..., Any]) -> tuple[type[BaseModel], Callable[[BaseModel], Any]]:
    """A model of pydantic with the arguments as keys, and what gives them back."""
    found = arguments_of(function, SUPPLIED, ModelSection)
    keys: dict[str, Any] = dict(found.keys)
    strict = ConfigDict(strict=True, extra="forbid")
    return create_model("Keys", __config__=strict, **keys), found.values


def takes(hint: Any, *default: Any) -> Callable[..., Any]:
    """A function with one argument `key`."""

    def function(key): ...  # type: ignore[no-untyped-def]

    function.__annotations__["key"] = hint
    function.__defaults__ = default
    return function


@pytest.mark.parametrize(
    ("hint", "written", "given"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (bool, True, True),
        (str, "a", "a"),
        (Literal["a", "b"], "b", "b"),
        (int | None, None, None),
        (Literal["a"] | None, "a", "a"),
        (list[int], [1, 2], [1, 2]),
        (Sequence[float], [1, 2], [1.0, 2.0]),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (list[list[int]], [[1], [2, 3]], [[1], [2, 3]]),
        (list[int] | None, [1], [1]),
        (int | list[int], [1], [1]),
        (int | list[int], 1, 1),
        (Path, "a/b", Path("a/b")),
        (Path | None, "a/b", Path("a/b")),
        (Annotated[int, Field(ge=1)], 2, 2),
    ],
)
def test_an_argument_gets_what_the_config_says(hint: Any, written: Any, given: Any) -> None:
    keys, values = section(takes(hint))
    found = values(keys.model_validate({"key": written}))["key"]
    assert (found, type(found)) == (given, type(given))
    defaulted, values = section(takes(hint, given if hint not in (Path, Path | None) else written))
    assert values(defaulted.model_validate({}))["key"] == given


@pytest.mark.parametrize(
    ("hint", "written"),
    [
        (int, 3.5),
        (int, "3"),
        (int, True),
        (Literal["a"], "b"),
        (list[int], [1, "a"]),
        (tuple[int, str], [1]),
        (Rate, 1.5),
        (int, None),
    ],
)
def test_a_value_of_another_type_is_refused(hint: Any, written: Any) -> None:
    keys, _ = section(takes(hint))
    with pytest.raises(ValidationError):
        keys.model_validate({"key": written})


def test_a_key_does_not_differ_between_members_of_a_stack() -> None:
    keys, _ = section(takes(Rate))
    assert PER_MEMBER not in keys.model_fields["key"].metadata


def variadic(*sizes: int) -> None: ...


def keywords(**options: int) -> None: ...


def positional(width: int, /) -> None: ...


def untyped(width=64) -> None: ...  # type: ignore[no-untyped-def]


def bare(width) -> None: ...  # type: ignore[no-untyped-def]


def taken(kind: str) -> None: ...


def private(_width: int) -> None: ...


def unknown(width: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (variadic, r"takes \*sizes; write each argument with its type"),
        (keywords, r"takes \*\*options; write each argument"),
        (positional, "width is positional only; leave out the /"),
        (untyped, "width has no type; write width: int = 64"),
        (bare, "width has no type; write width: int, or another of bool"),
        (taken, "kind is a name that regrun uses itself; choose another"),
        (private, "_width is a name that regrun uses itself"),
        (unknown, "its annotations cannot be read: name 'Nowhere' is not defined"),
        (takes(int, None), r"key = None is not of its type: .*; write key: … \| None = None"),
        (takes(int, "a"), "key = 'a' is not of its type: input should be a valid integer"),
        (takes(object), "key is of the type object, which a config cannot hold: bool"),
        (takes(list), r"key: list says not of what; write key: list\[int\]"),
        (takes(Callable[..., int]), "key is of the type .*Callable"),
        (takes(dict[str, int]), "which a config cannot hold"),
        (takes(Literal[1]), "which a config cannot hold"),
    ],
)
def test_what_cannot_be_a_key_is_said_with_what_to_write(
    function: Callable[..., Any], why: str
) -> None:
    with pytest.raises(UnusableError, match=why):
        section(function)


def test_arguments_that_regrun_gives_are_no_keys() -> None:
    def network(in_features, width: int = 3): ...  # type: ignore[no-untyped-def]

    found = arguments_of(network, SUPPLIED, ModelSection, documentation="Args:\n    width: Units.")
    assert (list(found.keys), found.supplied) == (["width"], ("in_features",))
    assert found.keys["width"][1].description == "Units."
