"""Penalties that name inputs of the network, with the positions that a dataset gives them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.data.preprocessing import CategoryColumn, TableInputs
from regrun.kinds.penalties.inputs import NetworkInputs


def with_input_positions(configs: Sequence[Config], dataset: Dataset) -> list[Config]:
    """Return the configs with the penalties resolved; see `Penalty.on_inputs`.

    Raises ConfigError when a penalty names an input that the dataset does not have.
    """
    return [_resolved(config, dataset) for config in configs]


def _resolved(config: Config, dataset: Dataset) -> Config:
    if not any(penalty.input_key for penalty in config.penalty):
        return config
    inputs = network_inputs(config, dataset)
    penalties = tuple(
        penalty.on_inputs(inputs, f"penalty.{index}") if penalty.input_key else penalty
        for index, penalty in enumerate(config.penalty)
    )
    return config.model_copy(update={"penalty": penalties})


def network_inputs(config: Config, dataset: Dataset) -> NetworkInputs:
    """The inputs of a config's network. Its model has `input_weight`."""
    count, columns = prod(dataset.input_shape), {}
    table = dataset.preprocessing.inputs
    if isinstance(table, TableInputs):
        at = 0
        for column in table.columns:
            width = len(column.categories) if isinstance(column, CategoryColumn) else 1
            columns[column.name] = tuple(range(at, at + width))
            at += width
    return NetworkInputs(config.model.input_weight, count, dataset.feature_names, columns)
