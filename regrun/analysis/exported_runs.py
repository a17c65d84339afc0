"""Stored runs as they are handed to programs that track experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regrun.analysis.sweeps import StoredSweep
from regrun.store.reading import StoredRun, load_stored_run
from regrun.store.sweep_dir import SweepDir

ENDED_WELL = ("completed", "pruned")
"""Status of a run that other programs show as finished."""


@dataclass(frozen=True)
class Entry:
    """A run, and of a sweep the settings of its cell."""

    run: StoredRun
    settings: Mapping[str, Any]
    cell: int | None = None
    """Its number in the plan of the sweep."""


def entries_of(directory: Path) -> list[Entry]:
    """The runs of a sweep, or a single one.

    Raises UsageError when there is neither, CorruptInputError, StorageError.
    """
    files = SweepDir(directory)
    if not files.config.is_file():
        return [Entry(load_stored_run(directory), {})]
    sweep = StoredSweep(files)
    number_of = {run.directory: run.cell for each in sweep.rounds for run in each.runs}
    return [
        Entry(load_stored_run(run.path), cell.params, number_of[run.path.name])
        for cell in sweep.cells
        for run in cell.runs
    ]
