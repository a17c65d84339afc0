"""Each type of layer, for K members at once.

A batch is (S, B, …), where S divides K: the members form S groups of K/S, and the members of a
group share their examples. The first layer with parameters or noise per member makes it
(K, B, …). A handler is made once per layer, from the K members' modules, and is then called with
the batch and the context of the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from regrun.kinds.base import expand_members
from regrun.kinds.noise import ON_ACTIVATIONS, DropConnect, NoiseKind, StochasticDepth
from regrun.nn.modules import ACTIVATIONS, DropConnectLinear, NoiseLayer, noise_level
from regrun.stack.noise import Noise


@dataclass(frozen=True)
class ForwardContext:
    """What the layers of one forward pass share.

    size: K. parameters, buffers: name → (K, …). levels: noise layer → (K,) rates or standard
    deviations. noise: the members' random streams; None in evaluation. hidden: a list to which
    activation functions append their outputs, (K, B, …); None where nobody needs these.
    """

    size: int
    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    levels: Mapping[str, Tensor]
    noise: Noise | None
    hidden: list[Tensor] | None = None


Handler = Callable[[Tensor, ForwardContext], Tensor]
HandlerMaker = Callable[[str, Sequence[nn.Module]], Handler]
"""(name, the members' modules) → handler."""


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

    x: (S, B, in); weight: (K, out, in); bias: (K, out) → (K, B, out). The weight is the left
    operand, so that its gradient has its own memory layout.
    """
    groups, batch = x.shape[:2]
    wide = weight.view(groups, -1, weight.shape[2])
    if bias is None:
        y = torch.bmm(wide, x.mT)
    else:
        y = torch.baddbmm(bias.view(groups, -1, 1), wide, x.mT)
    return y.view(weight.shape[0], -1, batch).mT


def make_linear(name: str, modules: Sequence[nn.Module]) -> Handler:
    """A fully connected layer."""

    def linear(x: Tensor, context: ForwardContext) -> Tensor:
        weight = context.parameters[f"{name}.weight"]
        return linear_map(x, weight, context.parameters.get(f"{name}.bias"))

    return linear


def make_conv2d(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Convolution with the members as groups of channels."""
    layer = modules[0]
    assert isinstance(layer, nn.Conv2d)

    def conv2d(x: Tensor, context: ForwardContext) -> Tensor:
        weight = context.parameters[f"{name}.weight"]
        bias = context.parameters.get(f"{name}.bias")
        y = F.conv2d(
            to_channels(x),
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            layer.stride,
            layer.padding,
            layer.dilation,
            groups=x.shape[0],
        )
        return to_members(y, context.size)

    return conv2d


def make_batch_norm(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Batch normalisation over each member's own batch."""
    layer = modules[0]
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.momentum is not None
    momentum, eps = layer.momentum, layer.eps

    def batch_norm(x: Tensor, context: ForwardContext) -> Tensor:
        y = F.batch_norm(
            to_channels(expand_groups(x, context.size)),
            context.buffers[f"{name}.running_mean"].view(-1),
            context.buffers[f"{name}.running_var"].view(-1),
            context.parameters[f"{name}.weight"].flatten(),
            context.parameters[f"{name}.bias"].flatten(),
            training=context.noise is not None,
            momentum=momentum,
            eps=eps,
        )
        if context.noise is not None:
            context.buffers[f"{name}.num_batches_tracked"].add_(1)
        return to_members(y, context.size)

    return batch_norm


def make_layer_norm(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Normalisation over the last axes of each example."""
    layer = modules[0]
    assert isinstance(layer, nn.LayerNorm)
    shape, eps = list(layer.normalized_shape), layer.eps

    def layer_norm(x: Tensor, context: ForwardContext) -> Tensor:
        return _affine(name, F.layer_norm(x, shape, eps=eps), context, len(shape))

    return layer_norm


def make_group_norm(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Normalisation over groups of each example's channels and their pixels."""
    layer = modules[0]
    assert isinstance(layer, nn.GroupNorm)
    groups, eps = layer.num_groups, layer.eps

    def group_norm(x: Tensor, context: ForwardContext) -> Tensor:
        y = F.group_norm(x.flatten(0, 1), groups, eps=eps).view_as(x)
        return _affine(name, y, context, x.dim() - 2)

    return group_norm


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


def make_pool(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Pooling treats members as channels."""
    layer = modules[0]
    return lambda x, context: to_members(layer(to_channels(x)), x.shape[0])


def make_flatten(name: str, modules: Sequence[nn.Module]) -> Handler:
    """(S, B, …) → (S, B, features)."""
    return lambda x, context: x.flatten(2)


def make_entrywise(name: str, modules: Sequence[nn.Module]) -> Handler:
    """An activation function, entry by entry."""
    layer = modules[0]

    def entrywise(x: Tensor, context: ForwardContext) -> Tensor:
        y: Tensor = layer(x)
        if context.hidden is not None:
            context.hidden.append(expand_groups(y, context.size))
        return y

    return entrywise


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


def make_noise(name: str, modules: Sequence[nn.Module], kind: type[NoiseKind]) -> Handler:
    """Noise on activations at each member's level; those of a member of level 0 do not change."""
    if not any(noise_level(layer) for layer in modules):
        return lambda x, context: x

    def noisy(x: Tensor, context: ForwardContext) -> Tensor:
        if context.noise is None:
            return x
        x = expand_groups(x, context.size)
        draws = context.noise.draw(kind, name, kind.draws_shape(x.shape[1:]))
        return kind.apply(x, draws, expand_members(context.levels[name], x))

    return noisy


def make_drop_connect(name: str, modules: Sequence[nn.Module]) -> Handler:
    """A linear layer with noise on its weights: one draw per member and step."""
    plain = make_linear(name, modules)

    def drop_connect(x: Tensor, context: ForwardContext) -> Tensor:
        if context.noise is None:
            return plain(x, context)
        weight = context.parameters[f"{name}.weight"]
        draws = context.noise.draw(DropConnect, name, weight.shape[1:])
        noisy = DropConnect.apply(weight, draws, expand_members(context.levels[name], weight))
        return linear_map(x, noisy, context.parameters.get(f"{name}.bias"))

    return drop_connect


LAYER_HANDLERS: dict[type[nn.Module], HandlerMaker] = {
    nn.Linear: make_linear,
    nn.Conv2d: make_conv2d,
    nn.BatchNorm1d: make_batch_norm,
    nn.BatchNorm2d: make_batch_norm,
    nn.LayerNorm: make_layer_norm,
    nn.GroupNorm: make_group_norm,
    nn.MaxPool2d: make_pool,
    nn.AvgPool2d: make_pool,
    nn.Flatten: make_flatten,
    DropConnectLinear: make_drop_connect,
    **dict.fromkeys(ACTIVATIONS.values(), make_entrywise),
}
"""The layers that are stacked by hand; noise on activations has `make_noise`."""
