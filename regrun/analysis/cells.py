"""Runs that differ only in their seed are one cell: one setting, measured several times."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from regrun.analysis.statistics import mean_interval
from regrun.results import CellSummary, Estimate, MetricInterval, RunSummary
from regrun.settings import flatten

_NOT_SETTINGS = ("seed", "sweep")
"""Top-level keys that say which run this is, not what was tried."""


LOST = ("diverged", "failed")
"""Statuses of runs without a result."""


class Run(Protocol):
    """What a cell needs of a stored run."""

    @property
    def path(self) -> Path: ...

    @property
    def status(self) -> str: ...

    @property
    def config(self) -> Mapping[str, Any]: ...

    @property
    def summary(self) -> RunSummary | None:
        """None while the run is unfinished."""


@dataclass(frozen=True)
class Cell:
    """One setting and its runs, by seed."""

    params: Mapping[str, Any]
    """The config keys that differ between the cells of one table, dotted."""
    runs: Sequence[Run] = field(repr=False)

    @property
    def seeds(self) -> int:
        return len(self.runs)

    @cached_property
    def _table(self) -> dict[str, dict[int, float]]:
        """Metric → seed → value. What a lost run measured before it diverged is no result."""
        found: dict[str, dict[int, float]] = {}
        for run in self.runs:
            if run.status in LOST:
                continue
            seed = int(run.config.get("dataset.seed", run.config.get("seed", 0)))
            for name, value in metric_values(run.summary).items():
                found.setdefault(name, {})[seed] = value
        return found

    @cached_property
    def _intervals(self) -> dict[str, Estimate]:
        return {name: mean_interval(list(each.values())) for name, each in self._table.items()}

    def values(self, metric: str) -> dict[int, float]:
        """Seed → value, of the runs that have a finite one."""
        return self._table.get(metric, {})

    def interval(self, metric: str) -> Estimate | None:
        """Mean and 95% interval over seeds; None when no run has the metric."""
        return self._intervals.get(metric)

    @property
    def metrics(self) -> list[str]:
        """Every metric that some run has, in the order of the first run that has it."""
        return list(self._table)

    def count(self, status: str) -> int:
        """Runs that ended with this status."""
        return sum(run.status == status for run in self.runs)

    @property
    def lost(self) -> int:
        """Runs that diverged or failed."""
        return sum(run.status in LOST for run in self.runs)

    def summarize(self) -> CellSummary:
        """What JSON holds of the cell, without its runs."""
        metrics = {
            name: MetricInterval(mean=each.mean, low=each.low, high=each.high, values=values)
            for name, each in self._intervals.items()
            for values in [list(self.values(name).values())]
        }
        return CellSummary(params=dict(self.params), seeds=self.seeds, metrics=metrics)

    def summarize_with_runs(self) -> CellSummary:
        """The same with the summaries of the finished runs."""
        runs = [run.summary for run in self.runs if run.summary is not None]
        return self.summarize().model_copy(update={"runs": runs})


def group_by_setting(runs: Iterable[Run]) -> list[Cell]:
    """Cells in order of first appearance, each with its runs by rising seed.

    Two runs share a cell when their configs are equal in every key but the seed. The same
    setting trained twice with the same seed counts once (the later run), because its values
    are not independent.
    """
    groups: dict[str, tuple[dict[str, Any], dict[int, Run]]] = {}
    for run in runs:
        setting = {key: value for key, value in run.config.items() if key not in _NOT_SETTINGS}
        _, by_seed = groups.setdefault(
            json.dumps(setting, sort_keys=True, default=str), (setting, {})
        )
        by_seed[int(run.config.get("seed", 0))] = run
    differing = differing_keys([setting for setting, _ in groups.values()])
    return [
        Cell(params, [by_seed[seed] for seed in sorted(by_seed)])
        for params, (_, by_seed) in zip(differing, groups.values(), strict=True)
    ]


def differing_keys(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each config its values of the dotted keys that are not the same in all of them.

    A key that a config does not have is left out of its own entry.
    """
    flat = [flatten(config) for config in configs]
    missing = object()
    kept = [
        key
        for key in dict.fromkeys(key for entries in flat for key in entries)
        if any(entries.get(key, missing) != flat[0].get(key, missing) for entries in flat)
    ]
    return [{key: entries[key] for key in kept if key in entries} for entries in flat]


def metric_values(summary: RunSummary | None) -> dict[str, float]:
    """Everything comparable in a summary, by metric name; only finite numbers.

    ``gap/loss`` and ``gap/accuracy`` are test − train.
    """
    if summary is None:
        return {}
    weights = summary.weights
    found = {
        **summary.metrics,
        "weights/l1": weights.l1,
        "weights/l2": weights.l2,
        "weights/sparsity": weights.sparsity,
        **{f"penalty/{name}": value for name, value in summary.penalty.items()},
    }
    numbers = {
        name: value for name, value in found.items() if value is not None and math.isfinite(value)
    }
    for quantity in ("loss", "accuracy"):
        if f"train/{quantity}" in numbers and f"test/{quantity}" in numbers:
            numbers[f"gap/{quantity}"] = numbers[f"test/{quantity}"] - numbers[f"train/{quantity}"]
    return numbers
