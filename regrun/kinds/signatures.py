"""The arguments of a plain class or function as keys of a config."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError

from regrun.kinds.base import PER_MEMBER

PLAIN = (bool, int, float, str)
ALLOWED = "bool, int, float, str, Literal, None, and list or tuple of these"
_VARIADIC = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
_DOCUMENTED = re.compile(r"^\s*(\w+)(?: \([^)]*\))?:[ \t]+(\S.*(?:\n\s{6,}\S.*)*)", re.MULTILINE)
"""An argument in a docstring, as Google's style has it."""


class UnusableError(ValueError):
    """Why arguments cannot be keys, with what to write instead."""


@dataclass(frozen=True)
class Arguments:
    """The arguments of a class or a function.

    keys: those that a config sets → type and pydantic field. supplied: those that regrun gives.
    """

    keys: Mapping[str, tuple[Any, Any]]
    supplied: tuple[str, ...]
    _hints: Mapping[str, Any] = field(default_factory=dict)

    def values(self, section: object) -> dict[str, object]:
        """What the keys of a section are as arguments: lists where lists are annotated."""
        return {name: _as_written(self._hints[name], getattr(section, name)) for name in self.keys}


def arguments_of(
    function: Callable[..., Any],
    supplied: Collection[str],
    reserved: type,
    *,
    skipped: int = 0,
    documentation: str = "",
) -> Arguments:
    """The arguments of a function, or of a constructor.

    Args:
        function: ``Net.__init__``, or a function.
        supplied: Names of arguments that regrun gives.
        reserved: The class whose attributes are no names of keys.
        skipped: Positional arguments at the front that are no keys, such as ``self``.
        documentation: Docstrings that may say what an argument is.

    Raises:
        UnusableError: An argument cannot be a key.
    """
    parameters = list(inspect.signature(function).parameters.values())[skipped:]
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        raise UnusableError(f"its annotations cannot be read: {error}") from error
    texts = {name: " ".join(text.split()) for name, text in _DOCUMENTED.findall(documentation)}
    keys, given, written = {}, [], {}
    for each in parameters:
        if each.kind in _VARIADIC:
            raise UnusableError(
                f"takes {_VARIADIC[each.kind]}{each.name}; write each argument with its type, "
                "such as width: int = 64"
            )
        if each.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise UnusableError(f"{each.name} is positional only; leave out the /")
        if each.name in supplied:
            given.append(each.name)
            continue
        if each.name.startswith("_") or each.name in _names(reserved):
            raise UnusableError(f"{each.name} is a name that regrun uses itself; choose another")
        if each.name not in hints:
            raise UnusableError(f"{each.name} has no type; write {_suggested(each)}")
        written[each.name] = hint = hints[each.name]
        kind = _key_type(hint, each.name)
        keys[each.name] = kind, Field(_default(each, kind), description=texts.get(each.name))
    return Arguments(keys, tuple(given), written)


def _names(reserved: type) -> set[str]:
    return {*dir(reserved), *getattr(reserved, "model_fields", ())}


def _suggested(each: inspect.Parameter) -> str:
    """The argument with a type, which its default shows."""
    kind = type(each.default)
    if each.default is inspect.Parameter.empty or kind not in PLAIN:
        return f"{each.name}: int, or another of {ALLOWED}"
    return f"{each.name}: {kind.__name__} = {each.default!r}"


def _default(each: inspect.Parameter, kind: Any) -> Any:
    if each.default is inspect.Parameter.empty:
        return ...
    try:
        return TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(each.default)
    except ValidationError as error:
        why = error.errors(include_url=False)[0]["msg"]
        raise UnusableError(
            f"{each.name} = {each.default!r} is not of its type: {why[0].lower()}{why[1:]}"
            + (f"; write {each.name}: … | None = None" if each.default is None else "")
        ) from error


def _key_type(hint: Any, name: str) -> Any:
    """The type of a key for an annotation; a list is read as a tuple, which cannot change."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        # Two members of a stack share the layers of one module, whatever a constructor does.
        marks = [mark for mark in hint.__metadata__ if mark is not PER_MEMBER]
        kind = _key_type(hint.__origin__, name)
        return Annotated[kind, *marks] if marks else kind
    if hint in (*PLAIN, None, type(None), Path):
        return str if hint is Path else hint
    if origin is Literal and all(isinstance(each, str) for each in inner):
        return hint
    if origin in (Union, types.UnionType):
        return reduce(or_, (_key_type(each, name) for each in inner))
    if origin in (list, Sequence) and inner:
        return _tuple(_key_type(inner[0], name), ...)
    if origin is tuple and inner:
        return _tuple(*(each if each is ... else _key_type(each, name) for each in inner))
    shown = hint.__name__ if isinstance(hint, type) else str(hint).removeprefix("typing.")
    if hint in (list, tuple, Sequence):
        raise UnusableError(f"{name}: {shown} says not of what; write {name}: list[int]")
    raise UnusableError(f"{name} is of the type {shown}, which a config cannot hold: {ALLOWED} can")


def _tuple(*items: Any) -> Any:
    """A tuple that may be written as a list."""
    return Annotated[types.GenericAlias(tuple, items), Strict(False)]


def _as_written(hint: Any, value: Any) -> Any:
    """The value of a key as its annotation has it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _as_written(hint.__origin__, value)
    if hint is Path:
        return Path(value)
    if origin in (Union, types.UnionType):
        wanted = (list, Sequence, tuple) if isinstance(value, tuple) else (None,)
        fitting = [each for each in inner if get_origin(each) in wanted and each is not type(None)]
        if isinstance(value, str) and str not in inner:
            fitting = [each for each in fitting if each is Path] or fitting
        return _as_written(fitting[0], value) if fitting and value is not None else value
    if origin in (list, Sequence):
        return [_as_written(inner[0], each) for each in value]
    if origin is tuple:
        kinds = [inner[0]] * len(value) if inner[-1] is ... else inner
        return tuple(_as_written(kind, each) for kind, each in zip(kinds, value, strict=True))
    return value
