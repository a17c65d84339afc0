"""What the best cell is chosen by, and that the test set does not do the choosing."""

from __future__ import annotations

from typing import Any, Literal, get_args

from regrun.config.schema import Config
from regrun.config.sweeps import Sweep
from regrun.errors import ConfigError
from regrun.metrics import Metric, average_of, sign_of, split_of
from regrun.suggest import did_you_mean

METRICS: tuple[str, ...] = get_args(Metric)

Direction = Literal["minimize", "maximize"]


def direction_of(metric: str) -> Direction:
    """Accuracies are maximised, all else is minimised."""
    return "maximize" if sign_of(metric) < 0 else "minimize"


def metric_of(config: Config) -> tuple[str, Direction]:
    """The metric that cells are ordered by, and its direction.

    ``sweep.metric``; else the validation loss where every cell has one, and the test loss where
    not, which the answer then says (``selected_on``).
    """
    given = config.sweep.metric if config.sweep is not None else None
    metric = given or ("val/loss" if _has_validation(config) else "test/loss")
    return metric, direction_of(metric)


def check_selection(config: Config) -> str:
    """The metric of `metric_of`.

    Raises ConfigError for an unknown one, and for a search or pruner led by the test set.
    """
    sweep = config.sweep
    metric, _ = metric_of(config)
    if sweep is None:
        return metric
    if metric not in METRICS:
        hint = did_you_mean(metric, METRICS)
        known = ", ".join(name for name in METRICS if average_of(name) is None)
        averages = "or one of these of an average, such as ema/val/loss"
        raise ConfigError.at("sweep.metric", f"{metric} is not one of {known}, {averages}{hint}")
    if sweep.pruner is not None and average_of(metric) == "swa":
        raise ConfigError.at(
            "sweep.metric",
            f"{metric}: {sweep.pruner} decides from the first epochs on, when no average of swa "
            f"has begun; use {metric.replace('swa/', 'ema/')} or {metric.removeprefix('swa/')}",
        )
    chooser = sweep.search or sweep.pruner
    if chooser is None or sweep.select_on_test or split_of(metric) != "test":
        return metric
    if sweep.metric is None:
        reason = f"{chooser} chooses by the validation set and there is none"
        remedy = "give dataset.validation, e.g. 0.2"
    else:
        reason = f"{chooser} would choose by the test set ({metric})"
        remedy = f"use {metric.replace('test/', 'val/')} with dataset.validation"
    allow = "or allow choosing by the test set with sweep.select_on_test: true"
    raise ConfigError.at("sweep.metric", f"{reason}; {remedy}, {allow}")


def _has_validation(config: Config) -> bool:
    """Whether every cell has a validation set, held out or of its dataset's own."""
    from regrun.data.load import has_own_validation

    sweep, key = config.sweep, "dataset.validation"
    held: Any = [config.dataset.validation]
    if sweep is not None and key in sweep.grid:
        held = sweep.grid[key]
    if sweep is not None and key in sweep.space:
        axis = sweep.space[key]
        held = axis.uniform or axis.log_uniform or axis.int or axis.choice
    return all(held) or (not _chooses_data(sweep) and has_own_validation(config.dataset))


def _chooses_data(sweep: Sweep | None) -> bool:
    """Whether cells may have other files than the config itself."""
    if sweep is None:
        return False
    keys = {*sweep.grid, *sweep.space, *(key for cell in sweep.cells for key in cell)}
    return bool(keys & {"dataset", "dataset.name", "dataset.path"})
