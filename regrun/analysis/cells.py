"""Runs that differ only in their seeds are one cell: one setting, measured several times."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from regrun.analysis.statistics import AddErrors, mean_interval
from regrun.metrics import METRICS, scale_of
from regrun.results import CellSummary, DataCard, Estimate, MetricInterval, Part, RunSummary, Scale
from regrun.settings import flatten
from regrun.store.reading import StoredRun, TestExamples
from regrun.store.run_dir import RunDir

if TYPE_CHECKING:
    from regrun.analysis.test_sets import Losses

_NOT_SETTINGS = ("seed", "sweep", "dataset.seed")
"""Keys that say which run this is, not what was tried."""

_PARTS: dict[str, Part] = {"train": "train", "val": "validation", "test": "test", "gap": "test"}
"""Split of a metric → part of the data."""

ON_TEST_EXAMPLES: dict[str, Literal["loss", "accuracy"]] = {
    "test/loss": "loss",
    "test/accuracy": "accuracy",
}
"""Metrics that runs can store for each test example."""

ScaleChoice = Literal["auto", "linear"]


LOST = ("diverged", "failed")
"""Statuses of runs without a result."""


class Replicate(NamedTuple):
    """The seeds of a run, in which the runs of a cell differ. Equal ones pair runs of two cells."""

    seed: int
    """Draws initial weights, the order of batches, and noise."""
    data_seed: int
    """Draws the data and their split."""


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
    """One setting and its runs, by replicate."""

    params: Mapping[str, Any]
    """The config keys that differ between the cells of one table, dotted."""
    runs: Sequence[Run] = field(repr=False)
    scale_choice: ScaleChoice = "auto"
    """`linear`: arithmetic means and differences, whatever the metric."""
    is_out: bool = False
    """Whether a race gave it no more replicates, since it was worse than the best."""

    @property
    def seeds(self) -> int:
        return len(self.runs)

    @cached_property
    def replicates(self) -> list[Replicate]:
        """The replicate of each of `runs`."""
        return [replicate_of(run.config) for run in self.runs]

    @cached_property
    def card(self) -> DataCard | None:
        """The data of the first run that ended; those of other replicates are like them."""
        cards = (run.summary.data for run in self.runs if run.summary is not None)
        return next((card for card in cards if card is not None), None)

    @cached_property
    def _table(self) -> dict[str, dict[Replicate, float]]:
        """Metric → replicate → value. What a lost run measured before it diverged is no result."""
        found: dict[str, dict[Replicate, float]] = {}
        for run, replicate in zip(self.runs, self.replicates, strict=True):
            if run.status in LOST:
                continue
            for name, value in metric_values(run.summary).items():
                found.setdefault(name, {})[replicate] = value
        return found

    @cached_property
    def _intervals(self) -> dict[str, Estimate]:
        return {
            name: mean_interval(
                [*each.values()], self.scale(name), self.overlap(name), self._test_set_error(name)
            )
            for name, each in self._table.items()
        }

    def _test_set_error(self, metric: str) -> AddErrors | None:
        """What adds the error of sampling the test examples, where the runs stored them."""
        losses = self.test_examples(metric)
        if losses is None:
            return None
        from regrun.analysis.test_sets import sampling_error, with_sampling_error

        relative = self.scale(metric) == "log"
        return with_sampling_error(sampling_error(losses, relative=relative), losses.shape[1])

    def test_examples(self, metric: str) -> Losses | None:
        """The metric on each test example, (replicates, examples), in the order of `values`.

        None unless all runs stored it, on the same test examples. Raises CorruptInputError.
        """
        if metric not in ON_TEST_EXAMPLES or not self._stored_examples:
            return None
        from regrun.analysis.test_sets import on_one_test_set

        return on_one_test_set(self._stored_examples, ON_TEST_EXAMPLES[metric])

    @cached_property
    def _stored_examples(self) -> list[TestExamples]:
        """What each run with a result stored of the test examples; empty unless all did."""
        found = []
        for run in self.runs:
            if run.status in LOST or run.summary is None:
                continue
            stored = StoredRun(RunDir(run.path), run.summary).test_examples
            if stored is None:
                return []
            found.append(stored)
        return found

    def values(self, metric: str) -> dict[Replicate, float]:
        """Replicate → value, of the runs that have a finite one."""
        return self._table.get(metric, {})

    def interval(self, metric: str) -> Estimate | None:
        """Mean and 95% interval over replicates; None when no run has the metric."""
        return self._intervals.get(metric)

    def scale(self, metric: str) -> Scale:
        """On which scale the metric is averaged and compared."""
        return "linear" if self.scale_choice == "linear" else scale_of(metric)

    def overlap(self, metric: str) -> float:
        """How much splits of one dataset have in common; see `analysis.statistics.mean_interval`.

        0 unless the data vary and what the metric is measured on is cut from the same examples as
        what is trained on.
        """
        split = METRICS[metric].split if metric in METRICS else metric.partition("/")[0]
        part = _PARTS.get(split)
        card = self.card
        if card is None or card.generated or part in (None, "train") or part not in card.drawn:
            return 0.0
        if len({replicate.data_seed for replicate in self.replicates}) < 2:
            return 0.0
        return card.sizes[part] / (card.pool - card.sizes[part])

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
            name: MetricInterval(
                mean=each.mean,
                low=each.low,
                high=each.high,
                scale=each.scale,
                arithmetic_mean=mean_interval(values).mean,
                values=values,
            )
            for name, each in self._intervals.items()
            for values in [[*self.values(name).values()]]
        }
        return CellSummary(params=dict(self.params), seeds=self.seeds, metrics=metrics)

    def summarize_with_runs(self) -> CellSummary:
        """The same with the summaries of the finished runs."""
        runs = [run.summary for run in self.runs if run.summary is not None]
        return self.summarize().model_copy(update={"runs": runs})


def group_by_setting(runs: Iterable[Run]) -> list[Cell]:
    """Cells in order of first appearance, each with its runs by rising seeds.

    Two runs share a cell when their configs are equal in every key but `seed` and `dataset.seed`.
    The same setting trained twice with the same seeds counts once (the later run), because its
    values are not independent.
    """
    groups: dict[str, tuple[dict[str, Any], dict[Replicate, Run]]] = {}
    for run in runs:
        flat = flatten({**run.config, "sweep": None})
        setting = {key: value for key, value in flat.items() if key not in _NOT_SETTINGS}
        _, replicates = groups.setdefault(
            json.dumps(setting, sort_keys=True, default=str), (setting, {})
        )
        replicates[replicate_of(run.config)] = run
    differing = differing_keys([setting for setting, _ in groups.values()])
    return [
        Cell(params, [replicates[each] for each in sorted(replicates)])
        for params, (_, replicates) in zip(differing, groups.values(), strict=True)
    ]


def replicate_of(config: Mapping[str, Any]) -> Replicate:
    """The seeds of a run.

    config: nested, or with dotted keys.
    """
    dataset = config.get("dataset")
    nested = dataset.get("seed", 0) if isinstance(dataset, Mapping) else 0
    return Replicate(int(config.get("seed", 0)), int(config.get("dataset.seed", nested)))


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
