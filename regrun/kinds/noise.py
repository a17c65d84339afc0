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
    mixes_examples: ClassVar[bool] = False
    """Whether an example's noise depends on the draws of the others in its batch."""
    torch_layers: ClassVar[tuple[str, ...]] = ()
    """Layers of `torch.nn` that are this kind of noise; ordinary networks use the first."""

    @staticmethod
    @abstractmethod
    def apply(x: Tensor, draws: Tensor, level: Tensor) -> Tensor:
        """Return x with noise. Draws and level broadcast against x; level sets the precision."""

    @classmethod
    def draws_shape(cls, shape: Sequence[int], block: int = 1) -> tuple[int, ...]:
        """Shape of the draws for activations of this shape, (B, C, …).

        block: the side of the squares that one draw decides on, for kinds that have squares.
        """
        own = len(shape) if cls.own_axes is None else cls.own_axes
        return (*shape[:own], *[1] * (len(shape) - own))

    @classmethod
    def layer(cls, level: float, *, images: bool = False, block: int = 1) -> nn.Module:
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

    @classmethod
    def on_units(cls) -> type[Dropout]:
        """The kind that acts on dense layers where this one is chosen."""
        return cls

    @classmethod
    def settings(cls, block: int) -> str:
        """What `inspect` adds to the rates on images."""
        return ""


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
    def layer(cls, level: float, *, images: bool = False, block: int = 1) -> nn.Module:
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


class DropBlock(Dropout):
    """Dropout of squares of a channel."""

    name: ClassVar[Literal["drop_block"]] = "drop_block"
    summary = (
        "Sets squares of block_size × block_size pixels of a channel to 0, and scales what is left "
        "of the batch to its number of entries; dense layers have standard dropout."
    )
    formula = (
        "{h} ← {h} · m |m| / Σm,  m = 0 in k×k squares, each with probability "
        "p H W / (k² (H−k+1) (W−k+1)),  k: block_size"
    )
    symbols = formula.removesuffix(",  k: block_size")
    reference = "Ghiasi et al. 2018, algorithm 1"
    mixes_examples = True  # through |m| / Σm

    @classmethod
    def draws_shape(cls, shape: Sequence[int], block: int = 1) -> tuple[int, ...]:
        """A draw for each place of a square: (B, C, H−k+1, W−k+1)."""
        return (*shape[:-2], *(size - min(block, size) + 1 for size in shape[-2:]))

    @classmethod
    def layer(cls, level: float, *, images: bool = False, block: int = 1) -> nn.Module:
        from regrun.nn.modules import NoiseLayer

        return NoiseLayer(cls, level, block)

    @staticmethod
    def apply(x: Tensor, draws: Tensor, level: Tensor) -> Tensor:
        """Return x (…, B, C, H, W) without the squares whose draw is below γ, scaled."""
        from torch.nn.functional import max_pool2d, pad

        (height, width), (rows, columns) = x.shape[-2:], draws.shape[-2:]
        tall, wide = height - rows + 1, width - columns + 1
        gamma = level * (height * width / (tall * wide * rows * columns))
        corners = pad((draws < gamma).to(x.dtype), [wide - 1, wide - 1, tall - 1, tall - 1])
        dropped = max_pool2d(corners.flatten(0, -4), (tall, wide), stride=1).view_as(x)
        left = 1 - dropped.double().mean((-4, -3, -2, -1), keepdim=True)
        scale = (1 / left).where(left > 0, 0.0).to(x.dtype)
        return x * ((1 - dropped) * scale)

    @classmethod
    def on_units(cls) -> type[Dropout]:
        return StandardDropout

    @classmethod
    def settings(cls, block: int) -> str:
        return f", k = {block}, or a side that is shorter"


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

DropoutType = Literal["standard", "spatial", "gaussian", "alpha", "drop_block"]
DenseDropoutType = Literal["standard", "gaussian", "alpha"]
DROPOUTS: Mapping[str, type[Dropout]] = {
    kind.name: kind
    for kind in (StandardDropout, SpatialDropout, GaussianDropout, AlphaDropout, DropBlock)
}
"""`dropout_type` → its kind."""

DROPOUT_TYPES = Choices(  # `dropout` switches them on and off
    {
        name: replace(kind.described(), summary=kind.summary, off=None, regularizes=False)
        for name, kind in DROPOUTS.items()
    }
)
