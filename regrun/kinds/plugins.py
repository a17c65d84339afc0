"""Section classes of other installed packages, and of single files.

A package names them as entry points of the group of their family (see `GROUPS`). Of the files that
an environment variable names (`FILES`), each class counts. Like regrun's own,
a class has a literal `name` or `type`, its fields are its keys, its docstring is its line in
`regrun list`, and it defines the abstract methods of its base class in `regrun.plugins`.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, ClassVar, cast, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from regrun.errors import PluginError
from regrun.kinds.base import Section, names_of, tag_of
from regrun.kinds.boundary import FILES as FILE_MODULES
from regrun.kinds.boundary import Boundary, Origin, guard, is_regrun
from regrun.kinds.constraints import Constraint
from regrun.kinds.datasets import DatasetSection
from regrun.kinds.losses import Loss
from regrun.kinds.models import ModelSection
from regrun.kinds.optimizers.base import Optimizer
from regrun.kinds.penalties import WeightPenalty
from regrun.kinds.plain import plain_kind
from regrun.kinds.schedules import Schedule
from regrun.kinds.signatures import UnusableError

GROUPS: Mapping[str, type[Section]] = {
    "regrun.models": ModelSection,
    "regrun.datasets": DatasetSection,
    "regrun.losses": Loss,
    "regrun.penalties": WeightPenalty,
    "regrun.constraints": Constraint,
    "regrun.optimizers": Optimizer,
    "regrun.schedules": Schedule,
}
"""Entry-point group → what its classes derive from."""


FILES = "REGRUN_PLUGINS"
"""The environment variable that names files, separated as in PATH; `--plugin` adds to it.

It reaches worker processes too. What it names counts where the kinds have not been imported yet.
"""


def sections(group: str, built_in: Sequence[type[Section]] = ()) -> list[type[Section]]:
    """The section classes of a group: of packages by name, then of files. Raises PluginError."""
    taken = dict.fromkeys((name for kind in built_in for name in names_of(kind)), "regrun")
    found = []
    for origin, load in (*_in_packages(group), *_in_files(group)):
        with Boundary(origin, f"{origin.value}: its import"):
            loaded = load()
        try:
            kind = plain_kind(loaded, partial(replace, origin)) or loaded
        except UnusableError as error:
            raise _unusable(origin, str(error)) from error
        section = accept(kind, GROUPS[group], origin)
        for name in names_of(section):
            if name in taken:
                why = f"{tag_of(section)}: {name} is taken by {taken[name]}"
                raise _unusable(origin, why)
            taken[name] = origin.source
        found.append(section)
    return found


def packages() -> tuple[str, ...]:
    """Name and version of each installed package that has a plug-in."""
    points = (point for group in _installed().values() for point in group)
    return tuple(sorted({f"{each.dist.name} {each.dist.version}" for each in points if each.dist}))


def plugin_files() -> list[Path]:
    """The files that the environment names."""
    return [Path(path) for path in os.environ.get(FILES, "").split(os.pathsep) if path]


def _in_packages(group: str) -> Iterator[tuple[Origin, Callable[[], Any]]]:
    for point in _installed()[group]:
        name = f"{point.dist.name} {point.dist.version}" if point.dist else "without a name"
        yield Origin(group, point.name, point.value, name), point.load


@functools.cache
def _installed() -> Mapping[str, Sequence[EntryPoint]]:
    """Group → its entry points; a look into every installed package, and therefore only one."""
    found = entry_points()
    return {
        group: sorted(found.select(group=group), key=lambda point: (point.name, point.value))
        for group in GROUPS
    }


def _in_files(group: str) -> Iterator[tuple[Origin, Callable[[], Any]]]:
    for path in plugin_files():
        for kind, origin in _contents(path).kinds:
            if issubclass(kind, GROUPS[group]):
                yield replace(origin, group=group), partial(_same, kind)


def _same(kind: type[Section]) -> type[Section]:
    return kind


@dataclass(frozen=True)
class _Contents:
    """What a file holds: its kinds, and why other classes and functions are none."""

    kinds: Sequence[tuple[type[Section], Origin]]
    refused: Mapping[str, str]


def refusals() -> Mapping[str, str]:
    """Name of a class or function of a file → why it is no kind, with its place."""
    found: dict[str, str] = {}
    for path in plugin_files():
        found |= _contents(path).refused
    return found


@functools.cache
def _contents(path: Path) -> _Contents:
    """What a file defines, as the module `plugin_file.NAME`. Raises PluginError.

    Classes and functions whose name begins with an underscore serve others.
    """
    name = f"{FILE_MODULES}.{path.stem}"
    digest = sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    origin = Origin("a file", path.name, str(path), "", str(path), digest)
    module = _imported(name, path, origin)
    kinds: list[tuple[type[Section], Origin]] = []
    refused: dict[str, str] = {}
    defined = [each for each in vars(module).values() if isinstance(each, type | FunctionType)]
    for found in dict.fromkeys(defined):  # once, whatever other names it has
        if found.__module__ != name:
            continue
        own = partial(
            Origin,
            entry=found.__name__,
            value=f"{path}:{found.__name__}",
            package="",
            file=str(path),
            digest=digest,
        )
        if isinstance(found, type) and issubclass(found, tuple(GROUPS.values())):
            kinds.append((cast("type[Section]", found), own(group="")))
            continue
        if found.__name__.startswith("_"):
            continue
        try:
            kind = plain_kind(found, own)
        except UnusableError as error:
            refused[found.__name__] = f"{_place(found, path)}: {found.__name__}: {error}"
            continue
        if kind is not None:
            kinds.append((kind, own(group="")))
    if not kinds and refused:
        raise _unusable(origin, "; ".join(refused.values()))
    if not kinds:
        raise _unusable(
            origin,
            "defines no class that is derived from one of regrun.plugins, from torch.nn.Module or "
            "from torch.utils.data.Dataset, and no penalty(w: Tensor, strength: float)",
        )
    public = [each for each in kinds if not each[0].__name__.startswith("_")]
    return _Contents(public, refused)


def _place(found: Any, path: Path) -> str:
    """File and line of a class or function."""
    try:
        return f"{path}:{inspect.getsourcelines(found)[1]}"
    except (OSError, TypeError):
        return str(path)


def _imported(name: str, path: Path, origin: Origin) -> ModuleType:
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _unusable(origin, "is no Python file, whose name ends in .py")
    if name in sys.modules:
        raise _unusable(origin, "another file of this name is given, too")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        with Boundary(origin, f"{path}: its import"):
            spec.loader.exec_module(module)
    except PluginError:
        del sys.modules[name]
        raise
    return module


def accept(section: Any, base: type[Section], origin: Origin) -> type[Section]:
    """The class, behind its boundary. Raises PluginError for one that is none of the family."""
    if not (isinstance(section, type) and issubclass(section, base)):
        raise _unusable(origin, f"is no subclass of regrun.plugins.{base.__name__}")
    if not names_of(section):
        raise _unusable(origin, f'has no key {tag_of(section)}: Literal["…"] to be chosen by')
    _check_facts(section, base, origin)
    section.plugin_origin = origin
    guard(section, origin)
    rule = getattr(section, "Rule", None)
    if isinstance(rule, type) and not is_regrun(rule):
        guard(rule, origin)
    missing = section.undefined()
    if missing:
        raise _unusable(origin, f"has no method {', '.join(missing)}")
    if not section.__doc__:
        raise _unusable(origin, "has no docstring to be listed with")
    with Boundary(origin, f"{origin.value}: the schema of its keys"):
        section.model_rebuild(force=True)
        section.model_json_schema()
    return section


def _check_facts(section: type[Section], base: type[Section], origin: Origin) -> None:
    """Raise PluginError for a class variable that the base class declares and that is wrong."""
    optional = issubclass(base, ModelSection | DatasetSection)
    for fact, declared in get_type_hints(base, include_extras=True).items():
        if get_origin(declared) is not ClassVar or fact in ("plugin_origin", "Rule"):
            continue
        (kind,) = get_args(declared)
        if not hasattr(section, fact):
            if optional:
                continue
            raise _unusable(origin, f"has no {fact}: ClassVar[{_written(kind)}]")
        try:
            TypeAdapter(kind).validate_python(getattr(section, fact), strict=True)
        except ValidationError as error:
            why = error.errors(include_url=False)[0]["msg"]
            value = getattr(section, fact)
            raise _unusable(origin, f"has {fact} = {value!r}: {why[0].lower()}{why[1:]}") from None


def _written(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).removeprefix("typing.")


def _unusable(origin: Origin, why: str) -> PluginError:
    return origin.fault(f"{origin.value}: {why}")
