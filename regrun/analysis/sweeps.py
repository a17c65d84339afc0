"""A stored sweep as cells, and the document that `sweep --json` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regrun.analysis.cells import Cell, not_distinguishable_from_best
from regrun.errors import CorruptInputError
from regrun.metrics import METRICS, Metric, default_metric
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


def sweep_document(files: SweepDir, metric: Metric, seconds: Mapping[str, float]) -> dict[str, Any]:
    """What `sweep --json` prints, and `summary.json` holds.

    metric: what the best cell is chosen by; its split is `selected_on`. Cells that were pruned
    cannot be the best.
    """
    cells = sweep_cells(files)
    counts = Counter(run.status for cell in cells for run in cell.runs)
    alike = best_cells(cells, metric)
    return {
        "sweep_dir": str(files.path),
        "runs": sum(counts.values()),
        **{name: counts[name] for name in ("completed", "diverged", "failed", "pruned")},
        "unfinished": counts["unfinished"],
        "cells": [cell.document() for cell in cells],
        "best": {
            "params": dict(alike[0].params),
            "metric": metric.name,
            "selected_on": metric.split,
            "not_distinguishable": [dict(cell.params) for cell in alike[1:]],
        }
        if alike
        else None,
        "seconds": dict(seconds),
    }


def metric_of_cells(cells: Sequence[Cell]) -> Metric:
    """The default metric of stored cells: the validation loss where all that ended have one."""
    ended = [cell for cell in cells if cell.metrics]
    validated = bool(ended) and all(cell.values("val/loss") for cell in ended)
    return default_metric(has_validation=validated)


def chosen_metric(files: SweepDir, cells: Sequence[Cell]) -> Metric:
    """What a stored sweep's best cell is chosen by. Raises CorruptInputError, StorageError."""
    section = read_config(files.config).get("sweep") or {}
    name = section.get("metric")
    if name is None:
        return metric_of_cells(cells)
    if name not in METRICS:
        raise CorruptInputError(f"{files.config}: sweep.metric: {name!r} is not a metric")
    return Metric.from_name(name)


def best_cells(cells: Sequence[Cell], metric: Metric) -> list[Cell]:
    """The best cell, then those that cannot be told from it (paired on seeds, Holm), best first."""
    whole = [cell for cell in cells if not cell.count("pruned")]
    alike = not_distinguishable_from_best(whole, metric)
    return sorted(alike, key=lambda cell: metric.sign * _mean(cell, metric))


def _mean(cell: Cell, metric: Metric) -> float:
    values = list(cell.values(metric.name).values())
    return sum(values) / len(values)
