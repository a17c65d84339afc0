"""Each type of layer, for K members at once.

A batch is (S, B, …), where S divides K: the members form S groups of K/S, and the members of a
group share their examples. The first layer with parameters or noise per member makes it (K, B, …).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from regrun.kinds.base import expand_members
from regrun.kinds.noise import ON_ACTIVATIONS, DropConnect, NoiseKind, StochasticDepth
from regrun.nn.modules import (
    ACTIVATIONS,
    DropConnectLinear,
    NoiseLayer,
    StandardizedLinear,
    WeightStandardized,
    WSConv2d,
    WSLinear,
    noise_block,
    noise_level,
    standardized_weight,
)
from regrun.stack.mixing import HiddenMixing
from regrun.stack.noise import Noise


@dataclass(frozen=True)
class ForwardContext:
    """What the layers of one forward pass share; tensors are (K, …)."""

    size: int
    """K"""
    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    levels: Mapping[str, Tensor]
    """Noise layer → (K,) rates or standard deviations."""
    noise: Noise | None
    """The members' random streams; None in evaluation."""
    hidden: list[Tensor] | None = None
    """Collects the outputs of the activation functions, (K, B, …)."""
    mixing: HiddenMixing | None = None
    """What mixes the outputs of hidden layers."""


Handler = Callable[[Tensor, ForwardContext], Tensor]


def expand_groups(x: Shaped[Tensor, " S *rest"], size: int) -> Shaped[Tensor, " K *rest"]:
    """(S, B, …) → (K, B, …): each member gets its group's examples; a view where possible."""
    groups = x.shape[0]
    if groups == 1:
        return x.expand(size, *x.shape[1:])
    return x if groups == size else x.repeat_interleave(size // groups, dim=0)


def to_channels(x: Float[Tensor, "S B C *pixels"]) -> Float[Tensor, "B S*C *pixels"]:
    """(S, B, C, …) → (B, S·C, …): members side by side as channels; free after a convolution."""
    return x.transpose(0, 1).flatten(1, 2)


def to_members(
    x: Float[Tensor, "B channels *pixels"], size: int
) -> Float[Tensor, "{size} B C *pixels"]:
    """(B, S·C, …) → (S, B, C, …), a view."""
    return x.view(x.shape[0], size, -1, *x.shape[2:]).transpose(0, 1)


def linear_map(
    x: Float[Tensor, "S B inputs"],
    weight: Float[Tensor, "K outputs inputs"],
    bias: Float[Tensor, "K outputs"] | None,
) -> Float[Tensor, "K B outputs"]:
    """W x + b as one batched product, in which a group's members are one wider layer.

    The weight is the left operand, so that its gradient has its own memory layout.
    """
    groups, batch = x.shape[:2]
    wide = weight.view(groups, -1, weight.shape[2])
    if bias is None:
        y = torch.bmm(wide, x.mT)
    else:
        y = torch.baddbmm(bias.view(groups, -1, 1), wide, x.mT)
    return y.view(weight.shape[0], -1, batch).mT


def _weight(name: str, layer: nn.Module, context: ForwardContext) -> Tensor:
    """What a layer multiplies by, (K, out, …)."""
    weight = context.parameters[f"{name}.weight"]
    if isinstance(layer, WeightStandardized):
        return standardized_weight(weight, members=True)
    return weight


def _linear(name: str, layer: nn.Linear, x: Tensor, context: ForwardContext) -> Tensor:
    weight = _weight(name, layer, context)
    return linear_map(x, weight, context.parameters.get(f"{name}.bias"))


def _drop_connect(
    name: str, layer: DropConnectLinear, x: Tensor, context: ForwardContext
) -> Tensor:
    """A linear layer with noise on its weights: one draw per member and step."""
    weight = context.parameters[f"{name}.weight"]
    if context.noise is not None:
        draws = context.noise.draw(DropConnect, name, weight.shape[1:])
        weight = DropConnect.apply(weight, draws, expand_members(context.levels[name], weight))
    return linear_map(x, weight, context.parameters.get(f"{name}.bias"))


def _standardized_linear(
    name: str, layer: StandardizedLinear, x: Tensor, context: ForwardContext
) -> Tensor:
    """W (x − m) / s + b as (W/s) x + (b − (W/s) m), so that members can share their inputs."""
    weight = context.parameters[f"{name}.weight"] / context.buffers[f"{name}.std"].unsqueeze(1)
    offset = (weight @ context.buffers[f"{name}.mean"].unsqueeze(2)).squeeze(2)
    return linear_map(x, weight, context.parameters[f"{name}.bias"] - offset)


def _conv2d(name: str, layer: nn.Conv2d, x: Tensor, context: ForwardContext) -> Tensor:
    """Convolution with the members as groups of channels."""
    bias = context.parameters.get(f"{name}.bias")
    y = F.conv2d(
        to_channels(x),
        _weight(name, layer, context).flatten(0, 1),
        None if bias is None else bias.flatten(),
        layer.stride,
        layer.padding,
        layer.dilation,
        groups=x.shape[0],
    )
    return to_members(y, context.size)


def _batch_norm(
    name: str, layer: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor, context: ForwardContext
) -> Tensor:
    """Batch normalisation over each member's own batch."""
    assert layer.momentum is not None
    y = F.batch_norm(
        to_channels(expand_groups(x, context.size)),
        context.buffers[f"{name}.running_mean"].view(-1),
        context.buffers[f"{name}.running_var"].view(-1),
        context.parameters[f"{name}.weight"].flatten(),
        context.parameters[f"{name}.bias"].flatten(),
        training=context.noise is not None,
        momentum=layer.momentum,
        eps=layer.eps,
    )
    if context.noise is not None:
        context.buffers[f"{name}.num_batches_tracked"].add_(1)
    return to_members(y, context.size)


def _layer_norm(name: str, layer: nn.LayerNorm, x: Tensor, context: ForwardContext) -> Tensor:
    shape = list(layer.normalized_shape)
    return _affine(name, F.layer_norm(x, shape, eps=layer.eps), context, len(shape))


def _group_norm(name: str, layer: nn.GroupNorm, x: Tensor, context: ForwardContext) -> Tensor:
    y = F.group_norm(x.flatten(0, 1), layer.num_groups, eps=layer.eps).view_as(x)
    return _affine(name, y, context, x.dim() - 2)


def _affine(name: str, x: Tensor, context: ForwardContext, axes: int) -> Tensor:
    """Apply each member's scale and shift over the last `axes` axes; x if it has none."""
    weight = context.parameters.get(f"{name}.weight")
    bias = context.parameters.get(f"{name}.bias")
    if weight is None:
        return x
    x = expand_groups(x, context.size)

    def expanded(parameter: Tensor) -> Tensor:
        inner = [*parameter.shape[1:], *[1] * (axes - parameter.dim() + 1)]
        return parameter.view(context.size, *[1] * (x.dim() - 1 - axes), *inner)

    if bias is None:
        return x * expanded(weight)
    return torch.addcmul(expanded(bias), x, expanded(weight))


def _pool(name: str, layer: nn.Module, x: Tensor, context: ForwardContext) -> Tensor:
    """Pooling with the members as channels."""
    return to_members(layer(to_channels(x)), x.shape[0])


def _flatten(name: str, layer: nn.Flatten, x: Tensor, context: ForwardContext) -> Tensor:
    return x.flatten(2)


def _activation(name: str, layer: nn.Module, x: Tensor, context: ForwardContext) -> Tensor:
    y: Tensor = layer(x)
    if context.hidden is not None:
        context.hidden.append(expand_groups(y, context.size))
    return y


LAYER_HANDLERS: Mapping[type[nn.Module], Callable[..., Tensor]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    WSLinear: _linear,
    WSConv2d: _conv2d,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.MaxPool2d: _pool,
    nn.AvgPool2d: _pool,
    nn.Flatten: _flatten,
    DropConnectLinear: _drop_connect,
    StandardizedLinear: _standardized_linear,
    **dict.fromkeys(ACTIVATIONS.values(), _activation),
}
"""Type of layer → function of (name, a member's layer, batch, context)."""


def handler_of(name: str, modules: Sequence[nn.Module]) -> Handler | None:
    """The handler of a layer, from each member's; None for a type that is not stacked by hand."""
    kind = noise_of(modules[0])
    if kind is not None:
        quiet = not any(noise_level(layer) for layer in modules)
        return _unchanged if quiet else partial(_noise, name, kind, noise_block(modules[0]))
    # A member without DropConnect has an ordinary linear layer where others have one with it.
    layer = max(modules, key=lambda each: len(type(each).__mro__))
    handler = LAYER_HANDLERS.get(type(layer))
    return None if handler is None else partial(handler, name, layer)


def noise_of(layer: nn.Module) -> type[NoiseKind] | None:
    """The kind of noise that a layer adds to activations; None for any other layer."""
    if isinstance(layer, NoiseLayer):
        return layer.noise
    if type(layer).__name__ == StochasticDepth.__name__:  # torchvision's, without importing it
        return StochasticDepth
    for kind in ON_ACTIVATIONS:
        if type(layer) in [getattr(nn, name) for name in kind.torch_layers]:
            return kind
    return None


def _noise(
    name: str, kind: type[NoiseKind], block: int, x: Tensor, context: ForwardContext
) -> Tensor:
    """Noise at each member's level; the activations of a member of level 0 do not change."""
    if context.noise is None:
        return x
    x = expand_groups(x, context.size)
    draws = context.noise.draw(kind, name, kind.draws_shape(x.shape[1:], block))
    return kind.apply(x, draws, expand_members(context.levels[name], x))


def _unchanged(x: Tensor, context: ForwardContext) -> Tensor:
    return x
