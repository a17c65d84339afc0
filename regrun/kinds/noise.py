"""Noise in a network: dropout and its relatives, each kind one class.

The arithmetic uses methods of tensors only, so that `regrun list` reads these classes without
torch. An ordinary network represents a kind by a layer; a stack draws for each member from the
member's own stream and calls `apply` on all members at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from regrun.kinds.base import Choices, Described

if TYPE_CHECKING:
    from torch import Tensor, nn

SELU_LIMIT = 1.7580993408473766
"""−lim SELU(x) for x → −∞ (Klambauer et al. 2017, §3)."""


class NoiseKind(ABC):
    """A kind of noise, used as a class without instances.

    Its level is a rate or a standard deviation; 0 is no noise.
    """

    formula: ClassVar[str]
    """In symbols, `{h}` being what it acts on."""
    symbols: ClassVar[str]
    """The line of `inspect`: `{h}` as above, `{level}` its number."""
    reference: ClassVar[str]
    needs: ClassVar[str] = ""
    normal: ClassVar[bool] = False
    """Draws are N(0, 1) instead of uniform on [0, 1)."""
    own_axes: ClassVar[int | None] = None
    """How many leading axes of (B, C, …) have draws of their own, None for all."""
    torch_layers: ClassVar[tuple[str, ...]] = ()
    """Layers of `torch.nn` that are this kind of noise; ordinary networks use the first."""

    @staticmethod
    @abstractmethod
    def apply(x: Tensor, draws: Tensor, level: Tensor) -> Tensor:
        """Return x with noise. Draws and level broadcast against x; level sets the precision."""

    @classmethod
    def draws_shape(cls, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the draws for activations of this shape, (B, C, …)."""
        own = len(shape) if cls.own_axes is None else cls.own_axes
        return (*shape[:own], *[1] * (len(shape) - own))

    @classmethod
    def layer(cls, level: float, *, images: bool = False) -> nn.Module:
        """Return the layer of an ordinary network; images: for activations (B, C, H, W)."""
        from torch import nn

        from regrun.nn.modules import NoiseLayer

        if not cls.torch_layers:
            return NoiseLayer(cls, level)
        layer: nn.Module = getattr(nn, cls.torch_layers[0])(level)
        return layer

    @classmethod
    def line(cls, h: str, what: str, level: float = 0.0) -> str:
        """The line of `inspect`; what: names the noise and its numbers."""
        return f"{cls.symbols.format(h=h, level=level)}   ({what})"

    @classmethod
    def described(cls, h: str = "h", *, reference: str = "") -> Described:
        """Return the mark of a key that sets the level of this noise on h."""
        return Described(
            "noise",
            formula=cls.formula.format(h=h),
            reference=reference or cls.reference,
            needs=cls.needs,
            off=0.0,
        )


class Dropout(NoiseKind):
    """A value of `dropout_type`."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @classmethod
    def check_rates(cls, key: str, rates: Sequence[float]) -> None:
        """Raise ValueError for rates at a key that this kind cannot have."""

    @classmethod
    def check_activation(cls, activation: str) -> None:
        """Raise ValueError for an activation that this kind cannot follow."""


class StandardDropout(Dropout):
    """Inverted dropout."""

    name: ClassVar[Literal["standard"]] = "standard"
    summary = (
        "Sets units, or entries of channels, to 0 with probability p and divides the rest by 1−p."
    )
    formula = "{h} ← {h} m / (1−p),  m ~ Bernoulli(1−p)"
    symbols = "{h} ← {h} · m / (1−p),  m ~ Bernoulli(1−p)"
    reference = "Hinton et al. 2012; Srivastava et al. 2014"
    torch_layers = ("Dropout",)

    @staticmethod
    def apply(x: Tensor, draws: Tensor, level: Tensor) -> Tensor:
        """Return x / (1 − p) where draws ≥ p, else 0; zeros for p = 1."""
        scale = (1 / (1 - level)).where(level < 1, 0.0).to(x.dtype)
        return x * ((draws >= level) * scale)


class SpatialDropout(Dropout):
    """Dropout of channels."""

    name: ClassVar[Literal["spatial"]] = "spatial"
    summary = "Sets whole channels to 0; in a dense layer each unit is a channel."
    formula = f"{StandardDropout.formula} per channel"
    symbols = f"{StandardDropout.symbols} per channel"
    reference = "Tompson et al. 2015"
    own_axes = 2
    torch_layers = ("Dropout2d", "Dropout1d", "Dropout3d")
    apply = staticmethod(StandardDropout.apply)

    @classmethod
    def layer(cls, level: float, *, images: bool = False) -> nn.Module:
        return super().layer(level) if images else StandardDropout.layer(level)


class GaussianDropout(Dropout):
    """Multiplicative Gaussian noise."""

    name: ClassVar[Literal["gaussian"]] = "gaussian"
    summary = "Multiplies by Gaussian noise with the mean and variance of standard dropout."
    formula = "{h} ← {h} z,  z ~ N(1, p/(1−p))"
    symbols = "{h} ← {h} · N(1, p/(1−p))"
    reference = "Srivastava et al. 2014, §10"
    normal = True

    @staticmethod
    def apply(x: Tensor, draws: Tensor, level: Tensor) -> Tensor:
        std = (level / (1 - level)).sqrt()
        return x * (1 + std * draws.to(std.dtype)).to(x.dtype)

    @classmethod
    def check_rates(cls, key: str, rates: Sequence[float]) -> None:
        if 1.0 in rates:
            raise ValueError(
                f"{key}: 1 under dropout_type: {cls.name} is noise of infinite variance p/(1−p); "
                "use a rate below 1"
            )


class AlphaDropout(Dropout):
    """Dropout that keeps the mean and variance of SELU activations."""

    name: ClassVar[Literal["alpha"]] = "alpha"
    summary = "Sets units to SELU's lower limit and rescales, which keeps mean 0 and variance 1."
    formula = (
        "{h} ← a ({h} m − α′ (1−m)) + b,  m ~ Bernoulli(1−p),  "
        "a = ((1−p)(1 + p α′²))^−½,  b = a p α′"
    )
    symbols = f"{{h}} ← a ({{h}} where m, else −{SELU_LIMIT:.4f}) + b,  m ~ Bernoulli(1−p)"
    reference = "Klambauer et al. 2017, §3"
    needs = "activation: selu"
    torch_layers = ("AlphaDropout",)

    @staticmethod
    def apply(x: Tensor, draws: Tensor, level: Tensor) -> Tensor:
        """Return a x + b where draws ≥ p, else b − a α′; zeros for p = 1."""
        a = ((1 - level) * (1 + level * SELU_LIMIT**2)).rsqrt().where(level < 1, 0.0)
        kept = (draws >= level).to(a.dtype)
        return x * (kept * a).to(x.dtype) + ((kept - (1 - level)) * a * SELU_LIMIT).to(x.dtype)

    @classmethod
    def check_activation(cls, activation: str) -> None:
        if activation != "selu":
            raise ValueError(
                f"dropout_type: {cls.name} keeps the mean and variance that SELU gives, not those "
                f"of {activation}; use activation: selu, or another dropout_type"
            )


class GaussianNoise(NoiseKind):
    """Additive Gaussian noise."""

    formula = "{h} ← {h} + σ z,  z ~ N(0, 1)"
    symbols = "{h} ← {h} + N(0, {level:g}²)"
    reference = "Bishop 1995"
    normal = True

    @staticmethod
    def apply(x: Tensor, draws: Tensor, level: Tensor) -> Tensor:
        return x + (level * draws.to(level.dtype)).to(x.dtype)


class StochasticDepth(NoiseKind):
    """Dropout of a residual layer, per example."""

    formula = "{h} ← {h} + f({h}) m / (1 − p l/L),  m ~ Bernoulli(1 − p l/L),  layer l of L"
    symbols = "{h} ← {h} + layer({h}) · m / (1−p),  m ~ Bernoulli(1−p) per example"
    reference = "Huang et al. 2016, who draw per batch and scale in evaluation"
    needs = "residual: true"
    own_axes = 1
    apply = staticmethod(StandardDropout.apply)


class DropConnect(NoiseKind):
    """Dropout of weights."""

    formula = StandardDropout.formula
    symbols = f"{StandardDropout.symbols}, one per step"
    reference = "Wan et al. 2013, who draw a mask per example"
    apply = staticmethod(StandardDropout.apply)


ON_ACTIVATIONS: Sequence[type[NoiseKind]] = (
    StandardDropout, SpatialDropout, GaussianDropout, AlphaDropout, GaussianNoise, StochasticDepth,
)  # fmt: skip

DropoutType = Literal["standard", "spatial", "gaussian", "alpha"]
DenseDropoutType = Literal["standard", "gaussian", "alpha"]
DROPOUTS: Mapping[str, type[Dropout]] = {
    kind.name: kind for kind in (StandardDropout, SpatialDropout, GaussianDropout, AlphaDropout)
}
"""`dropout_type` → its kind."""

DROPOUT_TYPES = Choices(  # `dropout` switches them on and off
    {
        name: replace(kind.described(), summary=kind.summary, off=None, regularizes=False)
        for name, kind in DROPOUTS.items()
    }
)
