"""Any module as a stack, through `torch.vmap` over `torch.func.functional_call`."""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from regrun.kinds.base import running, wrong
from regrun.kinds.models import ModelSection
from regrun.kinds.noise import NoiseKind
from regrun.nn.modules import noise_block
from regrun.stack.layers import ForwardContext, Handler, expand_groups, noise_of

_Tensors = dict[str, Tensor]
_Given = dict[str, tuple[Tensor, Tensor]]
"""Noise layer → draws and level."""


class _MemberNoise(nn.Module):
    """Replaces a noise layer of the template.

    The measuring pass records the shape of the draws that it needs; in a stacked pass the caller
    sets this member's draws and level (`given`).
    """

    def __init__(self, kind: type[NoiseKind], block: int) -> None:
        super().__init__()
        self.kind, self.block = kind, block
        self.shape: tuple[int, ...] = ()
        self.given: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.shape = self.kind.draws_shape(x.shape, self.block)[1:]
        return x if self.given is None else self.kind.apply(x, *self.given)


def make_vmapped(module: nn.Module, model: ModelSection | None = None) -> Handler:
    """A handler of the whole module: (S, B, *input_shape) → (K, B, C). model: what built it.

    Its noise layers draw from the members' own streams (`noise_of`). Any other random layer
    raises torch's own error.
    """
    template = deepcopy(module).to("meta", torch.float32)
    template.train()
    noises = _replace_noise(template)
    for layer in template.modules():
        if isinstance(layer, _BatchNorm):
            _widen(layer)
    measured = False

    def forward(x: Tensor, context: ForwardContext) -> Tensor:
        nonlocal measured
        template.train(context.noise is not None)
        given: _Given = {}
        if context.noise is not None and noises:
            if not measured:
                _measure(template, x, context)
                measured = True
            for name, layer in noises.items():
                draws = context.noise.draw(layer.kind, name, (x.shape[1], *layer.shape))
                given[name] = draws, context.levels[name]

        def one(parameters: _Tensors, buffers: _Tensors, given: _Given, inputs: Tensor) -> Any:
            for name, layer in noises.items():
                layer.given = given.get(name)
            return functional_call(template, (parameters, buffers), (inputs,))

        shared = x.shape[0] == 1
        stacked = torch.vmap(one, in_dims=(0, 0, 0, None if shared else 0), randomness="error")
        with warnings.catch_warnings():
            # torch warns of operations that run member by member; the user cannot change that.
            warnings.filterwarnings("ignore", "There is a performance drop")
            outputs: Tensor = stacked(
                dict(context.parameters),
                dict(context.buffers),
                given,
                x[0] if shared else expand_groups(x, context.size),
            )
        for layer in noises.values():
            layer.given = None
        return outputs

    if model is None or model.plugin_origin is None:
        return forward

    def forward_of_plugin(x: Tensor, context: ForwardContext) -> Tensor:
        with running(model, "forward"):
            outputs = forward(x, context)
        members_and_examples = (context.size, x.shape[1])
        if outputs.dim() != 3 or outputs.shape[:2] != members_and_examples:
            raise wrong(
                model,
                "build",
                f"gave a network that gives {list(outputs.shape)} for {context.size} members and "
                f"{x.shape[1]} examples; a member has to give a row for each example",
            )
        return outputs

    return forward_of_plugin


def _widen(layer: _BatchNorm) -> None:
    """Let batch norm compute in float32 where autocast has made its inputs bfloat16.

    Its running statistics are float32. CUDA takes both dtypes in one call where weight and bias are
    float32 as well, but vmap's rule applies those afterwards.
    """
    forward = layer.forward

    def in_float32(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if input.dtype != torch.bfloat16:
            return forward(input)
        return forward(input.float()).to(input.dtype)

    layer.forward = in_float32  # type: ignore[method-assign]


def _measure(template: nn.Module, x: Tensor, context: ForwardContext) -> None:
    """Record the shape of every noise layer's draws: one example through the first member."""
    first = {name: tensor[0].detach() for name, tensor in context.parameters.items()}
    buffers = {name: tensor[0].clone() for name, tensor in context.buffers.items()}
    mode = template.training
    template.eval()
    with torch.no_grad():
        functional_call(template, (first, buffers), (x[0, :1],))
    template.train(mode)


def _replace_noise(template: nn.Module) -> dict[str, _MemberNoise]:
    replaced: dict[str, _MemberNoise] = {}
    for name, layer in list(template.named_modules()):
        kind = noise_of(layer)
        if kind is None:
            continue
        parent, _, child = name.rpartition(".")
        replaced[name] = _MemberNoise(kind, noise_block(layer))
        setattr(template.get_submodule(parent), child, replaced[name])
    return replaced
