"""`regrun compare`: finished runs side by side."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regrun.cli.completion import complete_run_directory
from regrun.cli.options import Json

if TYPE_CHECKING:
    from regrun.store.reading import StoredRun

Directories = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR",
        help="Runs, or folders of runs.",
        autocompletion=complete_run_directory,
    ),
]


def compare(
    directories: Directories,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV to stdout.")] = False,
) -> None:
    """Compare finished runs; those that differ only in the seed become mean ± 95% interval."""
    from regrun.analysis.cells import group_by_setting
    from regrun.analysis.sweeps import chosen_metric, metric_of_cells, sweep_cells
    from regrun.cli.comparison import comparison_table, conclusions, csv_rows
    from regrun.cli.console import print_json, say
    from regrun.cli.sweep_report import answers
    from regrun.errors import UsageError
    from regrun.store.sweep_dir import SweepDir

    if as_json and as_csv:
        raise UsageError("--json and --csv: give one of them")
    sweep = SweepDir(directories[0])
    is_sweep = len(directories) == 1 and sweep.config.is_file()
    cells = sweep_cells(sweep) if is_sweep else group_by_setting(_finished(directories))
    if as_json:
        print_json(
            [cell.document() for cell in cells]
            if is_sweep or any(cell.seeds > 1 for cell in cells)
            else [run.summary for cell in cells for run in cell.runs]
        )
    elif as_csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows(csv_rows(cells))
    elif is_sweep:
        for part in answers(cells, chosen_metric(sweep, cells)):
            say(part)
    else:
        say(comparison_table(cells))
        for line in conclusions(cells, metric_of_cells(cells)):
            say(line)


def _finished(directories: Sequence[Path]) -> list[StoredRun]:
    """The finished runs at or below the directories; the unfinished are told on stderr."""
    from regrun.cli.console import notify
    from regrun.errors import UsageError
    from regrun.store.reading import find_runs, load_stored_run

    runs = [load_stored_run(path) for path in find_runs(directories)]
    unfinished = [run for run in runs if run.summary is None]
    for run in unfinished[:5]:
        notify(f"{run.path}: {run.status}, left out; to finish it: regrun resume {run.path}")
    if len(unfinished) > 5:
        notify(f"{len(unfinished) - 5:,} more unfinished runs left out")
    finished = [run for run in runs if run.summary is not None]
    if not finished:
        raise UsageError(f"no finished run in {', '.join(str(path) for path in directories)}")
    return finished
