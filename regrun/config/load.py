"""A config file and its overrides → `Config`, or one error that shows every problem."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from regrun.config.consistency import contradictions
from regrun.config.diagnostics import Diagnostic, Span, config_error
from regrun.config.origins import changed, missing
from regrun.config.overrides import (
    Assignment,
    assign,
    parse_overrides,
    several_values,
)
from regrun.config.paths import found, with_paths
from regrun.config.ranges import expand_range, is_range
from regrun.config.schema import RESERVED_NAME, Config
from regrun.config.schema_tree import fields, section_of, trace
from regrun.config.validate import (
    OWN_CLASS,
    KeyProblem,
    MissingKey,
    UnknownKind,
    replaced,
    show,
    validate,
)
from regrun.config.yaml_nodes import MAX_DEPTH, Document, check_text, read_config
from regrun.errors import ConfigError, KeyPath, Problem, UsageError, dotted
from regrun.kinds.base import names_of
from regrun.kinds.given import given
from regrun.kinds.plain import is_network
from regrun.kinds.registry import DEFAULT_OPTIMIZER

_KIND_AXIS = re.compile(r"^\w+$|\.(name|type)$")
"""Axes that replace a section or change its kind."""

_MOST_VALUES = 200
"""Values of a wrong grid that are tried one by one."""


@dataclass(frozen=True)
class Source:
    """A document and what was set on top of it; finds the place of every problem with them."""

    document: Document
    tree: Mapping[str, Any]
    """The document's data with what was set, as plain data."""
    assigned: tuple[tuple[KeyPath, Assignment], ...] = ()
    """Path in the tree and what set it, in order."""
    begun_in: tuple[Path, ...] = ()
    """Of a stored sweep: the folders that it was begun in, where the files of its axes are looked
    for."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the file's relative paths lead: next to it, or into the working directory."""
        label = self.document.label
        return (*([Path(label).resolve().parent] if label else []), Path.cwd())

    @property
    def projects(self) -> tuple[Path, ...]:
        """The folders that are taken to be moved as a whole."""
        return self.begun_in or self.folders[::-1]

    def assigning(self, assignments: Iterable[Assignment]) -> tuple[Source, list[Diagnostic]]:
        """Set values. Returns the new source, and what is wrong with impossible assignments."""
        tree, assigned = self.tree, list(self.assigned)
        diagnostics: list[Diagnostic] = []
        for assignment in assignments:
            try:
                tree, path = assign(tree, assignment)
                assigned.append((path, assignment))
            except ConfigError as error:
                diagnostics += error.diagnostics
        return replace(self, tree=tree, assigned=tuple(assigned)), diagnostics

    def locate(self, error: ConfigError) -> ConfigError:
        """The same problems with their places; bare ones have the paths of the `Config`."""
        if error.diagnostics:
            return error
        written = [replace(each, path=trace(each.path, self.tree).path) for each in error.problems]
        return self.error([self.diagnose(problem) for problem in written])

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Locate every ConfigError that the block raises."""
        try:
            yield
        except ConfigError as error:
            raise self.locate(error) from error

    def error(self, diagnostics: Sequence[Diagnostic]) -> ConfigError:
        """Diagnostics as one error of this source."""
        unknown = any(isinstance(each.problem, UnknownKind) for each in diagnostics)
        hint = "\n".join(missing(self.document.lines)) if unknown else ""
        if hint:  # which says it better
            diagnostics = [_without_advice(each) for each in diagnostics]
        return config_error(diagnostics, self.document.label, self.document.lines, hint=hint)

    def without_keys_of_other_kinds(self) -> tuple[Source, list[str]]:
        """Drop keys of the file that a kind chosen by an assignment does not have.

        Returns the new source, and a note for each such section. Keys that were set from outside
        stay, and are errors.
        """
        tree: Mapping[str, Any] = self.tree
        notes = []
        for path, assignment in self.assigned:
            section, written = path[:-1], self.document.values
            node = section_of(trace(section, tree).node)
            raw = trace(section, tree).value
            if node is None or not path or path[-1] != node.tag or not isinstance(raw, Mapping):
                continue
            kind = node.kind(raw)
            set_here = {each[len(section)] for each, _ in self.assigned if len(each) > len(section)}
            foreign = [
                str(key)
                for key in raw
                if kind is not None
                and key not in fields(kind)
                and node.kinds_with(str(key))
                and (*section, key) in written
                and key not in set_here
            ]
            if foreign:
                kept = {key: value for key, value in raw.items() if key not in foreign}
                tree = replaced(tree, section, kept)
                notes.append(
                    f"{dotted(section)}: {node.tag_of(raw)} has no {' and no '.join(foreign)}; "
                    f"left out of the file's settings ({assignment.text})"
                )
        return replace(self, tree=tree), notes

    def diagnose(self, problem: Problem) -> Diagnostic:
        """Find the place to blame for a problem whose path is as written."""
        blamed = self._blamed(problem)
        if blamed is None:
            return Diagnostic(self._with_cause(problem), self._span(problem))
        path, assignment = blamed
        hint = self._hint(problem, assignment)
        if hint:
            problem = replace(problem, message=f"{problem.message.partition('; ')[0]}; {hint}")
        return Diagnostic(problem, assignment.span, assignment.origin, path, assignment.number)

    def _hint(self, problem: Problem, assignment: Assignment) -> str:
        """What to write, where the value is several values or the entries of a list."""
        key, value = assignment.key, assignment.value
        several = several_values(assignment.text) or is_range(value)
        if assignment.number and isinstance(value, str) and several:
            file = self.document.label or "CONFIG"
            return f"to try several values: regrun sweep {file} {assignment.text}"
        if isinstance(value, list) and len(value) > 1 and problem.message.endswith("not a number"):
            return f"an axis is written {key}={','.join(_written(each) for each in value)}"
        if problem.message.endswith("is not a list") and not isinstance(value, str | list | dict):
            return f"write {key}=[{_written(value)}]"
        return ""

    def _blamed(self, problem: Problem) -> tuple[KeyPath, Assignment] | None:
        """The last assignment that set the place, chose the kind of its section, or made it."""
        path, size = problem.path, len(problem.path)
        choice = problem.chosen_by if isinstance(problem, MissingKey) else None
        above = [each for each in self.assigned if each[0] in (path[: len(each[0])], choice)]
        if above:
            return above[-1]
        within = [each for each in self.assigned if path and each[0][:size] == path]
        written = path in self.document.values
        if isinstance(problem, MissingKey):  # `penalty: none` is written, its section is not
            written &= any(key[:size] == path for key in self.document.keys if len(key) > size)
        return within[-1] if within and not written else None

    def _span(self, problem: Problem) -> Span | None:
        """Span of the key or value; of the nearest enclosing section if it is not in the file."""
        at = problem.path
        while at and at not in self.document.values:
            at = at[:-1]
        if not at:
            return None
        value = self.document.values[at]
        about_key = isinstance(problem, KeyProblem) or at != problem.path
        multiline = value.line != value.end_line
        return self.document.keys.get(at, value) if about_key or multiline else value

    def _with_cause(self, problem: Problem) -> Problem:
        """A key that became wrong because an assignment chose another kind of section says so."""
        if not isinstance(problem, KeyProblem) or problem.chosen_by is None:
            return problem
        for path, assignment in reversed(self.assigned):
            if problem.chosen_by[: len(path)] == path:
                by = f"override {assignment.number}" if assignment.number else "the sweep"
                cause = f"({dotted(problem.chosen_by)} was set by {by})"
                return replace(problem, message=f"{problem.message.partition(';')[0]} {cause}")
        return problem


@dataclass(frozen=True)
class Loaded:
    """A valid config, and where it comes from."""

    config: Config
    source: Source
    notes: tuple[str, ...] = ()
    """What a user should know of how the config was read."""

    def member(self, values: Mapping[str, Any]) -> Loaded:
        """The same with dotted keys set, as one cell of a sweep; its `sweep` is None.

        Raises ConfigError with the place of each wrong value.
        """
        source, diagnostics = self._assigning(values)
        if diagnostics:
            raise source.error(diagnostics)
        source, notes = source.without_keys_of_other_kinds()
        if any(key.startswith("dataset") for key in values):
            source = replace(source, tree=_with_absolute_paths(source))
        return Loaded(_checked(source), source, (*self.notes, *notes))

    def begun_in(self, folders: Sequence[Path]) -> Loaded:
        """The same as the config of a stored sweep; see `Source`."""
        return replace(self, source=replace(self.source, begun_in=tuple(folders)))

    def with_keys(self, **keys: Any) -> Loaded:
        """The same with top-level keys replaced by plain data: ``sweep={…}``."""
        source = replace(self.source, tree={**self.source.tree, **keys})
        return Loaded(_checked(source), source)

    def wrong_values(self, unknown: Collection[str | int]) -> Iterator[Diagnostic]:
        """Yield what is wrong with single values of a grid with ``unknown`` axes: it has no cells.

        Values in sections whose kind the grid changes are left out: their keys depend on it.
        """
        grid = self.config.sweep.grid if unknown and self.config.sweep else {}
        changing = {key.partition(".")[0] for key in grid if _KIND_AXIS.search(key)}
        keys = [k for k in grid if k not in unknown and k.partition(".")[0] not in changing]
        axes = ({key: value} for key in keys for value in grid[key])
        for axis in islice(axes, _MOST_VALUES):
            source, impossible = self._assigning(axis)
            for problem in validate(source.tree)[1] if not impossible else ():
                path = source.assigned[-1][0]
                if type(problem) is Problem and problem.path[: len(path)] == path:
                    yield source.diagnose(problem)

    def _assigning(self, values: Mapping[str, Any]) -> tuple[Source, list[Diagnostic]]:
        own = {key: value for key, value in self.source.tree.items() if key != "sweep"}
        axes = [self._axis(key, value) for key, value in values.items()]
        return replace(self.source, tree=own).assigning(axes)

    def _axis(self, key: str, value: Any) -> Assignment:
        span = None
        sweep = self.config.sweep
        if sweep is not None and value in sweep.grid.get(key, ()):
            at = sweep.grid[key].index(value)
            span = self.source.document.values.get(("sweep", "grid", key, at))
        elif sweep is not None and key in sweep.space:
            span = self.source.document.keys.get(("sweep", "space", key))
        return Assignment(f"{key}={_written(value)}", key, value, span=span)


def _without_advice(diagnostic: Diagnostic) -> Diagnostic:
    """The same without what is said about a name that nothing is known of."""
    message = diagnostic.problem.message.partition(OWN_CLASS)[0]
    return replace(diagnostic, problem=replace(diagnostic.problem, message=message))


def load_config(
    config: Path | str | Document, overrides: Sequence[str] = (), *, axes: bool = False
) -> Loaded:
    """Read, override and validate a config file, or one that has been read.

    Each override is ``KEY=VALUE``; with ``axes``, ``KEY=V1,V2`` sets an axis of the sweep. Raises
    UsageError if the file cannot be read, ConfigError with every problem located.
    """
    assignments, diagnostics = parse_overrides(overrides, axes=axes)
    document = config if isinstance(config, Document) else read_config(config)
    return _load(document, assignments, diagnostics)


def config_from_mapping(
    config: Mapping[str, Any] | Path | str | Document,
    overrides: Mapping[str, Any] | None = None,
    *,
    axes: Mapping[str, Sequence[Any]] | None = None,
) -> Loaded:
    """The same from Python: a file, or its content as a mapping.

    ``overrides`` maps dotted keys to values, ``axes`` to the values of an axis of the sweep. The
    network that the present call was given is the model, unless they choose another.
    """
    for what, mapping in (("axes", axes), ("overrides", overrides)):
        if mapping is not None and not isinstance(mapping, Mapping):
            kind = type(mapping).__name__
            raise UsageError(f'{what}: a mapping such as {{"optimizer.lr": 0.1}}, not a {kind}')
    assignments: list[Assignment] = []
    model = given()
    chosen = {} if model is None else {"model.name": names_of(model)[0]}
    if "model.name" in {**(axes or {}), **(overrides or {})}:
        chosen = {}
    for is_axis, values in ((True, axes or {}), (False, {**(overrides or {}), **chosen})):
        for key, value in values.items():
            text, number = f"{key}={_written(value)}", len(assignments) + 1
            override = Assignment(text, str(key), plain(value, key), number)
            assignments.append(override.as_axis() if is_axis else override)
    if isinstance(config, Mapping):
        return _load(Document(plain(config, "config")), assignments, [])
    document = config if isinstance(config, Document) else read_config(config)
    return _load(document, assignments, [])


def safe_name(stem: str) -> str:
    """A file's stem as a run's name: letters, digits, `.`, `_` and `-`, at most 80."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem)
    name = re.sub(r"^[^A-Za-z0-9]+", "", name)[:80].rstrip(".-")
    return f"run-{name}" if RESERVED_NAME.fullmatch(name) else name or "run"


def plain(value: Any, where: Any, depth: int = 0) -> Any:
    """A Python value as YAML could have given it: tuples, arrays and paths become plain data.

    Raises UsageError for anything else.
    """
    if depth > MAX_DEPTH:
        raise UsageError(f"{where}: nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise UsageError(f"{where}: keys must be strings, got {key!r}")
        return {key: plain(each, key, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, where, depth + 1) for each in value]
    if hasattr(value, "tolist"):  # NumPy's and torch's numbers and arrays
        return plain(value.tolist(), where, depth + 1)
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str):
        try:
            check_text(value)
        except ConfigError as error:
            raise UsageError(f"{where}: {error.problems[0].message}") from None
    elif not isinstance(value, bool | int | float | None):
        kind = value.__name__ if isinstance(value, type) else type(value).__name__
        if is_network(value):
            raise UsageError(
                f"{where}: {kind}: a network is given by its class, apart from the config: "
                f"regrun.train(config, model={kind}); its arguments are the keys of model"
            )
        raise UsageError(f"{where}: {kind} is neither a string, a number, a list nor a mapping")
    return value


def _written(value: Any) -> str:
    return value[:60] if isinstance(value, str) else show(value)


def _load(
    document: Document, assignments: Sequence[Assignment], diagnostics: Sequence[Diagnostic]
) -> Loaded:
    source, impossible = Source(document, document.data).assigning(assignments)
    source, notes = source.without_keys_of_other_kinds()
    tree = _with_seeds(_with_absolute_paths(source), [path for path, _ in source.assigned])
    tree.setdefault("name", safe_name(Path(document.label).stem))
    optimizer = tree.get("optimizer")
    if isinstance(optimizer, Mapping):
        tree["optimizer"] = {"name": DEFAULT_OPTIMIZER, **optimizer}
    source = replace(source, tree=tree)
    if diagnostics or impossible:
        found = [source.diagnose(problem) for problem in validate(source.tree)[1]]
        raise source.error([*diagnostics, *impossible, *found])
    return Loaded(_checked(source), source, (*notes, *changed(document.lines)))


def _with_seeds(tree: dict[str, Any], assigned: Collection[KeyPath]) -> dict[str, Any]:
    """The tree with an axis over consecutive seeds as the seeds of every cell, which it means.

    An axis that was set from outside counts more than the number of seeds in the file.
    """
    sweep = tree.get("sweep")
    grid = sweep.get("grid") if isinstance(sweep, Mapping) else None
    seeds = grid.get("seed") if isinstance(grid, Mapping) else None
    with suppress(ValueError):  # what is wrong with a range is said where it stands
        seeds = expand_range(seeds) or seeds
    if not isinstance(sweep, Mapping) or not isinstance(grid, Mapping):
        return tree
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        return tree
    decided = ("sweep", "grid", "seed") in assigned and ("sweep", "seeds") not in assigned
    if "seeds" in sweep and not decided:
        return tree
    if not seeds or seeds != list(range(seeds[0], seeds[0] + len(seeds))):
        return tree
    others = {key: values for key, values in grid.items() if key != "seed"}
    kept = {**sweep, "grid": others, "seeds": len(seeds)}
    return {**tree, "seed": seeds[0], "sweep": kept}


def _checked(source: Source) -> Config:
    config, problems = validate(source.tree)
    if config is None:
        raise source.error([source.diagnose(problem) for problem in problems])
    found = contradictions(config)
    if found:
        located = source.locate(ConfigError(found)).diagnostics
        unknown = {each.path[2] for each in found if isinstance(each, KeyProblem)}
        raise source.error([*located, *Loaded(config, source).wrong_values(unknown)])
    return config


def _with_absolute_paths(source: Source) -> dict[str, Any]:
    """The tree with the dataset's files found."""

    def absolute(key: str, written: str) -> str:
        setters = [by for where, by in source.assigned if where == ("dataset", key)[: len(where)]]
        folders = source.folders
        if setters:  # what is written on the command line is meant from there
            folders = (*(() if setters[-1].number else source.begun_in), Path.cwd(), *folders)
        return found(written, folders)

    return with_paths(source.tree, absolute)
