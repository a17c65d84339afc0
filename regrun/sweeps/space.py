"""Axes → cells: which settings a sweep trains, all of them valid before anything starts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regrun.config.load import Loaded
from regrun.config.overrides import AssignmentProblem, parse_value
from regrun.config.report import located
from regrun.config.schema import Config
from regrun.config.sweeps import Distribution
from regrun.errors import ConfigError, Problem

SHOWN = 20
"""Different errors of cells that are printed; the rest is counted."""

MOST_CORNERS = 256
"""Corners of a search space that are validated together; of a larger one, each bound once."""

_PART = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'|.', re.DOTALL)


@dataclass(frozen=True)
class PlannedCell:
    """One setting of a sweep; it is trained with every seed. params: dotted key → value."""

    index: int
    params: dict[str, Any]


def grid_cells(grid: Mapping[str, Sequence[Any]]) -> list[PlannedCell]:
    """The product of all axes, the first one slowest; an empty grid is one cell.

    Raises ConfigError at every value that stands twice on its axis.
    """
    problems = []
    for key, values in grid.items():
        seen: set[Hashable] = set()
        for at, value in enumerate(values):
            if identity(value) in seen:
                message = f"{_written(value)} stands twice on this axis"
                problems.append(Problem(("sweep", "grid", key, at), message))
            seen.add(identity(value))
    if problems:
        raise ConfigError(problems)
    product = itertools.product(*grid.values())
    return [
        PlannedCell(i, dict(zip(grid, values, strict=True))) for i, values in enumerate(product)
    ]


def corner_cells(space: Mapping[str, Distribution]) -> list[PlannedCell]:
    """Bounds and choices of a search space, in every combination if those are not too many.

    What is valid here can be expected to be valid in between: validated before a search starts.
    """
    axes: dict[str, Sequence[Any]] = {}
    for key, axis in space.items():
        axes[key] = next(
            values
            for values in (axis.uniform, axis.log_uniform, axis.int, axis.choice)
            if values is not None
        )
    corners = list(itertools.islice(itertools.product(*axes.values()), MOST_CORNERS + 1))
    if len(corners) > MOST_CORNERS:
        longest = max(map(len, axes.values()))
        corners = [tuple(v[i % len(v)] for v in axes.values()) for i in range(longest)]
    return [
        PlannedCell(i, dict(zip(axes, values, strict=True))) for i, values in enumerate(corners)
    ]


def command_line_axes(overrides: Sequence[str]) -> tuple[list[str], dict[str, list[Any]]]:
    """Plain overrides, and the grid axes among them: ``KEY=V1,V2`` with commas outside of brackets.

    ``model.dropout=[0,0],[0.2,0.5]`` is an axis of two values, ``model.dropout=[0.2,0.5]`` an
    override. Raises ConfigError that holds every axis that cannot be read.
    """
    plain: list[str] = []
    axes: dict[str, list[Any]] = {}
    findings = []
    for number, text in enumerate(overrides, start=1):
        key, values = _split(text)
        if len(values) < 2:
            plain.append(text)
            continue
        try:
            if key in axes:
                raise ValueError(f"{key} is an axis already")
            axes[key] = [_parsed(value) for value in values]
        except ValueError as error:
            problem = AssignmentProblem(f"override {number}: {text}", number, str(error))
            findings.append(problem.finding())
    if findings:
        raise located(findings, "", ())
    return plain, axes


def axes_as_overrides(overrides: Sequence[str]) -> list[str]:
    """The same list with every axis ``KEY=V1,V2`` written as ``sweep.grid.KEY=[V1,V2]``.

    The loader then validates axes as it does those of the file, and keeps the numbers by which it
    names overrides. Raises ConfigError as `command_line_axes` does.
    """
    command_line_axes(overrides)
    rewritten = []
    for text in overrides:
        key, values = _split(text)
        axis = len(values) > 1
        rewritten.append(f"sweep.grid.{key}=[{', '.join(values)}]" if axis else text)
    return rewritten


def validate_cells(loaded: Loaded, cells: Iterable[PlannedCell]) -> list[Config]:
    """The config of every cell. Raises one ConfigError with all that is wrong, each thing once."""
    configs, errors = [], []
    for cell in cells:
        try:
            configs.append(loaded.with_values(cell.params))
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise _merged(errors, loaded.source.label or "the config")
    return configs


def cell_label(params: Mapping[str, Any]) -> str:
    """``weight_decay=3,dropout=0.5``: keys as short as they stay different."""
    return ",".join(f"{_short(key, params)}={_written(value)}" for key, value in params.items())


def seeds_of(config: Config, count: int) -> list[int]:
    """As many seeds, counted up from the config's own."""
    return list(range(config.seed, config.seed + count))


def identity(value: Any) -> Hashable:
    """Equal for values that mean the same: 1 and 1.0 do, 1 and true do not."""
    if isinstance(value, Mapping):
        return ("mapping", frozenset((key, identity(each)) for key, each in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(identity(each) for each in value))
    return ("bool", value) if isinstance(value, bool) else value


def _split(text: str) -> tuple[str, list[str]]:
    """Key and comma-separated values; commas in brackets and quotes do not separate."""
    key, _, rest = text.partition("=")
    values, depth = [""], 0
    for part in _PART.findall(rest):
        depth += (part in "[{") - (part in "]}")
        if part == "," and depth == 0:
            values.append("")
        else:
            values[-1] += part
    return key.strip(), [value.strip() for value in values]


def _parsed(text: str) -> Any:
    if not text:
        raise ValueError("an empty value between commas; write null for none")
    return parse_value(text)


def _merged(errors: Sequence[ConfigError], label: str) -> ConfigError:
    """Every problem once: cells with few problems first, since others often only repeat them."""
    seen: set[Problem] = set()
    blocks: dict[str, None] = {}  # a message each, perhaps with an excerpt below it
    for error in sorted(errors, key=lambda error: len(error.problems)):
        if not seen.issuperset(error.problems):
            text = str(error).rpartition("\n")[0] or str(error)  # without its count
            blocks |= dict.fromkeys(re.split(r"\n(?=\S)", text))
        seen.update(error.problems)
    told = list(blocks)
    lines = told[:SHOWN]
    if len(told) > SHOWN:
        lines.append(f"… and {len(told) - SHOWN} more")
    count = f"{len(seen)} error{'s' if len(seen) > 1 else ''}"
    lines.append(f"{count} in the cells of {label}")
    problems = sorted(seen, key=lambda problem: [str(part) for part in problem.path])
    return ConfigError(problems, rendered="\n".join(lines))


def _short(key: str, keys: Iterable[str]) -> str:
    parts = key.split(".")
    others = [other.split(".") for other in keys if other != key]
    for size in range(1, len(parts)):
        if all(other[-size:] != parts[-size:] for other in others):
            return ".".join(parts[-size:])
    return key


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        exact = f"{value:.15g}"
        return exact if len(exact) <= 8 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    return str(value)
