"""The networks that predict: of one run, or of a sweep's best cell, one for each seed."""

from __future__ import annotations

from pathlib import Path

from regrun.analysis.sweeps import StoredSweep, best_cells
from regrun.errors import UsageError
from regrun.execution.predict import Predictor, load_run_predictor
from regrun.settings import format_value
from regrun.store.run_dir import RunDir
from regrun.store.sweep_dir import SweepDir


def load_predictor(directory: Path, average: str | None, device: str) -> Predictor:
    """The network of a run, or those of a sweep's best cell.

    Raises UsageError when there are no weights, CorruptInputError, StorageError.
    """
    if SweepDir(directory).config.is_file():
        return load_sweep_predictor(directory, average, device)
    return load_run_predictor([directory], average, device)


def load_sweep_predictor(directory: Path, average: str | None, device: str) -> Predictor:
    """An ensemble of all seeds of the best cell that have weights.

    Raises UsageError when no run has any, CorruptInputError, StorageError.
    """
    sweep = StoredSweep(SweepDir(directory))
    metric = sweep.metric
    best = best_cells(sweep.cells, metric)
    if not best:
        raise UsageError(f"{directory}: no cell of this sweep has {metric.name}")
    runs = [run.path for run in best[0].runs]
    usable = [path for path in runs if RunDir(path).weights.exists()]
    if not usable:
        raise UsageError(f"{directory}: no run of the best cell has weights")
    setting = ", ".join(f"{key}={format_value(each)}" for key, each in best[0].params.items())
    seeds = f"{len(usable)} seed{'s' * (len(usable) != 1)}"
    notes = [f"the best cell by {metric.name} ({setting or 'the only one'}), {seeds}"]
    if len(usable) < len(runs):
        lost = len(runs) - len(usable)
        notes.append(f"{lost} of its {len(runs)} runs left out: they have no weights")
    return load_run_predictor(usable, average, device, notes)
