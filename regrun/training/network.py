"""The network of a config for a dataset: as many outputs as the loss needs."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.kinds.base import running, wrong
from regrun.kinds.boundary import place_of, shown
from regrun.kinds.models import build_model
from regrun.kinds.models.base import wrong_outputs
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
    _check_parameters(module, config)
    origin = config.model.plugin_origin
    place = partial(place_of, module=origin.module) if origin else lambda error: ""
    found: list[object] = []
    hook = module.register_forward_hook(lambda *given: found.append(given[2]))
    with running(config.model, "forward"):
        rows = layer_table(module, dataset.input_shape, idle=idle, place=place)
    hook.remove()
    needed, (outputs,) = [1, network_outputs(config, dataset)], found
    if not isinstance(outputs, Tensor) or list(outputs.shape) != needed:
        two = isinstance(outputs, Tensor) and outputs.shape == (1, 2) and needed == [1, 1]
        raise wrong_outputs(
            config.model,
            f"{shown(outputs)} for one example; it has to give a tensor of shape {needed}"
            + "; of two classes, loss: cross_entropy takes two outputs" * two,
        )
    return rows


def _check_parameters(module: nn.Module, config: Config) -> None:
    """Raise PluginError for a network with nothing to train, or with what is no real number."""
    kinds = {name: p.dtype for name, p in module.named_parameters() if p.numel()}
    if not kinds:
        raise wrong(config.model, "build", "gave a network without parameters to train")
    for name, kind in kinds.items():
        if not kind.is_floating_point:
            why = f"gave a network whose parameter {name} is of type {kind}; it has to be float"
            raise wrong(config.model, "build", why)


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
