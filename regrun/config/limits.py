"""How many runs are too many: counted from the config alone, before anything is made of it."""

from __future__ import annotations

from math import log10

from regrun.config.load import Loaded
from regrun.config.sweeps import Sweep
from regrun.errors import ConfigError, UsageError

MOST_RUNS = 100_000
"""Each run is a directory with several files, and about a kilobyte in the plan."""

MOST_COUNTED = 10**15
"""More than this is no plan, whatever is allowed."""

ALLOWED = "(or --allow-large to try)"


def check_runs(loaded: Loaded, *, allow_large: bool) -> None:
    """Raise ConfigError, located, for a sweep of more runs than anyone wants to store.

    Nothing is multiplied out: a grid of a hundred million cells is refused as fast as any other.
    """
    sweep = loaded.config.sweep
    if sweep is None or (allow_large and sweep.runs <= MOST_COUNTED):
        return
    cells = sweep.runs // sweep.seeds
    key, fewer = _largest(sweep, cells)
    if sweep.runs > MOST_RUNS:
        with loaded.source.locating():
            raise ConfigError.at(
                key,
                f"{_counted(sweep.runs, 'run')} ({_counted(cells, 'cell')}, "
                f"{_counted(sweep.seeds, 'seed')} each), more than {MOST_RUNS:,}; "
                f"use {fewer} {ALLOWED if sweep.runs <= MOST_COUNTED else ''}".rstrip(),
            )
    if sweep.confirm > MOST_RUNS:
        with loaded.source.locating():
            raise ConfigError.at(
                "sweep.confirm",
                f"{sweep.confirm:,} replicates of each finalist, more than {MOST_RUNS:,}; "
                f"use fewer {ALLOWED}",
            )


def check_count(count: int, counted: str, remedy: str, *, allow_large: bool) -> None:
    """Raise UsageError for more members of a study than of a sweep. counted: what there are."""
    if count > MOST_RUNS and not allow_large:
        raise UsageError(f"{counted}, more than {MOST_RUNS:,}; {remedy} {ALLOWED}")


def _largest(sweep: Sweep, cells: int) -> tuple[str, str]:
    """The key that asks for most of the runs, and what to use less of."""
    if sweep.seeds > cells:
        return "sweep.seeds", "fewer seeds"
    if sweep.space:
        return "sweep.trials", "fewer trials"
    return ("sweep.cells", "fewer cells") if sweep.cells else ("sweep.grid", "fewer values")


def _counted(count: int, noun: str) -> str:
    number = f"{count:,}" if count <= MOST_COUNTED else f"more than 10^{int(log10(count))}"
    return f"{number} {noun}" if count == 1 else f"{number} {noun}s"
