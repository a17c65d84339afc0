"""A whole network for K members: layer by layer where every layer is known, else through vmap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from regrun.nn.modules import Residual
from regrun.stack.layers import LAYER_HANDLERS, Handler, HandlerMaker, Pass, spread
from regrun.stack.noise_layers import NOISE_HANDLERS
from regrun.stack.vmapped import make_vmapped

HANDLERS: Mapping[type[nn.Module], HandlerMaker] = {**LAYER_HANDLERS, **NOISE_HANDLERS}
"""The layers that are stacked by hand."""


def make_network(modules: Sequence[nn.Module]) -> Handler:
    """(S, B, *input_shape) → (K, B, C) for the networks of K members."""
    return _by_hand("", modules) or make_vmapped(modules[0])


def _by_hand(name: str, modules: Sequence[nn.Module]) -> Handler | None:
    """The handler of a layer, or of a chain of layers; None when one of them is not known."""
    first = modules[0]
    if type(first) not in (nn.Sequential, Residual):
        # A member without drop-connect has an ordinary linear layer where others have one with it.
        kind = max((type(layer) for layer in modules), key=lambda kind: len(kind.__mro__))
        return HANDLERS[kind](name, modules) if kind in HANDLERS else None
    links: list[Handler] = []
    for child, _ in first.named_children():
        path = f"{name}.{child}" if name else child
        link = _by_hand(path, [module.get_submodule(child) for module in modules])
        if link is None:
            return None
        links.append(link)

    def chain(x: Tensor, state: Pass) -> Tensor:
        for link in links:
            x = link(x, state)
        return x

    def residual(x: Tensor, state: Pass) -> Tensor:
        return spread(x, state.size) + spread(chain(x, state), state.size)

    return residual if type(first) is Residual else chain
