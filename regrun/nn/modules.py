"""What torch lacks: layers, and initial weights from a seed or without numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from regrun.kinds.noise import DropConnect, NoiseKind

CPU = torch.device("cpu")

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class NoiseLayer(nn.Module):
    """Noise on activations in training, identity in evaluation.

    block: the side of the squares of a kind that has squares.
    """

    def __init__(self, noise: type[NoiseKind], level: float, block: int = 1) -> None:
        super().__init__()
        self.noise, self.level, self.block = noise, level, block

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        draw = torch.randn if self.noise.normal else torch.rand
        shape = self.noise.draws_shape(x.shape, self.block)
        draws = draw(shape, dtype=x.dtype, device=x.device)
        return self.noise.apply(x, draws, torch.tensor(self.level))

    def extra_repr(self) -> str:
        block = f", block={self.block}" if self.block > 1 else ""
        return f"{self.noise.__name__}, level={self.level}{block}"


class DropConnectLinear(nn.Linear):
    """A linear layer with noise on its weights in training, one draw for the whole batch."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        noise: type[DropConnect],
        level: float,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.noise, self.level = noise, level

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        draws = torch.rand_like(self.weight)
        weight = self.noise.apply(self.weight, draws, torch.tensor(self.level))
        return F.linear(x, weight, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, level={self.level}"


WEIGHT_EPSILON = 1e-6
"""ε of weight standardization, as in timm."""


def standardized_weight(weight: Tensor, members: bool = False) -> Tensor:
    """(w − mean) / √(var + ε) over the weights of each neuron or filter (Qiao et al. 2019).

    weight: (out, …), with members (K, out, …).
    """
    axes = tuple(range(2 if members else 1, weight.dim()))
    variance, mean = torch.var_mean(weight, axes, correction=0, keepdim=True)
    return (weight - mean) * torch.rsqrt(variance + WEIGHT_EPSILON)


class WeightStandardized:
    """Marks layers that work with their `standardized_weight`."""


class WSLinear(WeightStandardized, nn.Linear):
    """A linear layer with a standardized weight."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, standardized_weight(self.weight), self.bias)


class WSConv2d(WeightStandardized, nn.Conv2d):
    """A convolution with standardized filters."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self._conv_forward(x, standardized_weight(self.weight), self.bias)
        return y


class StandardizedLinear(nn.Linear):
    """A linear layer that standardizes its inputs: W (x − mean) / std + b.

    linear: gives W and b. mean, std: (in_features,).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, linear: nn.Linear, mean: Tensor, std: Tensor) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(((x - self.mean) / self.std).to(x.dtype))


def standardizing(network: nn.Module, mean: Tensor, std: Tensor) -> nn.Module:
    """A linear network, a chain of layers, with its linear layer standardizing its inputs."""
    layers = [
        (name, StandardizedLinear(layer, mean, std) if isinstance(layer, nn.Linear) else layer)
        for name, layer in network.named_children()
    ]
    return nn.Sequential(OrderedDict(layers))


class Residual(nn.Sequential):
    """x + f(x), f being the chain of its layers (He et al. 2016), which keep the shape of x."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + y


def noise_level(layer: nn.Module) -> float | None:
    """The rate or standard deviation of a noise layer; None for a layer without noise."""
    if isinstance(layer, NoiseLayer | DropConnectLinear):
        return layer.level
    # torchvision's, without importing it
    if isinstance(layer, _DropoutNd) or type(layer).__name__ == "StochasticDepth":
        return float(cast(_DropoutNd, layer).p)
    return None


def set_noise_level(layer: nn.Module, level: float) -> None:
    """Set what `noise_level` gives for a noise layer."""
    if isinstance(layer, NoiseLayer | DropConnectLinear):
        layer.level = level
    else:
        cast(_DropoutNd, layer).p = level


def has_noise(module: nn.Module) -> bool:
    """Whether two passes in training differ by what is drawn in them."""
    return any(noise_level(layer) for layer in module.modules())


def noise_block(layer: nn.Module) -> int:
    """The side of the squares that a layer drops at once."""
    return layer.block if isinstance(layer, NoiseLayer) else 1


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Seed torch's global generators of the CPU and of this device, and restore them at the end.

    Not with `torch.manual_seed`: it also prepares every accelerator, and takes longer than
    building a network.
    """
    generators = _generators(device)
    before = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


def _generators(device: torch.device) -> list[torch.Generator]:
    if device.type != "cuda":
        return [torch.default_generator]
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[index]]


class OnMeta(TorchFunctionMode):
    """Puts parameters and buffers on the meta device, and nothing else.

    `torch.device("meta")` would also take the tensors from which RegNet computes its widths.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if function in (torch.empty, torch.zeros, torch.ones) and options.get("device") is None:
            options["device"] = "meta"
        return function(*args, **options)


def initialize(module: nn.Module, init: str, std: float) -> None:
    """Redraw the weights of linear and convolution layers as `ModelSection.init` says.

    It draws from torch's global generator, which the caller has seeded.
    """
    if init == "default":
        return
    for layer in module.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        match init:
            case "normal":
                nn.init.normal_(layer.weight, std=std)
            case "zeros":
                nn.init.zeros_(layer.weight)
            case "xavier":
                nn.init.xavier_uniform_(layer.weight)
            case "kaiming":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
