"""Any module as a stack: its parameters are swapped for those of the members.

Most modules are computed for all members at once, through `torch.vmap`; a stack of one calls its
module. Those that vmap cannot take (recurrent layers, random functions, branches on the values of
tensors) are computed for one member after another.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from regrun.kinds.base import running
from regrun.kinds.boundary import shown
from regrun.kinds.models import ModelSection
from regrun.kinds.models.base import wrong_outputs
from regrun.kinds.noise import NoiseKind
from regrun.nn.modules import noise_block, noise_level, seeded, set_noise_level
from regrun.stack.layers import ForwardContext, Handler, expand_groups, noise_of

_Tensors = dict[str, Tensor]
_Given = dict[str, list[tuple[Tensor, Tensor]]]
"""Noise layer → draws and level of each of its calls."""

RANDOM_CALLS = "forward()"
"""The stream that seeds a network's own random calls; no layer has this name."""


class Way(ABC):
    """How a module is computed for all members; made of the module of one."""

    @abstractmethod
    def __init__(self, module: nn.Module) -> None: ...

    @abstractmethod
    def __call__(self, x: Tensor, context: ForwardContext) -> tuple[Any, _Tensors]:
        """Outputs (K, B, C) for x (S, B, *input_shape); and buffers that were assigned, (K, …)."""


class OneByOne(Way):
    """One member after another, each as torch computes it.

    What a network draws, in its noise layers too, begins anew in each pass, from a seed of the
    member's own stream; in evaluation always from the same seed.
    """

    def __init__(self, module: nn.Module) -> None:
        self._template = _template(module)
        self._noises = {
            name: layer
            for name, layer in self._template.named_modules()
            if noise_level(layer) is not None
        }

    def __call__(self, x: Tensor, context: ForwardContext) -> tuple[Any, _Tensors]:
        self._template.train(context.noise is not None)
        seeds = context.noise.seeds(RANDOM_CALLS) if context.noise else [0] * context.size
        # Gradients of unbound rows are put together once. Those of `p[row]` would each be as large
        # as the whole stack.
        parameters = {name: tensor.unbind() for name, tensor in context.parameters.items()}
        levels = {name: context.levels[name].tolist() for name in self._noises}
        share = context.size // x.shape[0]
        outputs, assigned = [], []
        for row, seed in enumerate(seeds):
            for name, layer in self._noises.items():
                set_noise_level(layer, levels[name][row])
            own = {name: rows[row] for name, rows in parameters.items()}
            buffers = {name: tensor[row] for name, tensor in context.buffers.items()}
            with seeded(seed, x.device):
                output, new = _call(self._template, own, buffers, x[row // share])
            outputs.append(output)
            assigned.append(new)
        whole = {
            name: torch.stack([new.get(name, old) for new, old in zip(assigned, olds, strict=True)])
            for name, olds in context.buffers.items()
            if any(name in new for new in assigned)
        }
        # The caller says what is wrong with others than tensors.
        tensors = all(isinstance(each, Tensor) for each in outputs)
        return torch.stack(outputs) if tensors else outputs, whole


class AtOnce(Way):
    """All members through vmap, which raises its own errors for what it cannot take.

    A stack of one calls the module itself, since a ResNet takes a fifth longer through vmap. In
    both, noise layers are given the draws of the members' own streams (`noise_of`).
    """

    def __init__(self, module: nn.Module) -> None:
        self._template = _template(module)
        self._noises = _replace_noise(self._template)
        self._through_vmap = False
        for layer in self._template.modules():
            if isinstance(layer, _BatchNorm):
                self._widen(layer)
        self._measured = False

    def __call__(self, x: Tensor, context: ForwardContext) -> tuple[Any, _Tensors]:
        given = self._prepare(x, context)
        self._through_vmap = context.size > 1
        compute = self._together if self._through_vmap else self._alone
        found = compute(x, context, given)
        for layer in self._noises.values():
            layer.given = None
        return found

    def _together(self, x: Tensor, context: ForwardContext, given: _Given) -> tuple[Any, _Tensors]:
        shared = x.shape[0] == 1
        axes = (0, 0, 0, None if shared else 0)
        stacked = torch.vmap(self._one, in_dims=axes, randomness="error")
        with warnings.catch_warnings():
            # torch warns of operations that run member by member; the user cannot change that.
            warnings.filterwarnings("ignore", "There is a performance drop")
            outputs, assigned = stacked(
                dict(context.parameters),
                dict(context.buffers),
                given,
                x[0] if shared else expand_groups(x, context.size),
            )
        return outputs, assigned

    def _alone(self, x: Tensor, context: ForwardContext, given: _Given) -> tuple[Any, _Tensors]:
        outputs, assigned = self._one(
            {name: tensor.squeeze(0) for name, tensor in context.parameters.items()},
            {name: tensor.squeeze(0) for name, tensor in context.buffers.items()},
            {
                name: [(draws[0], level[0]) for draws, level in calls]
                for name, calls in given.items()
            },
            x[0],
        )
        # The caller says what is wrong with others than tensors.
        whole = outputs.unsqueeze(0) if isinstance(outputs, Tensor) else [outputs]
        return whole, {name: each.unsqueeze(0) for name, each in assigned.items()}

    def _prepare(self, x: Tensor, context: ForwardContext) -> _Given:
        """Set the mode, and draw the noise of the next pass."""
        self._template.train(context.noise is not None)
        given: _Given = {}
        if context.noise is not None and self._noises:
            if not self._measured:
                self._measure(x, context)
                self._measured = True
            for name, layer in self._noises.items():
                level = context.levels[name]
                given[name] = [
                    (context.noise.draw(layer.kind, stream, (x.shape[1], *shape)), level)
                    for stream, shape in zip(streams_of(name), layer.shapes, strict=False)
                ]
        return given

    def _one(
        self, parameters: _Tensors, buffers: _Tensors, given: _Given, inputs: Tensor
    ) -> tuple[Any, _Tensors]:
        for name, layer in self._noises.items():
            layer.given = iter(given.get(name, ()))
        return _call(self._template, parameters, buffers, inputs)

    def _measure(self, x: Tensor, context: ForwardContext) -> None:
        """Record the shape of every noise layer's draws: two examples through the first member."""
        first = {name: tensor[0].detach() for name, tensor in context.parameters.items()}
        buffers = {name: tensor[0].clone() for name, tensor in context.buffers.items()}
        with torch.no_grad(), seeded(0, x.device):
            _call(self._template, first, buffers, x[0, :2])

    def _widen(self, layer: _BatchNorm) -> None:
        """Let batch norm compute in float32 where autocast has made its inputs bfloat16.

        Its running statistics are float32. CUDA takes both dtypes in one call where weight and bias
        are float32 as well, but vmap's rule applies those afterwards.
        """
        forward = layer.forward

        def in_float32(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
            mixed = layer.weight is not None and not self._through_vmap
            if mixed or input.dtype != torch.bfloat16:
                return forward(input)
            return forward(input.float()).to(input.dtype)

        layer.forward = in_float32  # type: ignore[method-assign]


class _MemberNoise(nn.Module):
    """Replaces a noise layer of the template.

    The measuring pass records the shape of the draws that each call of it needs; in a stacked pass
    the caller sets this member's draws and levels (`given`), a call after the other.
    """

    def __init__(self, kind: type[NoiseKind], block: int) -> None:
        super().__init__()
        self.kind, self.block = kind, block
        self.shapes: list[tuple[int, ...]] = []
        self.given: Iterator[tuple[Tensor, Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if self.given is None:
            self.shapes.append(self.kind.draws_shape(x.shape, self.block)[1:])
            return x
        draws = next(self.given, None)
        if draws is None:
            raise RuntimeError("a noise layer is called more often than in the first pass")
        return self.kind.apply(x, *draws)


def streams_of(name: str) -> Iterator[str]:
    """The streams of a noise layer's calls: its name, and names that no layer has."""
    yield name
    for call in count(1):
        yield f"{name}()/{call}"


def _template(module: nn.Module) -> nn.Module:
    """A copy without numbers of its own; what the module shares, the copy shares as well."""
    empty: dict[int, Any] = {
        id(tensor): nn.Parameter(tensor.detach().to("meta")) for tensor in module.parameters()
    }
    empty |= {id(tensor): tensor.detach().to("meta") for tensor in module.buffers()}
    return deepcopy(module, empty)


def _call(
    template: nn.Module, parameters: _Tensors, buffers: _Tensors, inputs: Tensor
) -> tuple[Any, _Tensors]:
    """One member's outputs, and the buffers that are other tensors afterwards."""
    tensors = {**parameters, **buffers}
    outputs = functional_call(template, tensors, (inputs,))
    return outputs, {name: tensors[name] for name in buffers if tensors[name] is not buffers[name]}


def make_whole(
    module: nn.Module, model: ModelSection | None = None, way: type[Way] = AtOnce
) -> Handler:
    """A handler of the whole module: (S, B, *input_shape) → (K, B, C). model: what built it."""
    with nullcontext() if model is None else running(model, "forward"):
        compute = way(module)
    takes_channels_last = model is not None and model.takes_channels_last

    def forward(x: Tensor, context: ForwardContext) -> Tensor:
        if takes_channels_last and context.size == 1 and channels_last_pays(x):
            context = replace(context, parameters=_with_channels_last(context.parameters))
        outputs, assigned = compute(x, context)
        with torch.no_grad():
            for name, tensor in assigned.items():
                context.buffers[name].copy_(tensor)
        result: Tensor = outputs
        return result

    if model is None or model.plugin_origin is None:
        return forward

    def forward_of_plugin(x: Tensor, context: ForwardContext) -> Tensor:
        with running(model, "forward"):
            outputs = forward(x, context)
        check_outputs(model, outputs[0], x.shape[1])
        return outputs

    return forward_of_plugin


def channels_last_pays(x: Tensor) -> bool:
    """Whether convolutions of such inputs are faster with the channels of an image innermost.

    Tensor cores want them there: with TF32, a step of ResNet-18 takes two thirds of the time on an
    H200. cuDNN has no such layout for float64.
    """
    return x.device.type == "cuda" and x.dtype == torch.float32


def _with_channels_last(parameters: Mapping[str, Tensor]) -> _Tensors:
    """Let the weights of convolutions, (1, out, in, height, width), choose the layout of images.

    Flattened in between, so that gradients get the layout of the parameters themselves.
    """
    return {
        name: tensor.flatten()
        .view(tensor.shape[1:])
        .contiguous(memory_format=torch.channels_last)
        .unsqueeze(0)
        if tensor.dim() == 5
        else tensor
        for name, tensor in parameters.items()
    }


def check_outputs(model: ModelSection, outputs: object, examples: int) -> None:
    """Raise PluginError for anything but a row of numbers for each example of one member."""
    if not isinstance(outputs, Tensor):
        what = f"{shown(outputs)}; it has to give a tensor with a row for each example"
    elif outputs.dim() != 2 or len(outputs) != examples:
        what = (
            f"{list(outputs.shape)} for {examples} examples; it has to give a row for each example"
        )
    elif not outputs.is_floating_point():
        what = f"numbers of type {outputs.dtype}; it has to give floating-point numbers"
    else:
        return
    raise wrong_outputs(model, what)


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
