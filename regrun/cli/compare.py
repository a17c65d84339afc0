"""`regrun compare`: finished runs side by side."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from regrun.analysis.cells import Cell, group_by_setting
from regrun.analysis.comparison import runs_to_compare
from regrun.analysis.sweeps import StoredSweep, metric_of_cells
from regrun.cli.cell_report import answers, csv_rows
from regrun.cli.completion import complete_run_directory
from regrun.cli.console import notify, print_csv, print_json, say
from regrun.cli.options import Csv, Json, Wide
from regrun.cli.unfinished import advice
from regrun.errors import CorruptInputError, UsageError
from regrun.settings import flatten
from regrun.store.reading import StoredRun
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


def compare(
    directories: Directories, as_json: Json = False, as_csv: Csv = False, wide: Wide = False
) -> None:
    """Compare finished runs; those that differ only in the seed become mean ± 95% interval."""
    if as_json and as_csv:
        raise UsageError("--json and --csv: give one of them")
    damaged: list[CorruptInputError] = []
    stored = StoredSweep(SweepDir(directories[0]), layers=as_json, on_damage=damaged.append)
    is_sweep = len(directories) == 1 and stored.files.config.is_file()
    confirmed: list[Cell] = []
    if is_sweep:
        cells, confirmed = stored.cells, stored.confirmed
        if damaged and not cells:
            raise damaged[0]
    else:
        cells = group_by_setting(finished_runs(directories, damaged))
    name_damage(damaged)
    if as_json:
        print_json([cell.summarize_with_runs() for cell in cells])
    elif as_csv:
        print_csv(csv_rows(cells))
    elif is_sweep:
        say(*answers(cells, stored.metric, wide=wide, confirmed=confirmed))
    else:
        shown = cells if wide else _that_say_something(cells)
        say(*answers(shown, metric_of_cells(cells), plots=False, wide=wide))
    refuse_damage(damaged, directories)


def name_damage(damaged: Sequence[CorruptInputError]) -> None:
    """Name the first damaged runs on stderr."""
    for damage in damaged[:MOST_NAMED]:
        notify(f"{damage}; left out")


def count_of(damaged: int) -> str:
    """``2 damaged, left out``: runs, and sweeps whose plan is damaged."""
    return f"{damaged:,} damaged, left out"


def refuse_damage(damaged: Sequence[CorruptInputError], directories: Sequence[Path]) -> None:
    """Raise CorruptInputError, at the end, where damaged runs were left out."""
    if damaged:
        names = shlex.join(str(path) for path in directories)
        raise CorruptInputError(
            f"{count_of(len(damaged))}; to check all files: regrun verify {names}"
        )


def _that_say_something(cells: Sequence[Cell]) -> list[Cell]:
    """The cells without the keys that only some of them have, all by default."""
    shared = set.intersection(*(set(cell.params) for cell in cells))
    if all(cell.params.keys() == shared for cell in cells):
        return list(cells)
    from regrun.config.defaults import without_defaults

    chosen = (flatten(without_defaults(cell.runs[0].config)).keys() for cell in cells)
    kept = shared.union(*chosen)
    kept |= {key.partition(".")[0] for key in kept}  # `loss: auto` where another has `loss.delta`
    return [
        replace(cell, params={key: cell.params[key] for key in cell.params if key in kept})
        for cell in cells
    ]


def finished_runs(directories: Sequence[Path], damaged: list[CorruptInputError]) -> list[StoredRun]:
    """The finished runs in the directories and below; the others are named on stderr."""
    runs = runs_to_compare(directories, damaged.append)
    unfinished = advice(runs)
    for line in unfinished[:MOST_NAMED]:
        notify(f"left out: {line}")
    if len(unfinished) > MOST_NAMED:
        notify(f"{len(unfinished) - MOST_NAMED:,} more unfinished ones left out")
    finished = [run for run in runs if run.summary is not None]
    if not finished and damaged:
        raise damaged[0]
    if not finished:
        for directory in directories:
            refuse_path(directory)
        raise UsageError(f"no finished run in {', '.join(str(path) for path in directories)}")
    return finished
