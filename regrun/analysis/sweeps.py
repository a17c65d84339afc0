"""A stored sweep as cells, and the document that `sweep --json` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regrun.analysis.cells import Cell, not_distinguishable_from_best
from regrun.analysis.statistics import Direction
from regrun.metrics import sign_of, split_of
from regrun.store.reading import load_summary, read_config
from regrun.store.sweep_dir import PlannedRun, SweepDir

_KEPT = ("status", "epochs", "metrics", "penalty")


@dataclass(frozen=True)
class SweptRun:
    """A run of a sweep: what the plan says of it, and its summary."""

    path: Path
    config: Mapping[str, Any]
    """Its seed and swept keys only."""
    summary: Mapping[str, Any] | None
    """Its status, epochs and all that can be compared; a sweep has too many runs for the rest."""

    @property
    def status(self) -> str:
        """How it ended; `unfinished` when it has not."""
        return "unfinished" if self.summary is None else str(self.summary["status"])


def sweep_cells(files: SweepDir) -> list[Cell]:
    """The cells of a sweep in the order of the plan, each with its runs by seed.

    Reads the plan and each run's summary, nothing else. Raises CorruptInputError, StorageError.
    """
    groups: dict[int, list[PlannedRun]] = {}
    for each in files.read_rounds():
        for run in each.runs:
            groups.setdefault(run.cell, []).append(run)
    return [Cell(runs[0].params, [_swept(files, run) for run in runs]) for runs in groups.values()]


def _swept(files: SweepDir, run: PlannedRun) -> SweptRun:
    path = files.path / run.directory
    summary = load_summary(path)
    if summary is not None:
        kept: dict[str, Any] = {key: summary[key] for key in _KEPT if key in summary}
        weights = summary.get("weights") or {}
        kept["weights"] = {key: each for key, each in weights.items() if key != "per_layer"}
        summary = kept
    return SweptRun(path, {**run.params, "seed": run.seed}, summary)


def sweep_document(
    files: SweepDir, metric: str, direction: Direction, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """What `sweep --json` prints, and `summary.json` holds.

    metric: what the best cell is chosen by; its split is `selected_on`. Cells that were pruned
    cannot be the best.
    """
    cells = sweep_cells(files)
    counts = Counter(run.status for cell in cells for run in cell.runs)
    alike = best_cells(cells, metric, direction)
    return {
        "sweep_dir": str(files.path),
        "runs": sum(counts.values()),
        **{name: counts[name] for name in ("completed", "diverged", "failed", "pruned")},
        "unfinished": counts["unfinished"],
        "cells": [cell.document() for cell in cells],
        "best": {
            "params": dict(alike[0].params),
            "metric": metric,
            "selected_on": split_of(metric),
            "not_distinguishable": [dict(cell.params) for cell in alike[1:]],
        }
        if alike
        else None,
        "seconds": dict(seconds),
    }


def direction_of(metric: str) -> Direction:
    """Accuracies are maximised, all else is minimised."""
    return "max" if sign_of(metric) < 0 else "min"


def default_metric(cells: Sequence[Cell]) -> str:
    """What cells are ordered by when nobody says: the validation loss where all have one."""
    ended = [cell for cell in cells if cell.metrics]
    by_validation = ended and all(cell.values("val/loss") for cell in ended)
    return "val/loss" if by_validation else "test/loss"


def chosen_metric(files: SweepDir, cells: Sequence[Cell]) -> str:
    """What a stored sweep's best cell is chosen by. Raises CorruptInputError, StorageError."""
    section = read_config(files.config).get("sweep") or {}
    return section.get("metric") or default_metric(cells)


def best_cells(cells: Sequence[Cell], metric: str, direction: Direction) -> list[Cell]:
    """The best cell, then those that cannot be told from it (paired on seeds, Holm), best first."""
    whole = [cell for cell in cells if not cell.count("pruned")]
    alike = not_distinguishable_from_best(whole, metric, direction)
    return sorted(alike, key=lambda cell: _mean(cell, metric), reverse=direction == "max")


def _mean(cell: Cell, metric: str) -> float:
    values = list(cell.values(metric).values())
    return sum(values) / len(values)
