"""Layers that torch lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from regrun.kinds.noise import DropConnect, NoiseKind

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
    """Noise on activations in training, identity in evaluation."""

    def __init__(self, noise: type[NoiseKind], level: float) -> None:
        super().__init__()
        self.noise, self.level = noise, level

    def forward(self, x: Tensor) -> Tensor:
        """(B, …) → the same shape."""
        if not self.training:
            return x
        draw = torch.randn if self.noise.normal else torch.rand
        draws = draw(self.noise.draws_shape(x.shape), dtype=x.dtype, device=x.device)
        return self.noise.apply(x, draws, torch.tensor(self.level))

    def extra_repr(self) -> str:
        """Kind and level."""
        return f"{self.noise.__name__}, level={self.level}"


class DropConnectLinear(nn.Linear):
    """A linear layer with noise on its weights in training, one draw for the whole batch."""

    def __init__(
        self, in_features: int, out_features: int, noise: type[DropConnect], level: float
    ) -> None:
        super().__init__(in_features, out_features)
        self.noise, self.level = noise, level

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        if not self.training:
            return super().forward(x)
        draws = torch.rand_like(self.weight)
        weight = self.noise.apply(self.weight, draws, torch.tensor(self.level))
        return F.linear(x, weight, self.bias)

    def extra_repr(self) -> str:
        """As torch's linear, and the level."""
        return f"{super().extra_repr()}, level={self.level}"


class Residual(nn.Sequential):
    """x + f(x), f being the chain of its layers (He et al. 2016), which keep the shape of x."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, …) → the same shape."""
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + y


def layer_kind(layer: nn.Module) -> str:
    """Name of a layer's class, or of its noise: `Linear`, `GaussianNoise`."""
    return layer.noise.__name__ if isinstance(layer, NoiseLayer) else type(layer).__name__


def noise_level(layer: nn.Module) -> float | None:
    """The rate or standard deviation of a noise layer; None for a layer without noise."""
    level = getattr(layer, "level", getattr(layer, "p", None))
    return level if isinstance(level, float) else None
