"""`regrun compare`: finished runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from regrun.analysis.cells import group_by_setting
from regrun.analysis.sweeps import chosen_metric, confirmed_cells, metric_of_cells, sweep_cells
from regrun.cli.cell_report import answers, csv_rows
from regrun.cli.completion import complete_run_directory
from regrun.cli.console import notify, print_csv, print_json, say
from regrun.cli.options import Csv, Json
from regrun.errors import UsageError
from regrun.store.reading import StoredRun, find_runs, load_stored_run
from regrun.store.sweep_dir import SweepDir

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
    if is_sweep:
        cells = sweep_cells(sweep, layers=as_json)
    else:
        cells = group_by_setting(_finished(directories))
    if as_json:
        print_json([cell.summarize_with_runs() for cell in cells])
    elif as_csv:
        print_csv(csv_rows(cells))
    elif is_sweep:
        say(*answers(cells, chosen_metric(sweep, cells), confirmed=confirmed_cells(sweep)))
    else:
        say(*answers(cells, metric_of_cells(cells), plots=False))


def _finished(directories: Sequence[Path]) -> list[StoredRun]:
    """The finished runs in the directories and below; the others are named on stderr.

    The runs of confirmations are left out: they are no more of their cells' replicates.
    """
    found = find_runs(directories)
    confirming = {
        (sweep / run.directory).resolve()
        for sweep in {path.parent for path in found}
        for each in SweepDir(sweep).read_rounds()
        if each.purpose == "confirmation"
        for run in each.runs
    }
    runs = [load_stored_run(path) for path in found if path.resolve() not in confirming]
    unfinished = [run for run in runs if run.summary is None]
    for run in unfinished[:5]:
        notify(f"{run.path}: {run.status}, left out; to finish it: regrun resume {run.path}")
    if len(unfinished) > 5:
        notify(f"{len(unfinished) - 5:,} more unfinished runs left out")
    finished = [run for run in runs if run.summary is not None]
    if not finished:
        raise UsageError(f"no finished run in {', '.join(str(path) for path in directories)}")
    return finished
