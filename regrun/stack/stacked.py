"""A stack: the parameters of K members with a leading axis, and one forward pass for all.

The network runs layer by layer where every layer is known, else as a whole; see `whole`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from regrun.kinds.models import ModelSection
from regrun.nn.modules import Residual, noise_level
from regrun.nn.roles import Role, roles_of
from regrun.stack.layers import ForwardContext, Handler, expand_groups, handler_of
from regrun.stack.mixing import HiddenMixing
from regrun.stack.noise import Noise
from regrun.stack.state import check_statistics, check_tensors
from regrun.stack.whole import AtOnce, Way, make_whole


class Stack:
    """K members of one architecture.

    modules: one ordinary module per member, equal in everything but numbers (weights, levels of
    noise). Their tensors are copied.

    parameters: name → (K, *shape), leaves that require gradients. buffers: name → (K, *shape).
    roles: name → role. Names are those of a member's `state_dict`.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        device: torch.device,
        dtype: torch.dtype,
        model: ModelSection | None = None,
        way: type[Way] = AtOnce,
    ) -> None:
        """model: the section that built the modules, whose own code then runs as its own.

        way: how the members of a network with layers that are not known are computed.
        """
        first = modules[0]
        self.size = len(modules)
        self.roles: dict[str, Role] = roles_of(first)
        self.parameters = {
            name: tensor.requires_grad_()
            for name, tensor in _stacked([m.named_parameters() for m in modules], device, dtype)
        }
        self.buffers = dict(_stacked([m.named_buffers() for m in modules], device, dtype))
        self.levels = {
            name: torch.tensor(levels, device=device, dtype=dtype)
            for name, levels in _noise_levels(modules)
        }
        self.momenta: dict[str, float] = {
            name: layer.momentum
            for name, layer in first.named_modules()
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.momentum is not None
        }
        """Batch norm layer → how far each batch moves its running statistics."""
        self._network = _layer_by_layer("", modules) or make_whole(first, model, way)

    def __call__(
        self,
        x: Tensor,
        noise: Noise | None = None,
        hidden: list[Tensor] | None = None,
        mixing: HiddenMixing | None = None,
    ) -> Tensor:
        """Outputs (K, B, C) for x (S, B, *input_shape), S dividing K; noise: training mode.

        hidden: gets the activations of the hidden layers, (K, B, …) each. Neither it nor mixing
        reaches a network that runs as a whole.
        """
        context = ForwardContext(
            self.size, self.parameters, self.buffers, self.levels, noise, hidden, mixing
        )
        return self._network(x, context)

    def shrink_to(self, rows: Sequence[int]) -> None:
        """Shrink to these members, in this order."""
        index = torch.tensor(list(rows), device=next(iter(self.parameters.values())).device)
        self.size = len(rows)
        self.parameters = {
            name: p.detach()[index].requires_grad_() for name, p in self.parameters.items()
        }
        self.buffers = {name: b[index] for name, b in self.buffers.items()}
        self.levels = {name: level[index] for name, level in self.levels.items()}

    def alone(self, row: int, state: Mapping[str, Tensor]) -> Stack:
        """A stack of one: the member in this row, with its part of the tensors of `state`."""
        rows = slice(row, row + 1)
        one = copy.copy(self)
        one.size = 1
        one.parameters = {name: state[name][rows] for name in self.parameters}
        one.buffers = {name: state[name][rows] for name in self.buffers}
        one.levels = {name: level[rows] for name, level in self.levels.items()}
        return one

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors, (K, …), by name; views, not copies."""
        return {name: p.detach() for name, p in self.parameters.items()} | self.buffers

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy tensors as `state_dict` gives them. Raises CorruptInputError for any others."""
        own = self.state_dict()
        check_tensors(own, state)
        for name, tensor in own.items():
            check_statistics(name, state[name])
            tensor.copy_(state[name])


def runs_layer_by_layer(module: nn.Module) -> bool:
    """Whether every layer is known."""
    return _layer_by_layer("", [module]) is not None


def _layer_by_layer(name: str, modules: Sequence[nn.Module]) -> Handler | None:
    """The handler of a layer, or of a chain of layers; None when one of them is not known."""
    first = modules[0]
    if type(first) not in (nn.Sequential, Residual):
        return handler_of(name, modules)
    links: list[tuple[str, Handler]] = []
    for child, _ in first.named_children():
        path = f"{name}.{child}" if name else child
        link = _layer_by_layer(path, [module.get_submodule(child) for module in modules])
        if link is None:
            return None
        links.append((path, link))

    def chain(x: Tensor, context: ForwardContext) -> Tensor:
        for path, link in links:
            x = link(x, context)
            if context.mixing is not None:
                x = context.mixing(path, x)
        return x

    def residual(x: Tensor, context: ForwardContext) -> Tensor:
        return expand_groups(x, context.size) + expand_groups(chain(x, context), context.size)

    return residual if type(first) is Residual else chain


def _stacked(
    members: Sequence[Iterator[tuple[str, Tensor]]], device: torch.device, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    for rows in zip(*members, strict=True):
        name, first = rows[0]
        target = dtype if first.is_floating_point() else first.dtype
        tensors = [tensor.detach() for _, tensor in rows]
        yield name, torch.stack(tensors).to(device=device, dtype=target)


def _noise_levels(modules: Sequence[nn.Module]) -> Iterator[tuple[str, list[float]]]:
    """Layer → its rate or standard deviation in every member, where one member has it."""
    for name, _ in modules[0].named_modules():
        levels = [noise_level(module.get_submodule(name)) for module in modules]
        if any(level is not None for level in levels):
            yield name, [level or 0.0 for level in levels]
