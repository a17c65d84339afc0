"""From the end of a member's training to its `RunSummary`."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

import regrun
from regrun.config.schema import Config
from regrun.metrics import Metric, default_metric
from regrun.nn.roles import Role
from regrun.results import Best, ModelShape, Norms, RunSummary, Seconds, WeightNorms
from regrun.store.curves import Curves
from regrun.training.events import MemberEnd, Row

MEASURED = ("train/", "val/", "test/", "ema/", "swa/")
"""What tags of losses and accuracies start with: those of the weights, then those of averages."""


def selection_metric(config: Config, has_validation: bool) -> str:
    """The metric that selects the best epoch: early stopping's, else the default."""
    if config.training.early_stopping is not None:
        return config.training.early_stopping.metric
    return default_metric(has_validation=has_validation).name


def best_of(metric: str, best: Best | None, curves: Curves, run: int) -> Best | None:
    """The better of `best` and a run's evaluations in `curves`, the first of equals.

    None without any, and before the average that the metric is of has started.
    """
    if metric not in curves.names:
        return best
    sign, values = Metric.from_name(metric).sign, curves.values[run, :, curves.names.index(metric)]
    at = int((sign * values).argmin())
    value = float(values[at])
    if best is not None and best.value is not None and sign * best.value <= sign * value:
        return best
    return Best(epoch=curves.epochs[at], metric=metric, value=value)


def summarize(
    config: Config,
    directory: Path,
    end: MemberEnd,
    row: Row | None,
    metric: str,
    best: Best | None,
    roles: Mapping[str, Role],
    device: torch.device,
    seconds: Seconds,
    shape: ModelShape,
) -> RunSummary:
    """The summary of a run that has ended.

    row: its last evaluation, None when there was none. metric: see `selection_metric`.
    """
    if end.best_row is not None:
        # The epoch of the weights that were kept: min_delta may pass over a slightly better one.
        epoch = int(end.best_row["epoch"])
        best = Best(epoch=epoch, metric=metric, value=end.best_row[metric])
    row = end.best_row or row or {}
    norms = {name: row[f"weights/{name}"] for name in ("l1", "l2", "sparsity") if row}
    summary = RunSummary(
        run_dir=str(directory),
        status="completed" if end.status == "stopped" else end.status,
        epochs=end.epoch,
        steps=end.step,
        device=str(device),
        seed=config.seed,
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
        model=shape,
        seconds=seconds,
        versions={
            "regrun": regrun.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    )
    if end.status == "diverged":
        return summary.model_copy(update={"diverged_at_step": end.step})
    if end.status == "stopped":
        return summary.model_copy(update={"stopped_early": True})
    return summary


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
