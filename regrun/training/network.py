"""The network of a config for a dataset: as many outputs as the loss needs."""

from __future__ import annotations

from torch import nn

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.kinds.models import build_model
from regrun.training.losses import resolve_loss


def network_outputs(config: Config, dataset: Dataset) -> int:
    """The number of outputs: of classes or targets, and 1 where a loss needs one for two classes.

    Raises ConfigError when the loss does not fit the data.
    """
    return resolve_loss(config, dataset).network_outputs(dataset.num_outputs)


def build_network(config: Config, dataset: Dataset, seed: int | None = None) -> nn.Module:
    """Build the network, see `build_model`. Raises ConfigError when the loss does not fit."""
    outputs = network_outputs(config, dataset)
    return build_model(config.model, dataset.input_shape, outputs, seed)
