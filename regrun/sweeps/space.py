"""Axes → cells: which settings a sweep trains, all of them valid before anything starts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regrun.config.diagnostics import Diagnostic, config_error
from regrun.config.load import Loaded
from regrun.config.sweeps import Distribution
from regrun.config.validate import KeyProblem
from regrun.errors import ConfigError, Problem, dotted
from regrun.settings import format_value

SHOWN = 20
"""Different errors of cells that are printed; the rest is counted."""

MOST_WRITTEN = 24
"""Cells that a message writes out."""

MOST_CORNERS = 256
"""Corners of a search space that are validated together; of a larger one, each bound once."""


@dataclass(frozen=True)
class PlannedCell:
    """One setting of a sweep; it is trained with every seed. params: dotted key → value."""

    index: int
    params: dict[str, Any]


@dataclass(frozen=True)
class Proposal:
    """What a sweep trains next; nothing without cells.

    replicates: which of each cell; None: all.
    """

    cells: list[PlannedCell]
    replicates: Sequence[int] | None = None


def grid_cells(grid: Mapping[str, Sequence[Any]]) -> list[PlannedCell]:
    """The product of all axes, the first one slowest; an empty grid is one cell.

    Raises ConfigError at every value that appears twice on its axis.
    """
    problems = []
    for key, values in grid.items():
        seen: set[Hashable] = set()
        for at, value in enumerate(values):
            if identity(value) in seen:
                message = f"{format_value(value)} appears twice on this axis"
                problems.append(Problem(("sweep", "grid", key, at), message))
            seen.add(identity(value))
    if problems:
        raise ConfigError(problems)
    return _cells(grid, itertools.product(*grid.values()))


def _cells(keys: Iterable[str], rows: Iterable[Sequence[Any]]) -> list[PlannedCell]:
    params = (dict(zip(keys, values, strict=True)) for values in rows)
    return [PlannedCell(index, each) for index, each in enumerate(params)]


def corner_cells(space: Mapping[str, Distribution]) -> list[PlannedCell]:
    """Bounds and choices of a search space, in every combination if those are not too many.

    What is valid here can be expected to be valid in between: validated before a search starts.
    """
    axes = {
        key: axis.uniform or axis.log_uniform or axis.int or axis.log_int or axis.choice or ()
        for key, axis in space.items()
    }
    corners = list(itertools.islice(itertools.product(*axes.values()), MOST_CORNERS + 1))
    if len(corners) > MOST_CORNERS:
        longest = max(map(len, axes.values()))
        corners = [tuple(v[i % len(v)] for v in axes.values()) for i in range(longest)]
    return _cells(axes, corners)


def validate_cells(loaded: Loaded, cells: Sequence[PlannedCell]) -> list[Loaded]:
    """The config of every cell. Raises one ConfigError with every problem once.

    Cells with few problems come first, since others often only repeat them.
    """
    members, errors = [], []
    for cell in cells:
        try:
            members.append(loaded.member(cell.params))
        except ConfigError as error:
            errors.append(error)
    if errors:
        errors.sort(key=lambda error: len(error.problems))
        found: dict[Problem, Diagnostic] = {}
        for each in (each for error in errors for each in error.diagnostics):
            found.setdefault(each.problem, each)
        file = loaded.source.document
        scope = f"the cells of {file.label or 'the config'}"
        hint = _as_cells(loaded, cells, found)
        raise config_error(
            list(found.values()), file.label, file.lines, scope=scope, shown=SHOWN, hint=hint
        )
    return members


def _as_cells(loaded: Loaded, cells: Sequence[PlannedCell], problems: Collection[Problem]) -> str:
    """The cells without the keys that only other kinds have, as a config has them; else nothing."""
    if not all(isinstance(each, KeyProblem) and each.chosen_by for each in problems):
        return ""
    kept: dict[str, dict[str, Any]] = {}
    for cell in cells[:MOST_WRITTEN]:
        params = dict(cell.params)
        while True:
            try:
                loaded.member(params)
                break
            except ConfigError as error:
                wrong = {dotted(each.path) for each in error.problems} & params.keys()
            if not wrong:
                return ""
            params = {key: value for key, value in params.items() if key not in wrong}
        kept[json.dumps(params, default=str)] = params
    lines = [
        f"    - {{{', '.join(f'{key}: {format_value(each)}' for key, each in params.items())}}}"
        for params in kept.values()
    ]
    more = ["    # … and so on"] if len(cells) > MOST_WRITTEN else []
    return "\n".join(
        ["to train the combinations that there are, write them as cells:", "sweep:", "  cells:",
         *lines, *more]
    )  # fmt: skip


def cell_label(params: Mapping[str, Any]) -> str:
    """``weight_decay=3,dropout=0.5``: keys as short as they stay different."""
    texts = {_short(key, params): format_value(value) for key, value in params.items()}
    label = ",".join(f"{key}={text}" for key, text in texts.items())
    return label.replace(", ", ",").replace(": ", ":")


def identity(value: Any) -> Hashable:
    """Equal for values that mean the same: 1 and 1.0 do, 1 and true do not."""
    if isinstance(value, Mapping):
        return ("mapping", frozenset((key, identity(each)) for key, each in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(identity(each) for each in value))
    return ("bool", value) if isinstance(value, bool) else value


def _short(key: str, keys: Iterable[str]) -> str:
    parts = key.split(".")
    others = [other.split(".") for other in keys if other != key]
    for size in range(1, len(parts)):
        if all(other[-size:] != parts[-size:] for other in others):
            return ".".join(parts[-size:])
    return key
