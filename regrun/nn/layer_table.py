"""The layers of a module with their output shapes, as a pass with one example shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from regrun.errors import ConfigError
from regrun.memory import is_shortage
from regrun.nn.modules import NoiseLayer, noise_level


@dataclass(frozen=True)
class LayerRow:
    """One layer. output_shape: for one example, without the batch axis.

    multiplications: by its weights, for one example.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiplications: int = 0


def layer_table(
    module: nn.Module,
    input_shape: tuple[int, ...],
    *,
    idle: bool = True,
    place: Callable[[BaseException], str] = lambda error: "",
) -> list[LayerRow]:
    """Every leaf layer in the order in which it runs.

    module: on the CPU, as a pass on the meta device imports much of torch's compiler. idle: include
    noise layers of level 0. place: the line of an error, for its message. Raises ConfigError when
    inputs do not fit, such as too small images.
    """
    rows: list[LayerRow] = []
    hooks = []

    def note(name: str) -> object:
        def hook(layer: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                kind = layer.noise if isinstance(layer, NoiseLayer) else type(layer)
                count = sum(p.numel() for p in layer.parameters())
                shape = tuple(output.shape[1:])
                rows.append(LayerRow(name, kind.__name__, shape, count, _products(layer, output)))

        return hook

    for name, layer in module.named_modules():
        if not list(layer.children()) and (idle or noise_level(layer) != 0):
            hooks.append(layer.register_forward_hook(note(name)))
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            module(torch.zeros((1, *input_shape), dtype=dtype))
    except (RuntimeError, ValueError, AssertionError) as error:
        if isinstance(error, RecursionError) or is_shortage(error):
            raise
        raise ConfigError.at(
            "model.name",
            f"inputs of shape {list(input_shape)} do not fit this network, which fails after "
            f"{'layer ' + rows[-1].name if rows else 'none of its layers'}: "
            f"{error}{place(error)}",
        ) from error
    module.train(was_training)
    for hook in hooks:
        hook.remove()
    return rows


def _products(layer: nn.Module, output: Tensor) -> int:
    """Each output of a linear layer or a convolution is a product with one row of its weight."""
    if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return 0
    return output.numel() * prod(layer.weight.shape[1:])


def widest(rows: list[LayerRow], input_shape: tuple[int, ...]) -> int:
    """The largest number of elements that any layer takes or gives for one example."""
    return max(prod(input_shape), *(prod(row.output_shape) for row in rows))


def activations(rows: list[LayerRow]) -> int:
    """Elements of all layers' outputs for one example; flattening only gives a view."""
    return sum(prod(row.output_shape) for row in rows if row.kind != "Flatten")
