"""From the evaluations of a run and its end to its `RunSummary`."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import regrun
from regrun.config.schema import Config
from regrun.metrics import Metric, default_metric
from regrun.nn.roles import Role
from regrun.results import Best, DataCard, ModelShape, Norms, RunSummary, Seconds, WeightNorms
from regrun.store.curves import Curves
from regrun.training.events import MemberEnd, Row

MEASURED = ("train/", "val/", "test/", "ema/", "swa/")
"""What tags of losses and accuracies start with: those of the weights, then those of averages."""


@dataclass
class History:
    """The evaluations of one run, reduced to what its summary needs. metric: the best is that of.

    best: None without any, and before the average that the metric is of has started.
    """

    config: Config
    metric: str
    evaluations: int = 0
    last: Row | None = None
    best: Best | None = None

    @classmethod
    def of(cls, config: Config, *, has_validation: bool, has_test: bool) -> History:
        """None so far. The metric is early stopping's, else the default."""
        stopping = config.training.early_stopping
        default = default_metric(has_validation=has_validation, has_test=has_test).name
        return cls(config, stopping.metric if stopping is not None else default)

    def record(self, curves: Curves, run: int) -> None:
        """Add a run's evaluations in `curves`; of equally good ones the first is the best."""
        self.evaluations += len(curves.steps)
        self.last = curves.rows(run, slice(-1, None))[0]
        if self.metric not in curves.names:
            return
        sign = Metric.from_name(self.metric).sign
        values = curves.values[run, :, curves.names.index(self.metric)]
        at = int((sign * values).argmin())
        value, best = float(values[at]), self.best
        if best is None or best.value is None or not sign * best.value <= sign * value:
            self.best = Best(epoch=curves.epochs[at], metric=self.metric, value=value)

    def replay(self, rows: Sequence[Row]) -> None:
        """The same from stored evaluations, of which none have been recorded before."""
        self.evaluations, self.last = len(rows), rows[-1] if rows else None
        measured = [row for row in rows if self.metric in row]
        if measured:
            sign = Metric.from_name(self.metric).sign
            best = min(measured, key=lambda row: sign * row[self.metric])
            epoch, value = int(best["epoch"]), best[self.metric]
            self.best = Best(epoch=epoch, metric=self.metric, value=value)

    def summarize(
        self,
        directory: Path,
        end: MemberEnd,
        roles: Mapping[str, Role],
        device: torch.device,
        seconds: Seconds,
        shape: ModelShape,
        card: DataCard,
    ) -> RunSummary:
        """The summary of the run, which has ended."""
        best = self.best
        if end.best_row is not None:
            # The epoch of the stored weights: min_delta may pass over a slightly better one.
            epoch = int(end.best_row["epoch"])
            best = Best(epoch=epoch, metric=self.metric, value=end.best_row[self.metric])
        row = end.best_row or self.last or {}
        norms = {name: row[f"weights/{name}"] for name in ("l1", "l2", "sparsity") if row}
        summary = RunSummary(
            run_dir=str(directory),
            status="completed" if end.status == "stopped" else end.status,
            epochs=end.epoch,
            steps=end.step,
            device=str(device),
            seed=self.config.seed,
            metrics={
                tag: value
                for tag, value in row.items()
                if tag.startswith(MEASURED) or tag == "objective"
            },
            best=best,
            weights=WeightNorms(**norms, per_layer=_per_layer(end.weights or {}, roles)),
            penalty={
                tag.removeprefix("penalty/"): value
                for tag, value in row.items()
                if tag.startswith("penalty/")
            },
            data=card,
            model=shape,
            seconds=seconds,
            versions=versions(),
        )
        if end.status == "diverged":
            return summary.model_copy(update={"diverged_at_step": end.step})
        if self.config.training.early_stopping is not None:
            summary = summary.model_copy(update={"early_stopping": self.metric})
        if end.status == "stopped":
            return summary.model_copy(update={"stopped_early": True})
        return summary


def versions() -> dict[str, str]:
    """The versions that compute."""
    return {
        "regrun": regrun.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _per_layer(weights: Mapping[str, Tensor], roles: Mapping[str, Role]) -> dict[str, Norms]:
    values = {
        name: weight.double() for name, weight in weights.items() if roles.get(name) == "weight"
    }
    return {
        name: Norms(
            l1=weight.abs().sum().item(),
            l2=weight.norm().item(),
            sparsity=1 - weight.count_nonzero().item() / weight.numel(),
        )
        for name, weight in values.items()
    }
