"""The boundary around the code of plug-ins: what it raises is its own, what it prints no result.

`guard` puts it around the methods of a class, once, when the class is registered.
"""

from __future__ import annotations

import ast
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, wraps
from math import isnan
from numbers import Integral, Real
from pathlib import Path
from types import FunctionType, GeneratorType, TracebackType
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import (
    CoreSchema,
    PydanticCustomError,
    PydanticKnownError,
    PydanticOmit,
    PydanticUseDefault,
    core_schema,
)

from regrun.errors import PluginError, RegrunError
from regrun.memory import is_shortage

FILES = "plugin_file"
"""The package, which is none on disk, of the modules that single files become."""

_PASSING = (RegrunError, GeneratorExit)

_OF_VALIDATORS = (
    ValidationError,
    PydanticCustomError,
    PydanticKnownError,
    PydanticOmit,
    PydanticUseDefault,
)
"""By these a validator says what is wrong with a config."""


@dataclass(frozen=True)
class Origin:
    """Where a plug-in comes from.

    group: of its family. entry: the name of its entry point, or of its class in a file. value:
    what the entry point names. package: its name and version. file: its path, for a class of a
    file that is no package. digest: SHA-256 of its content. python: module and name of a class that
    a Python program gave. text: its source, where it can be read.
    """

    group: str
    entry: str
    value: str
    package: str
    file: str = ""
    digest: str = ""
    python: str = ""
    text: str = ""

    @property
    def source(self) -> str:
        """The package, the file or the class, as messages have it."""
        if self.python:
            return f"the Python class {self.python}"
        return f"the file {self.file}" if self.file else f"the package {self.package}"

    @property
    def module(self) -> str:
        """The top-level module of its code."""
        return FILES if self.file else _top(self.value.partition(":")[0])

    @property
    def _remedy(self) -> str:
        if self.python:
            return "fix that class"
        return f"fix that {'file' if self.file else 'package or uninstall it'}"

    def fault(self, what: str, error: BaseException | None = None) -> PluginError:
        """The plug-in's fault: what it is, and the error that it raised, if it raised one."""
        if error is not None:
            what = f"{what}: {described(error, self.module)}"
        details = "".join(traceback.format_exception(error)) if error is not None else ""
        return PluginError(
            f"{what}\n"
            f"This plug-in ({self.group}, {self.entry}) comes with {self.source}; {self._remedy}",
            details,
        )


class Boundary:
    """Runs a plug-in's code: errors become a `PluginError`, output goes to stderr.

    RegrunErrors pass, as plug-ins may raise them, and so does running out of memory.

    what: the code, for messages. passing: what else passes. package: the top-level package of the
    code; its errors pass where its own code called it, which may handle them.
    """

    __slots__ = ("_origin", "_package", "_passing", "_stdout", "_what")

    def __init__(
        self,
        origin: Origin,
        what: str,
        passing: tuple[type[BaseException], ...] = (),
        package: str = "",
    ) -> None:
        self._origin, self._what, self._passing = origin, what, passing
        self._package = package

    def __enter__(self) -> None:
        self._stdout, sys.stdout = sys.stdout, sys.stderr

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        sys.stdout = self._stdout
        if error is None or isinstance(error, (*_PASSING, *self._passing)) or _is_ctrl_c(error):
            return
        if is_shortage(error):
            return
        if self._package and _package_of(sys._getframe(2).f_globals) == self._package:
            return
        raise self._origin.fault(f"{self._what} failed", error) from error


def described(error: BaseException, module: str = "") -> str:
    """An error on one line: its type, its message, and where the code of a module raised it."""
    kind = type(error)
    if isinstance(error, SyntaxError):
        return f"{kind.__name__}: {error}"  # the message has file and line
    # Not by str(), which may fail as well.
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    text = kind.__name__ + text.removeprefix(f"{kind.__module__}.").removeprefix(kind.__qualname__)
    return f"{text}{place_of(error, module)}"


def place_of(error: BaseException, module: str) -> str:
    """`` (file:line)``: the last line of a top-level module that led to an error, or the last."""
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [each for each in frames if _package_of(each[0].f_globals) == module]
    for frame, line in reversed(own or frames):
        return f" ({Path(frame.f_code.co_filename).name}:{line})"
    return ""


def _is_ctrl_c(error: BaseException) -> bool:
    """Whether Python's own handler of SIGINT may have raised it."""
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, KeyboardInterrupt) and default


def _package_of(names: Mapping[str, Any]) -> str:
    return _top(str(names.get("__name__", "")))


def _top(module: str) -> str:
    return module.partition(".")[0]


def name_of(kind: type) -> str:
    """Module and name of a class, as messages have them."""
    return f"{kind.__module__.removeprefix(f'{FILES}.')}.{kind.__qualname__}"


def is_regrun(kind: type) -> bool:
    """Whether a class is part of regrun."""
    return kind.__module__.partition(".")[0] == "regrun"


def guard(kind: type, origin: Origin) -> None:
    """Put the boundary around the methods of a class that its base classes in regrun declare."""
    own = [each for each in kind.__mro__ if each is not object and not is_regrun(each)]
    own = [each for each in own if each not in BaseModel.__mro__]
    declared = {
        name: vars(base)[name]
        for base in reversed(kind.__mro__)
        if is_regrun(base)
        for name in vars(base)
        if not name.startswith("__") or name == "__init__"
    }
    for name, of_base in declared.items():
        found = next((vars(each)[name] for each in own if name in vars(each)), None)
        if found is None or (name == "__init__" and issubclass(kind, BaseModel)):
            continue
        what = f"{name_of(kind)}.{name}"
        guarded = _guarded(found, _returns(of_base), origin, what)
        if guarded is not None:
            setattr(kind, name, guarded)


def _guarded(found: Any, returns: str, origin: Origin, what: str) -> Any:
    """The same attribute behind the boundary; None for one that runs no code."""
    if isinstance(found, FunctionType):
        return _call(found, returns, origin, what)
    if isinstance(found, classmethod | staticmethod):
        return type(found)(_call(found.__func__, returns, origin, what))
    if isinstance(found, property) and found.fget is not None:
        return property(_call(found.fget, returns, origin, what), doc=found.__doc__)
    if isinstance(found, cached_property):
        return property(_call(found.func, returns, origin, what), doc=found.__doc__)
    return None


def _call(
    function: Callable[..., Any], returns: str, origin: Origin, what: str
) -> Callable[..., Any]:
    package = _package_of(getattr(function, "__globals__", {}))
    # Methods that change tensors in place return nothing, or what they changed.
    checked = returns not in ("", "None")
    is_right = check_of(ast.parse(returns, mode="eval").body) if checked else _anything

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with Boundary(origin, what, (), package):
            result = function(*args, **kwargs)
        if type(result) is GeneratorType:
            return _steps(result, origin, what)
        if not is_right(result):
            raise origin.fault(f"{what} gave {shown(result)}; it has to give {returns}")
        return result

    return guarded


def _steps(generator: Iterator[Any], origin: Origin, what: str) -> Iterator[Any]:
    """The same items, each computed behind the boundary."""
    end = object()
    while True:
        with Boundary(origin, what):
            item = next(generator, end)
        if item is end:
            return
        yield item


def guarded_schema(schema: CoreSchema, origin: Origin, kind: type) -> CoreSchema:
    """A schema whose validators run behind the boundary."""
    what = f"{name_of(kind)}: the check of its keys"

    def validate(value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
        with Boundary(origin, what, _OF_VALIDATORS):
            return handler(value)

    return core_schema.no_info_wrap_validator_function(validate, schema)


def shown(result: object) -> str:
    """A wrong result as messages have it: ``None``, ``a str``, ``a tensor of shape [2, 3]``."""
    if result is None or isinstance(result, float):
        return str(result)
    shape = getattr(result, "shape", None)
    of_shape = "" if shape is None else f" of shape {list(shape)}"
    kind = type(result)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}{of_shape}"


def _returns(of_base: Any) -> str:
    """The type that a method of a base class says that it returns."""
    function = getattr(of_base, "fget", None) or getattr(of_base, "__func__", of_base)
    return str(getattr(function, "__annotations__", {}).get("return", ""))


Check = Callable[[Any], bool]
"""Whether a value is of a type."""


def check_of(annotation: ast.expr) -> Check:
    """The check of a return type, as a base class writes it; of other types anything is right.

    >>> is_right = check_of(ast.parse("list[str] | None", mode="eval").body)
    >>> is_right(["a"]), is_right([1]), is_right(None)
    (True, False, True)
    """
    match annotation:
        case ast.BinOp(left=left, right=right):
            one, other = check_of(left), check_of(right)
            return lambda value: one(value) or other(value)
        case ast.Constant(value=None):
            return lambda value: value is None
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, values])):
            of_value = check_of(values)
            return lambda value: isinstance(value, dict) and all(map(of_value, value.values()))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[of, *rest])):
            checks = list(map(check_of, [of, *rest]))
            if isinstance(rest[0], ast.Constant):  # an ellipsis
                return lambda value: _is_list(value) and all(map(checks[0], value))
            return lambda value: (
                _is_list(value)
                and len(value) == len(checks)
                and all(check(each) for check, each in zip(checks, value, strict=True))
            )
        case ast.Subscript(value=ast.Name(id="list"), slice=of):
            of_item = check_of(of)
            return lambda value: _is_list(value) and all(map(of_item, value))
        case ast.Subscript(value=of):
            return check_of(of)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return _NAMED.get(name, _anything)
    return _anything


def _anything(value: Any) -> bool:
    return True


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is(*kinds: type) -> Check:
    return lambda value: isinstance(value, kinds)


def _is_named(name: str) -> Check:
    """Whether a value is of a class of this name, whose module need not be imported for it."""

    def is_right(value: Any) -> bool:
        kind = type(value)
        return kind.__name__ == name or any(each.__name__ == name for each in kind.__mro__)

    return is_right


def _is_array(value: Any) -> bool:
    """Whether it holds numbers; NaN is none."""
    import numpy as np

    numbers = isinstance(value, np.ndarray) and value.dtype.kind in "iuf"
    return numbers and not np.isnan(value).any()


_NAMED: Mapping[str, Check] = {
    **dict.fromkeys(("Decay", "Task", "str"), _is(str)),
    "Array": _is_array,
    "Coefficients": lambda value: isinstance(value, tuple) and len(value) == 2,
    "Iterator": _is(Iterator),
    "Mapping": _is(Mapping),
    "bool": lambda value: type(value).__name__ in ("bool", "bool_"),
    "Self": _is_named("Section"),
    "float": lambda value: isinstance(value, Real) and not isnan(value),
    "int": _is(Integral),
    **{
        name: _is_named(name)
        for name in ("Dataset", "Loss", "Memory", "Module", "Penalty", "Tensor")
    },
}
"""Name of a type → its check."""
