"""Noise layers that torch lacks, as ordinary modules, and the formulas they share with a stack.

A formula takes x, draws that broadcast against it, and the layer's level (a rate or a standard
deviation) as a tensor that does too, in whose precision the noise is worked out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SELU_LOW = 1.7580993408473766
"""−lim SELU(x) for x → −∞: what alpha dropout sets units to (Klambauer et al. 2017, §3)."""


def dropout(x: Tensor, uniform: Tensor, rate: Tensor) -> Tensor:
    """Inverted dropout (Srivastava et al. 2014, §10): x / (1 − p) where u ≥ p, else 0.

    p = 1 gives zeros. Uniform numbers of fewer axes drop whole channels, examples or weights.
    """
    scale = torch.where(rate < 1, 1 / (1 - rate), 0.0).to(x.dtype)
    return x * ((uniform >= rate) * scale)


def gaussian_dropout(x: Tensor, normal: Tensor, rate: Tensor) -> Tensor:
    """X times N(1, p/(1−p)), p < 1: mean and variance of dropout (Srivastava et al. 2014, §10)."""
    std = (rate / (1 - rate)).sqrt()
    return x * (1 + std * normal.to(std.dtype)).to(x.dtype)


def alpha_dropout(x: Tensor, uniform: Tensor, rate: Tensor) -> Tensor:
    """Dropout to SELU's lower limit −α′, then a x + b, so that mean 0 and variance 1 stay.

    a = ((1−p) (1 + p α′²))^−½, b = a p α′ (Klambauer et al. 2017, §3); p = 1 gives zeros.
    """
    a = torch.where(rate < 1, ((1 - rate) * (1 + rate * SELU_LOW**2)).rsqrt(), 0.0)
    kept = (uniform >= rate).to(a.dtype)
    return x * (kept * a).to(x.dtype) + ((kept - (1 - rate)) * a * SELU_LOW).to(x.dtype)


def add_noise(x: Tensor, normal: Tensor, std: Tensor) -> Tensor:
    """X + N(0, std²)."""
    return x + (std * normal.to(std.dtype)).to(x.dtype)


class GaussianDropout(nn.Module):
    """`gaussian_dropout` in training, identity in evaluation."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        if not self.training:
            return x
        return gaussian_dropout(x, torch.randn_like(x), torch.tensor(self.p))

    def extra_repr(self) -> str:
        """As torch's own dropouts."""
        return f"p={self.p}"


class GaussianNoise(nn.Module):
    """`add_noise` in training, identity in evaluation."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return add_noise(x, torch.randn_like(x), torch.tensor(self.std)) if self.training else x

    def extra_repr(self) -> str:
        """The standard deviation."""
        return f"std={self.std}"


class StochasticDepth(nn.Module):
    """`dropout` of whole examples in training, identity in evaluation (Huang et al. 2016)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(B, …)."""
        if not self.training:
            return x
        uniform = torch.rand(x.shape[:1] + (1,) * (x.dim() - 1), device=x.device)
        return dropout(x, uniform, torch.tensor(self.p))

    def extra_repr(self) -> str:
        """As torch's own dropouts."""
        return f"p={self.p}"


class DropConnectLinear(nn.Linear):
    """A linear layer with `dropout` of its weights in training (Wan et al. 2013)."""

    def __init__(self, in_features: int, out_features: int, p: float) -> None:
        super().__init__(in_features, out_features)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        if not self.training:
            return super().forward(x)
        mask = torch.rand_like(self.weight)
        return F.linear(x, dropout(self.weight, mask, torch.tensor(self.p)), self.bias)

    def extra_repr(self) -> str:
        """As torch's linear, and the rate."""
        return f"{super().extra_repr()}, p={self.p}"


class Residual(nn.Sequential):
    """X plus what its layers make of x (He et al. 2016); names are those of the layers alone."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that the layers keep."""
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + y


def noise_level(layer: nn.Module) -> float | None:
    """The rate or standard deviation of a noise layer; None for a layer without noise."""
    level = getattr(layer, "p", getattr(layer, "std", None))
    return level if isinstance(level, float) else None
