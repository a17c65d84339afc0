"""Each kind of layer, for K members at once.

A batch travels as (S, B, …) where S divides K: the members stand in S groups of K/S, and the
members of a group share their examples. As soon as a layer has parameters or noise of its own per
member, the batch becomes (K, B, …). A handler is made once per layer from the K members' modules
and is then called with the batch and the pass it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regrun.stack.noise import Noise


@dataclass(frozen=True)
class Pass:
    """One forward pass: the stack's tensors, and where noise comes from (None: evaluation).

    levels: noise layer → (K,) rates or standard deviations. hidden: where the activation functions
    of hidden layers leave what they give, (K, B, …), when it is wanted.
    """

    size: int
    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    levels: Mapping[str, Tensor]
    noise: Noise | None
    hidden: list[Tensor] | None = None


Handler = Callable[[Tensor, Pass], Tensor]
HandlerMaker = Callable[[str, Sequence[nn.Module]], Handler]
"""(name, the members' modules) → handler."""


def spread(x: Tensor, size: int) -> Tensor:
    """(S, B, …) → (K, B, …): a group's examples for each of its members; a view where it can be."""
    groups = x.shape[0]
    if groups == 1:
        return x.expand(size, *x.shape[1:])
    return x if groups == size else x.repeat_interleave(size // groups, dim=0)


def to_channels(x: Tensor) -> Tensor:
    """(S, B, C, …) → (B, S·C, …): members side by side as channels; free after a convolution."""
    return x.transpose(0, 1).flatten(1, 2)


def to_members(x: Tensor, size: int) -> Tensor:
    """(B, S·C, …) → (S, B, C, …), a view."""
    return x.view(x.shape[0], size, -1, *x.shape[2:]).transpose(0, 1)


def linear_map(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """W x + b, one batched product; a group's members are one wider layer.

    x: (S, B, in); weight: (K, out, in); bias: (K, out) → (K, B, out). W stands on the left, so
    that its gradient comes out in its own memory layout.
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

    def linear(x: Tensor, state: Pass) -> Tensor:
        weight = state.parameters[f"{name}.weight"]
        return linear_map(x, weight, state.parameters.get(f"{name}.bias"))

    return linear


def make_conv2d(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Convolution with the members as groups of channels."""
    layer = modules[0]
    assert isinstance(layer, nn.Conv2d)

    def conv2d(x: Tensor, state: Pass) -> Tensor:
        weight = state.parameters[f"{name}.weight"]
        bias = state.parameters.get(f"{name}.bias")
        y = F.conv2d(
            to_channels(x),
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            layer.stride,
            layer.padding,
            layer.dilation,
            groups=x.shape[0],
        )
        return to_members(y, state.size)

    return conv2d


def make_batch_norm(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Batch normalisation, member by member: its statistics are over a member's own batch."""
    layer = modules[0]
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.momentum is not None
    momentum, eps = layer.momentum, layer.eps

    def batch_norm(x: Tensor, state: Pass) -> Tensor:
        y = F.batch_norm(
            to_channels(spread(x, state.size)),
            state.buffers[f"{name}.running_mean"].view(-1),
            state.buffers[f"{name}.running_var"].view(-1),
            state.parameters[f"{name}.weight"].flatten(),
            state.parameters[f"{name}.bias"].flatten(),
            training=state.noise is not None,
            momentum=momentum,
            eps=eps,
        )
        if state.noise is not None:
            state.buffers[f"{name}.num_batches_tracked"].add_(1)
        return to_members(y, state.size)

    return batch_norm


def make_layer_norm(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Normalisation over the last axes of each example."""
    layer = modules[0]
    assert isinstance(layer, nn.LayerNorm)
    shape, eps = list(layer.normalized_shape), layer.eps

    def layer_norm(x: Tensor, state: Pass) -> Tensor:
        return _affine(name, F.layer_norm(x, shape, eps=eps), state, len(shape))

    return layer_norm


def make_group_norm(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Normalisation over groups of each example's channels and their pixels."""
    layer = modules[0]
    assert isinstance(layer, nn.GroupNorm)
    groups, eps = layer.num_groups, layer.eps

    def group_norm(x: Tensor, state: Pass) -> Tensor:
        y = F.group_norm(x.flatten(0, 1), groups, eps=eps).view_as(x)
        return _affine(name, y, state, x.dim() - 2)

    return group_norm


def _affine(name: str, x: Tensor, state: Pass, axes: int) -> Tensor:
    """Each member's own scale and shift, over the last so many axes; without parameters x."""
    weight = state.parameters.get(f"{name}.weight")
    bias = state.parameters.get(f"{name}.bias")
    if weight is None:
        return x
    x = spread(x, state.size)

    def beside(parameter: Tensor) -> Tensor:
        inner = [*parameter.shape[1:], *[1] * (axes - parameter.dim() + 1)]
        return parameter.view(state.size, *[1] * (x.dim() - 1 - axes), *inner)

    return x * beside(weight) if bias is None else torch.addcmul(beside(bias), x, beside(weight))


def make_pool(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Pooling treats members as channels."""
    layer = modules[0]
    return lambda x, state: to_members(layer(to_channels(x)), x.shape[0])


def make_flatten(name: str, modules: Sequence[nn.Module]) -> Handler:
    """(S, B, …) → (S, B, features)."""
    return lambda x, state: x.flatten(2)


def make_entrywise(name: str, modules: Sequence[nn.Module]) -> Handler:
    """Activations act entry by entry, whatever the shape."""
    layer = modules[0]

    def entrywise(x: Tensor, state: Pass) -> Tensor:
        y: Tensor = layer(x)
        if state.hidden is not None:
            state.hidden.append(spread(y, state.size))
        return y

    return entrywise


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
    **dict.fromkeys(
        (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid),
        make_entrywise,
    ),
}
"""Layers without noise; those with it are in `noise_layers`."""
