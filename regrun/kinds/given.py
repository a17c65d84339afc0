"""A network that a Python program gives by its class, for as long as a call lasts.

The class belongs to the call and not to the config, which is data. What reads configs within the
call asks here, as the kinds of a process are settled when they are imported.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

from regrun.errors import UsageError
from regrun.kinds.base import names_of
from regrun.kinds.boundary import Origin
from regrun.kinds.models import ModelSection
from regrun.kinds.plain import plain_kind
from regrun.kinds.plugins import accept
from regrun.kinds.registry import KINDS
from regrun.kinds.signatures import UnusableError

GROUP = "regrun.models"

_given: ContextVar[type[ModelSection] | None] = ContextVar("given", default=None)


def given() -> type[ModelSection] | None:
    """The kind of the network that the call was given."""
    return _given.get()


@contextmanager
def giving(model: Any) -> Iterator[None]:
    """Let configs name the class of a network within the block; None: no more than before.

    Raises UsageError for what is no usable class.
    """
    if model is not None and not isinstance(model, type):
        kind = type(model).__name__
        raise UsageError(
            f"model={kind}(…): give the class, model={kind}; its arguments are keys of the config, "
            f'such as {{"model": {{"width": 64}}}}'
        )
    section = None if model is None else _section_of(model)
    token = _given.set(section)
    try:
        yield
    finally:
        _given.reset(token)


@functools.cache
def _section_of(model: type) -> type[ModelSection]:
    where = f"{model.__module__}.{model.__qualname__}"
    try:
        source = inspect.getsource(model)
    except (OSError, TypeError):  # typed into a plain interpreter
        source = ""
    origin = Origin(
        GROUP,
        model.__name__,
        where,
        "",
        digest=sha256(source.encode()).hexdigest() if source else "",
        python=where,
        text=source,
    )
    taken = [name for kind in KINDS["models"] for name in names_of(kind)]
    if model.__name__ in taken:
        raise UsageError(f"model={model.__name__}: there is such a model already; rename the class")
    try:
        section = plain_kind(model, partial(replace, origin))
    except UnusableError as error:
        raise UsageError(f"{_place(model, where)}: {error}") from error
    if section is None or not issubclass(section, ModelSection):
        raise UsageError(f"model={model.__name__}: it is not derived from torch.nn.Module")
    accepted = accept(section, ModelSection, origin)
    assert issubclass(accepted, ModelSection)
    return accepted


def _place(model: type, where: str) -> str:
    """File and line of a class, or its name alone."""
    file = getattr(sys.modules.get(model.__module__), "__file__", None)
    try:
        return f"{file}:{inspect.getsourcelines(model)[1]}: {model.__name__}" if file else where
    except (OSError, TypeError):
        return where
