"""Any module as a stack, through `torch.vmap` over `torch.func.functional_call`."""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from regrun.stack.layers import Handler, Pass, spread


class _MemberDropout(nn.Module):
    """Stands in for a dropout layer of the template.

    In the measuring pass it notes the shape it is asked for; in a stacked pass it finds this
    member's uniform numbers and rate in the hands of the caller (`given`).
    """

    def __init__(self, per_example: bool) -> None:
        super().__init__()
        self.per_example = per_example
        self.shape: tuple[int, ...] = ()
        self.given: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.shape = (1,) * (x.dim() - 1) if self.per_example else tuple(x.shape[1:])
        if self.given is None:
            return x
        uniform, rate = self.given
        scale = torch.where(rate < 1, 1 / (1 - rate), 0.0).to(x.dtype)
        return x * ((uniform >= rate) * scale)


def make_vmapped(module: nn.Module) -> Handler:
    """A handler for the whole module: (S, B, *input_shape) → (K, B, C).

    The module may hold dropout (`nn.Dropout`) and torchvision's `StochasticDepth`; both draw
    from the members' own streams. Any other random layer raises torch's own error.
    """
    template = deepcopy(module).to("meta", torch.float32)
    template.train()
    dropouts = _replace_dropouts(template)
    measured = False

    def forward(x: Tensor, state: Pass) -> Tensor:
        nonlocal measured
        training = state.noise is not None
        template.train(training)
        uniforms: dict[str, Tensor] = {}
        if state.noise is not None and dropouts:
            if not measured:
                _measure(template, x, state)
                measured = True
            batch = x.shape[1]
            uniforms = {
                name: state.noise.uniform(name, (batch, *layer.shape))
                for name, layer in dropouts.items()
            }

        def one(
            parameters: dict[str, Tensor],
            buffers: dict[str, Tensor],
            given: dict[str, tuple[Tensor, Tensor]],
            inputs: Tensor,
        ) -> Any:
            for name, layer in dropouts.items():
                layer.given = given.get(name)
            return functional_call(template, (parameters, buffers), (inputs,))

        given = {name: (uniform, state.rates[name]) for name, uniform in uniforms.items()}
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
        for layer in dropouts.values():
            layer.given = None
        return outputs

    return forward


def _measure(template: nn.Module, x: Tensor, state: Pass) -> None:
    """Let every dropout layer see its shape: one example through the first member."""
    first = {name: tensor[0].detach() for name, tensor in state.parameters.items()}
    buffers = {name: tensor[0].clone() for name, tensor in state.buffers.items()}
    mode = template.training
    template.eval()
    with torch.no_grad():
        functional_call(template, (first, buffers), (x[0, :1],))
    template.train(mode)


def _replace_dropouts(template: nn.Module) -> dict[str, _MemberDropout]:
    replaced: dict[str, _MemberDropout] = {}
    for name, layer in list(template.named_modules()):
        kind = type(layer).__name__
        if not isinstance(layer, nn.Dropout) and kind != "StochasticDepth":
            continue
        replacement = _MemberDropout(per_example=kind == "StochasticDepth")
        parent, _, child = name.rpartition(".")
        setattr(template.get_submodule(parent), child, replacement)
        replaced[name] = replacement
    return replaced
