"""What the best cell is chosen by, and that the test set does not do the choosing."""

from __future__ import annotations

from typing import Any

from regrun.config.schema import Config
from regrun.errors import ConfigError
from regrun.metrics import METRICS, Metric, default_metric
from regrun.suggest import did_you_mean


def metric_of(config: Config) -> Metric:
    """The metric that orders the cells of a sweep: ``sweep.metric``, else the default.

    The default is the validation loss only where every cell has one. Raises ConfigError for a
    ``sweep.metric`` that does not exist.
    """
    name = config.sweep.metric if config.sweep is not None else None
    if name is None:
        return default_metric(
            has_validation=_has_validation(config), has_test=config.dataset.has_test()
        )
    if name not in METRICS:
        hint = did_you_mean(name, METRICS)
        known = ", ".join(
            each.name for each in METRICS.values() if each.average is None and not each.has_key
        )
        averages = "or one of these of an average, such as ema/val/loss"
        raise ConfigError.at("sweep.metric", f"{name} is not one of {known}, {averages}{hint}")
    return Metric.from_name(name)


def check_selection(config: Config) -> Metric:
    """The metric of `metric_of`. Raises ConfigError also where the test set would choose."""
    sweep, chosen = config.sweep, metric_of(config)
    if sweep is None:
        return chosen
    metric = chosen.name
    if sweep.pruner is not None and chosen.average == "swa":
        raise ConfigError.at(
            "sweep.metric",
            f"{metric}: {sweep.pruner} decides from the first epochs on, when no average of swa "
            f"has begun; use {metric.replace('swa/', 'ema/')} or {metric.removeprefix('swa/')}",
        )
    chooser = sweep.search or sweep.pruner
    if chooser is None or sweep.select_on_test or chosen.split != "test":
        return chosen
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
    sweep, key = config.sweep, "dataset.validation"
    held: Any = [config.dataset.validation]
    if sweep is not None and key in sweep.grid:
        held = sweep.grid[key]
    if sweep is not None and key in sweep.space:
        axis = sweep.space[key]
        held = axis.uniform or axis.log_uniform or axis.int or axis.log_int or axis.choice
    return all(held) or (not _chooses_data(config) and config.dataset.has_own_validation())


def _chooses_data(config: Config) -> bool:
    """Whether cells may have other files than the config itself."""
    sweep = config.sweep
    if sweep is None:
        return False
    keys = {*sweep.grid, *sweep.space, *(key for cell in sweep.cells for key in cell)}
    paths = (f"dataset.{key}" for key in config.dataset.path_keys)
    return bool(keys & {"dataset", "dataset.name", *paths})
