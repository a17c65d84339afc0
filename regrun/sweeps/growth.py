"""What a sweep that has begun can be given: more seeds, trials, and values on its axes."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from regrun.config.changes import PLACES, changed_keys
from regrun.config.load import Loaded
from regrun.config.schema import Config
from regrun.config.sweeps import Sweep
from regrun.errors import ConfigError, KeyPath, Problem, UsageError
from regrun.settings import format_value
from regrun.store.sweep_dir import PlannedRun, Round
from regrun.sweeps.space import PlannedCell, identity

_GRID, _CELLS = "sweep.grid.", "sweep.cells"
_STARTERS = (_GRID, _CELLS, "sweep.trials")
"""Keys that decide which cells a race begins with."""


def check_growth(before: Config, now: Loaded, file: Path) -> list[str]:
    """The keys that change. Raises ConfigError, located, for all that a begun sweep cannot take.

    before: the config in ``file``, the stored one.
    """
    changed = changed_keys(before, now.config)
    problems = [*_problems(before, now.config, changed, shlex.quote(str(file)))]
    if problems:
        raise now.source.locate(ConfigError(problems))
    return changed


def check_more(seeds: int, stored: Config, directory: Path, *, has_ended: bool) -> None:
    """Raise UsageError when `--seeds` asks a sweep for no more replicates than it has.

    The number that it has is accepted while the sweep has not ended: it may be the command that was
    interrupted.
    """
    present = (stored.sweep or Sweep()).seeds
    if seeds > present or (seeds == present and not has_ended):
        return
    replicates = "1 replicate" if present == 1 else f"{present:,} replicates"
    place = shlex.quote(str(directory))
    raise UsageError(
        f"--seeds {seeds}: every cell of {directory} has {replicates}; for more, give the number "
        f"of all: regrun resume {place} --seeds {2 * present}"
    )


def said_of(added: Sequence[Round]) -> str:
    """``adding 12 runs: 3 replicates of 4 cells``."""
    runs = [run for each in added for run in each.runs]
    cells = Counter(run.cell for run in runs)
    counts = sorted(set(cells.values()))
    each = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    noun = "replicate" if counts == [1] else "replicates"
    return f"adding {len(runs):,} runs: {each} {noun} of {len(cells):,} cells"


def _problems(before: Config, now: Config, changed: Sequence[str], file: str) -> Iterator[Problem]:
    if before.sweep is not None and now.sweep is None:
        yield Problem(("sweep",), "cannot be removed")
        return
    old, new = before.sweep or Sweep(), now.sweep or Sweep()
    if old.search == "race":
        yield from _race_problems(changed)
        changed = [key for key in changed if not key.startswith(_STARTERS)]
    for axis in dict.fromkeys([*old.grid, *new.grid]) if old.search != "race" else ():
        yield from _axis_problems(axis, old, new, file)
    if any(key.startswith(_CELLS) for key in changed):
        yield from _cell_problems(old, new)
    for key in changed:
        if key.startswith((_GRID, _CELLS)):
            continue
        if key == "sweep.seeds":
            yield from _seed_problems(old, new)
        elif key == "sweep.trials":
            yield from _trial_problems(old, new)
        elif key == "sweep.confirm":
            yield from _confirm_problems(old, new)
        elif key in old.grid:
            given = ",".join(format_value(value, None) for value in old.grid[key])
            message = f"is an axis; give its values and the new ones: {key}={given},…"
            yield Problem(tuple(key.split(".")), message)
        elif key in old.space or any(key in cell for cell in old.cells):
            yield Problem(tuple(key.split(".")), "differs between the cells; it cannot be set")
        elif key == "training.epochs":
            message = "the runs of a sweep keep no checkpoints, so they cannot be made longer"
            yield Problem(tuple(key.split(".")), f"{message}; {_anew(file, key)}")
        elif key not in PLACES:
            message = f"cannot change in a sweep that has begun; {_anew(file, key)}"
            yield Problem(tuple(key.split(".")), message)


def _anew(file: str, key: str) -> str:
    return f"start a new one: regrun sweep {file} {key}=…"


def _axis_problems(key: str, old: Sweep, new: Sweep, file: str) -> Iterator[Problem]:
    path: KeyPath = ("sweep", "grid", key)
    if key not in old.grid:
        axes = ", ".join(old.grid) or "none"
        message = f"is no axis of this sweep (it has {axes}); {_anew(file, key)}"
        yield Problem(path, message)
        return
    kept = {identity(value) for value in new.grid.get(key, ())}
    gone = [format_value(value) for value in old.grid[key] if identity(value) not in kept]
    if gone:
        message = f"{', '.join(gone)} would be removed; give all values and the new ones"
        yield Problem(path, message)


def _cell_problems(old: Sweep, new: Sweep) -> Iterator[Problem]:
    kept = {identity(cell) for cell in new.cells}
    gone = [format_value(cell) for cell in old.cells if identity(cell) not in kept]
    if not old.cells:
        yield Problem(("sweep", "cells"), "this sweep has no cells of its own")
    elif gone:
        message = f"{', '.join(gone)} would be removed; give all cells and the new ones"
        yield Problem(("sweep", "cells"), message)


def _seed_problems(old: Sweep, new: Sweep) -> Iterator[Problem]:
    path: KeyPath = ("sweep", "seeds")
    if new.seeds < old.seeds:
        yield Problem(path, f"{new.seeds} would remove some of the {old.seeds} seeds")
    elif old.pruner is not None:
        message = f"{old.pruner} compares cells that train together; start a new sweep"
        yield Problem(path, f"{message} for other seeds")


def _trial_problems(old: Sweep, new: Sweep) -> Iterator[Problem]:
    path: KeyPath = ("sweep", "trials")
    if old.search is None:
        yield Problem(path, "this sweep has no search; give more values to its axes")
    elif new.trials < old.trials:
        yield Problem(path, f"{new.trials} would remove some of the {old.trials} trials")


def _race_problems(changed: Sequence[str]) -> Iterator[Problem]:
    for key in changed:
        if key.startswith(_STARTERS):
            message = "the cells of a race start together; start a new sweep for other cells"
            yield Problem(tuple(key.split(".", 2)), message)


def _confirm_problems(old: Sweep, new: Sweep) -> Iterator[Problem]:
    if new.confirm < old.confirm:
        message = f"{new.confirm} would remove some of the {old.confirm} replicates"
        yield Problem(("sweep", "confirm"), message)


def lacking(
    rounds: Sequence[Round], fixed: Sequence[PlannedCell], config: Config
) -> dict[tuple[int, ...], list[PlannedCell]]:
    """Cells that the plan lacks, or some of whose replicates: by the replicates, from 0.

    fixed: the cells of a grid; those of a search are proposed when their time comes.
    """
    runs = [run for each in rounds if each.purpose == "cells" for run in each.runs]
    planned: dict[Any, PlannedCell] = {}
    known: dict[int, list[PlannedRun]] = {}
    for run in runs:
        planned.setdefault(identity(run.params), PlannedCell(run.cell, run.params))
        known.setdefault(run.cell, []).append(run)
    number = max(known, default=-1)
    for cell in fixed:
        if identity(cell.params) not in planned:
            number += 1
            planned[identity(cell.params)] = PlannedCell(number, cell.params)
    wanted = range((config.sweep or Sweep()).seeds)
    found: dict[tuple[int, ...], list[PlannedCell]] = {}
    for cell in planned.values():
        there = replicates_in(known.get(cell.index, ()))
        missing = tuple(each for each in wanted if each not in there)
        if missing:
            found.setdefault(missing, []).append(cell)
    return found


def replicates_in(runs: Sequence[PlannedRun]) -> set[int]:
    """Which replicates of a cell these are: every plan begins with the first one."""
    pairs = [(run.seed, run.data_seed or 0) for run in runs]
    seed, data = min(pairs, default=(0, 0))
    return {max(pair[0] - seed, pair[1] - data) for pair in pairs}
