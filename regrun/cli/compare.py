"""`regrun compare`: finished runs side by side."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from regrun.analysis.cells import Cell, group_by_setting
from regrun.analysis.sweeps import (
    chosen_metric,
    confirmed_cells,
    metric_of_cells,
    sweep_cells,
)
from regrun.cli.cell_report import answers, csv_rows
from regrun.cli.completion import complete_run_directory
from regrun.cli.console import notify, print_csv, print_json, say
from regrun.cli.options import Csv, Json
from regrun.errors import CorruptInputError, UsageError
from regrun.store.reading import StoredRun, find_runs, load_stored_run
from regrun.store.study import refuse_path
from regrun.store.sweep_dir import SweepDir

MOST_NAMED = 5
"""Runs that are left out and named."""

Directories = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR",
        help="Runs, or folders of runs.",
        autocompletion=complete_run_directory,
    ),
]


def compare(directories: Directories, as_json: Json = False, as_csv: Csv = False) -> None:
    """Compare finished runs; those that differ only in the seed become mean ± 95% interval."""
    if as_json and as_csv:
        raise UsageError("--json and --csv: give one of them")
    sweep = SweepDir(directories[0])
    is_sweep = len(directories) == 1 and sweep.config.is_file()
    damaged: list[CorruptInputError] = []
    confirmed: list[Cell] = []
    if is_sweep:
        cells = sweep_cells(sweep, layers=as_json, on_damage=damaged.append)
        confirmed = confirmed_cells(sweep, on_damage=damaged.append)
        if damaged and not cells:
            raise damaged[0]
    else:
        cells = group_by_setting(_finished(directories, damaged))
    for damage in damaged[:MOST_NAMED]:
        notify(f"{damage}; left out")
    if as_json:
        print_json([cell.summarize_with_runs() for cell in cells])
    elif as_csv:
        print_csv(csv_rows(cells))
    elif is_sweep:
        say(*answers(cells, chosen_metric(sweep, cells), confirmed=confirmed))
    else:
        say(*answers(cells, metric_of_cells(cells), plots=False))
    if damaged:
        runs = "1 damaged run was" if len(damaged) == 1 else f"{len(damaged):,} damaged runs were"
        names = shlex.join(str(path) for path in directories)
        raise CorruptInputError(f"{runs} left out; to check all files: regrun verify {names}")


def _finished(directories: Sequence[Path], damaged: list[CorruptInputError]) -> list[StoredRun]:
    """The finished runs in the directories and below; the others are named on stderr.

    The runs of confirmations are left out: they are no more of their cells' replicates.
    """
    found = find_runs(directories)
    confirming = {
        files.run(run).path
        for files in map(SweepDir, {run.path.parent for run in found})
        for each in files.read_rounds()
        if each.purpose == "confirmation"
        for run in each.runs
    }
    runs = []
    for files in found:
        if files.path not in confirming:
            try:
                run = load_stored_run(files)
                if run.config:  # read now, so that all damage is known
                    runs.append(run)
            except CorruptInputError as damage:
                damaged.append(damage)
    unfinished = [run for run in runs if run.summary is None]
    for run in unfinished[:MOST_NAMED]:
        notify(f"{run.path}: {run.status}, left out; to finish it: regrun resume {run.path}")
    if len(unfinished) > MOST_NAMED:
        notify(f"{len(unfinished) - MOST_NAMED:,} more unfinished runs left out")
    finished = [run for run in runs if run.summary is not None]
    if not finished and damaged:
        raise damaged[0]
    if not finished:
        for directory in directories:
            refuse_path(directory)
        raise UsageError(f"no finished run in {', '.join(str(path) for path in directories)}")
    return finished
