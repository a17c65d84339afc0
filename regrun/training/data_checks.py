"""Checks of a config against its data and its network, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.kinds.datasets import DatasetSection
from regrun.metrics import CONFUSION, SCORES, Metric
from regrun.nn.layer_table import LayerRow
from regrun.nn.roles import Role, select
from regrun.results import Task
from regrun.stack.constraints import StackedConstraints
from regrun.stack.penalties import StackedPenalties
from regrun.training.losses import resolve_loss
from regrun.training.network_inputs import with_input_positions

_NEEDS: Mapping[Task | None, str] = {"classification": "classes", "regression": "numbers"}


def check_config_against_data(
    config: Config,
    dataset: Dataset,
    roles: Mapping[str, Role],
    shapes: Mapping[str, Sequence[int]],
    rows: Sequence[LayerRow],
) -> None:
    """Raise the ConfigError that an engine, or training itself, would raise.

    roles: `roles_of` the network. shapes: parameter name → shape. rows: its `layer_table`.
    """
    resolve_loss(config, dataset)
    for name in config.metrics:
        task = "classification" if name == CONFUSION else SCORES[name].task
        if task != dataset.task:
            raise ConfigError.at(
                "metrics",
                f"{name} needs {_NEEDS[task]}, and {dataset.name} has {_NEEDS[dataset.task]} here",
            )
    config.augment.check(dataset)
    if config.training.r_drop is not None:
        config.training.r_drop.check(dataset)
    select(config.optimizer.decay_on, roles, "optimizer.decay_on")
    (resolved,) = with_input_positions([config], dataset)
    StackedPenalties([resolved.penalty], roles, shapes)
    StackedConstraints([config.constraints], roles)
    if config.training.early_stopping is not None:
        metric = config.training.early_stopping.metric
        check_metric(metric, "training.early_stopping.metric", config.dataset, dataset)
    if config.schedule.watched is not None:
        check_metric(config.schedule.watched, "schedule.metric", config.dataset, dataset)
    if config.training.test_examples and not len(dataset.test):
        raise ConfigError.at("training.test_examples", "needs a test set, and dataset.test is 0")
    _check_smallest_batch(config, dataset, rows)


def check_metric(metric: str, where: str, section: DatasetSection, dataset: Dataset) -> None:
    """Raise ConfigError at the dotted path `where` when this dataset does not have the metric."""
    if Metric.from_name(metric).split == "val" and dataset.validation is None:
        own = f": there are no {section.own_validation}" if section.may_have_validation else ""
        raise ConfigError.at(
            where,
            f"{metric} needs a validation set, and {dataset.name} has none here{own}; "
            "give dataset.validation, e.g. 0.2",
        )
    if Metric.from_name(metric).split == "test" and not len(dataset.test):
        raise ConfigError.at(where, f"{metric} needs a test set, and dataset.test is 0")
    task = Metric.from_name(metric).task
    if task not in (None, dataset.task):
        raise ConfigError.at(
            where,
            f"{metric} needs {_NEEDS[task]}, and {dataset.name} has {_NEEDS[dataset.task]} here",
        )


def _check_smallest_batch(config: Config, dataset: Dataset, rows: Sequence[LayerRow]) -> None:
    """Raise ConfigError when batch norm would see one number per channel, which has no variance."""
    count, size = len(dataset.train), config.training.batch_size
    smallest = count if size == "full" else min(count, count % size or size)
    for row in rows:
        if row.kind.startswith("BatchNorm") and prod(row.output_shape[1:]) == 1 and smallest == 1:
            raise ConfigError.at(
                "training.batch_size",
                f"{size} leaves a batch of one of the {count:,} training examples, and batch norm "
                f"({row.name}) needs two; use another batch size or number of examples",
            )
