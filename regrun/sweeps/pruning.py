"""Giving up on cells while they train, by Optuna's pruners.

The members of a stack reach an epoch together, where Optuna's pruners expect trials that arrive one
after the other and are compared with those before. Two things bridge that, and the decisions stay
Optuna's:

* asha, hyperband: Optuna keeps a cell that is in the best 1/η of those that *have reached* the
  rung. Cells are therefore asked in an order that leaves nothing to the order: the best 1/η from
  worst to best, each the best so far, then the others. This is synchronous successive halving
  (Jamieson & Talwalkar 2016).
* median: Optuna compares with *completed* trials, and nothing in a stack is completed before all
  is. Therefore all cells' values stand for completed trials; a pruned cell's last value stays
  among them, since otherwise every decision would cut the rest in half.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from regrun.config.schema import Config
from regrun.metrics import Metric
from regrun.sweeps.search import quiet_optuna
from regrun.sweeps.selection import metric_of

if TYPE_CHECKING:
    import optuna

REDUCTION = 2
"""η of asha and hyperband. With rungs at 1/8, 1/4 and 1/2 of the epochs, asha spends at most a
third of them; at the same cost larger η, which rank earlier, lose the best cell more often."""

FIRST_RUNG = 8
"""The first rung is at max_epochs / FIRST_RUNG."""

MEDIAN_DECISIONS = 10
"""The median pruner decides after every tenth of the epochs."""

_WORST = 1e300
"""Stands for a diverged cell; finite, since a percentile between infinities is no number."""

Kind = Literal["median", "asha", "hyperband"]
Report = tuple[int, dict[int, float]]


class Pruner:
    """Decides for the cells of one stack, at a few epochs (`decides_at`).

    cells: all indices that will be reported. Deterministic: the same reports give the same
    decisions, in whichever order the cells stand.
    """

    def __init__(self, kind: Kind, metric: Metric, max_epochs: int, cells: Sequence[int]) -> None:
        self.metric = metric.name
        self.reports: list[Report] = []
        """What it has decided by: all of its state."""
        self._kind, self._max_epochs = kind, max_epochs
        self._direction, self._sign = metric.direction, metric.sign
        self._first_rung = max(1, max_epochs // FIRST_RUNG)
        if kind == "median":
            step = max(1, max_epochs // MEDIAN_DECISIONS)
            self.decides_at = tuple(range(step, max_epochs, step))
            return
        with quiet_optuna():
            study = self._study()
            self._trials = {cell: study.ask() for cell in cells}
        rungs = [self._first_rung]
        while rungs[-1] <= max_epochs // 2:
            rungs.append(rungs[-1] * REDUCTION)
        self.decides_at = tuple(rungs[:-1])

    def report(self, epoch: int, values: Mapping[int, float]) -> set[int]:
        """Cells to prune now.

        epoch: how far all of them are. values: cell → metric, mean over its seeds, of every cell
        that is still trained; one that is not finite counts as the worst. Epochs between those in
        `decides_at` are let pass; where evaluations are rarer than these, the next one decides.
        """
        last = self.reports[-1][0] if self.reports else 0
        passed = sum(last < each <= epoch for each in self.decides_at)
        if not passed or epoch >= self._max_epochs or not values:
            return set()
        finite = {
            cell: value if math.isfinite(value) else self._sign * _WORST
            for cell, value in sorted(values.items())
        }
        self.reports.append((epoch, finite))
        with quiet_optuna():
            if self._kind == "median":
                return self._below_median(epoch)
            return self._halve(epoch, finite, len(finite) // REDUCTION**passed)

    def replay(self, reports: Iterable[tuple[int, Mapping[int, float]]]) -> None:
        """Take in earlier reports again after a resume: `reports`, or the stored metrics."""
        for epoch, values in reports:
            self.report(epoch, values)

    def _halve(self, epoch: int, values: Mapping[int, float], kept: int) -> set[int]:
        for cell, value in values.items():
            self._trials[cell].report(value, epoch)
        best_first = sorted(values, key=lambda cell: self._sign * values[cell])
        order = [*reversed(best_first[:kept]), *best_first[kept:]]
        return {cell for cell in order if self._trials[cell].should_prune()}

    def _below_median(self, epoch: int) -> set[int]:
        from optuna.trial import create_trial

        last: dict[int, float] = {}
        best: dict[int, float] = {}
        choose = min if self._direction == "minimize" else max
        for _, values in self.reports:
            for cell, value in values.items():
                last[cell] = value
                best[cell] = choose(best.get(cell, value), value)
        study = self._study()
        for value in last.values():
            study.add_trial(create_trial(value=value, intermediate_values={epoch: value}))
        pruned = set()
        for cell in self.reports[-1][1]:
            trial = study.ask()
            trial.report(best[cell], epoch)
            if trial.should_prune():
                pruned.add(cell)
        return pruned

    def _study(self) -> optuna.Study:
        import optuna
        from optuna.pruners import HyperbandPruner, MedianPruner, SuccessiveHalvingPruner

        pruner: optuna.pruners.BasePruner
        match self._kind:
            case "median":
                pruner = MedianPruner()
            case "asha":
                pruner = SuccessiveHalvingPruner(self._first_rung, REDUCTION)
            case "hyperband":
                pruner = HyperbandPruner(self._first_rung, self._max_epochs, REDUCTION)
        # Hyperband draws brackets from the study's name and the trial's number.
        return optuna.create_study(
            study_name="regrun",
            direction=self._direction,
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=pruner,
        )


def pruner_of(config: Config, cells: Sequence[int], epochs: int | None = None) -> Pruner | None:
    """The pruner of a sweep for the cells of one stack; None when the sweep has none.

    epochs: of these cells, when they are not ``training.epochs`` of the sweep's own config.
    """
    if config.sweep is None or config.sweep.pruner is None:
        return None
    metric = metric_of(config)
    return Pruner(config.sweep.pruner, metric, epochs or config.training.epochs, cells)
