"""Any module as a stack, through `torch.vmap` over `torch.func.functional_call`."""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from regrun.stack.layers import Handler, Pass, spread
from regrun.stack.noise_layers import ActivationNoise, activation_noise


class _MemberNoise(nn.Module):
    """Stands in for a noise layer of the template.

    In the measuring pass it notes the shape of the draws it needs; in a stacked pass it finds this
    member's draws and level in the hands of the caller (`given`).
    """

    def __init__(self, kind: ActivationNoise) -> None:
        super().__init__()
        self.kind = kind
        self.shape: tuple[int, ...] = ()
        self.given: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.shape = self.kind.draws_shape(x.shape)[1:]
        return x if self.given is None else self.kind.formula(x, *self.given)


def make_vmapped(module: nn.Module) -> Handler:
    """A handler for the whole module: (S, B, *input_shape) → (K, B, C).

    The module may hold torch's dropouts and torchvision's `StochasticDepth`, which draw from the
    members' own streams (`ACTIVATION_NOISE`). Any other random layer raises torch's own error.
    """
    template = deepcopy(module).to("meta", torch.float32)
    template.train()
    noises = _replace_noise(template)
    measured = False

    def forward(x: Tensor, state: Pass) -> Tensor:
        nonlocal measured
        template.train(state.noise is not None)
        given: dict[str, tuple[Tensor, Tensor]] = {}
        if state.noise is not None and noises:
            if not measured:
                _measure(template, x, state)
                measured = True
            given = {
                name: (
                    layer.kind.draw(state.noise, name, (x.shape[1], *layer.shape)),
                    state.levels[name],
                )
                for name, layer in noises.items()
            }

        def one(
            parameters: dict[str, Tensor],
            buffers: dict[str, Tensor],
            given: dict[str, tuple[Tensor, Tensor]],
            inputs: Tensor,
        ) -> Any:
            for name, layer in noises.items():
                layer.given = given.get(name)
            return functional_call(template, (parameters, buffers), (inputs,))

        shared = x.shape[0] == 1
        stacked = torch.vmap(one, in_dims=(0, 0, 0, None if shared else 0), randomness="error")
        with warnings.catch_warnings():
            # A few of torch's operations go member by member: slower, and nothing the user can do.
            warnings.filterwarnings("ignore", "There is a performance drop")
            outputs: Tensor = stacked(
                dict(state.parameters),
                dict(state.buffers),
                given,
                x[0] if shared else spread(x, state.size),
            )
        for layer in noises.values():
            layer.given = None
        return outputs

    return forward


def _measure(template: nn.Module, x: Tensor, state: Pass) -> None:
    """Let every noise layer see its shape: one example through the first member."""
    first = {name: tensor[0].detach() for name, tensor in state.parameters.items()}
    buffers = {name: tensor[0].clone() for name, tensor in state.buffers.items()}
    mode = template.training
    template.eval()
    with torch.no_grad():
        functional_call(template, (first, buffers), (x[0, :1],))
    template.train(mode)


def _replace_noise(template: nn.Module) -> dict[str, _MemberNoise]:
    replaced: dict[str, _MemberNoise] = {}
    for name, layer in list(template.named_modules()):
        kind = activation_noise(layer)
        if kind is None:
            continue
        parent, _, child = name.rpartition(".")
        replaced[name] = _MemberNoise(kind)
        setattr(template.get_submodule(parent), child, replaced[name])
    return replaced
