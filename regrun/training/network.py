"""The network of a config for a dataset: as many outputs as the loss needs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.kinds.base import running, wrong
from regrun.kinds.boundary import shown
from regrun.kinds.models import build_model
from regrun.nn.layer_table import LayerRow, layer_table
from regrun.stack.stacked import runs_layer_by_layer
from regrun.stack.trial import Trial, try_out
from regrun.training.losses import resolve_loss
from regrun.training.precision import DTYPES

EXAMPLES = 2
"""Of each of two members in a trial; batch norm needs more than one."""


def network_outputs(config: Config, dataset: Dataset) -> int:
    """The number of outputs: of classes or targets, and 1 where a loss needs one for two classes.

    Raises ConfigError when the loss does not fit the data.
    """
    return resolve_loss(config, dataset).network_outputs(dataset.num_outputs)


def layers_of(
    module: nn.Module, config: Config, dataset: Dataset, *, idle: bool = True
) -> list[LayerRow]:
    """The layers of the config's network, see `layer_table`.

    Raises ConfigError when inputs do not fit, PluginError when outputs are not as they must be.
    """
    if not any(parameter.numel() for parameter in module.parameters()):
        raise wrong(config.model, "build", "gave a network without parameters to train")
    found: list[object] = []
    hook = module.register_forward_hook(lambda *given: found.append(given[2]))
    with running(config.model, "forward"):
        rows = layer_table(module, dataset.input_shape, idle=idle)
    hook.remove()
    needed, (outputs,) = [1, network_outputs(config, dataset)], found
    if not isinstance(outputs, Tensor) or list(outputs.shape) != needed:
        raise wrong(
            config.model,
            "build",
            f"gave a network that gives {shown(outputs)} for one example; it has to give a tensor "
            f"of shape {needed}",
        )
    return rows


def build_network(config: Config, dataset: Dataset, seed: int | None = None) -> nn.Module:
    """Build the network, see `build_model`. Raises ConfigError when the loss does not fit."""
    outputs = network_outputs(config, dataset)
    return build_model(config.model, dataset.input_shape, outputs, seed)


def trial_of(module: nn.Module, config: Config, dataset: Dataset) -> Trial:
    """How the config's network can be computed; regrun's own go through vmap.

    Raises PluginError where it fails on the first examples.
    """
    if config.model.plugin_origin is None or runs_layer_by_layer(module):
        return Trial()
    dtype = DTYPES[config.training.precision]
    chosen = torch.arange(2 * EXAMPLES) % len(dataset.train)
    inputs = dataset.features(dataset.train.inputs[chosen.to(dataset.train.inputs.device)], dtype)
    return try_out(module, config.model, inputs.view(2, EXAMPLES, *inputs.shape[1:]))
