"""Optimizers that divide each entry's step by the root of its past squared gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from regrun.kinds.base import Fraction, NonNegative, Rate
from regrun.kinds.optimizers.base import GivenRate, Tile, UpdateRule, sqrt_into

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Adagrad(GivenRate):
    """Steps divided by the root of the sum of squares."""

    formula: ClassVar[str] = "v ← v + g²;  w ← w − η g / (√v + ε)"
    reference: ClassVar[str] = "Duchi, Hazan & Singer 2011"
    name: Literal["adagrad"]
    lr_decay: NonNegative = 0.0
    """η / (1 + lr_decay (t − 1)) is the learning rate of step t."""
    eps: NonNegative = 1e-10
    """Added to the root that divides the step."""
    initial_accumulator_value: NonNegative = 0.0
    """Where the sums of squares begin."""

    @classmethod
    def slots(cls, members: Sequence[Self]) -> tuple[str, ...]:
        return ("sum",)

    def symbols(self) -> list[str]:
        start = self.initial_accumulator_value
        slower = f" / (1 + {self.lr_decay:g} (t − 1))" if self.lr_decay else ""
        return [
            "v ← v + g²" + (f"   (v = {start:g} before the first step)" if start else ""),
            f"w ← w − η_t{slower} · g / (√v + {self.eps:g})",
        ]

    class Rule(UpdateRule["Adagrad"]):
        """The diagonal variant, as in torch."""

        squares = ("sum",)

        def __init__(self, sections: Sequence[Adagrad], device: torch.device) -> None:
            super().__init__(sections, device)
            self.lr_decay = self.column("lr_decay")
            self.follows_step = bool(self.lr_decay.any())

        def columns(self) -> dict[str, Tensor]:
            return {"eps": self.column("eps")}

        def initial(self, slot: str) -> Tensor | None:
            return self.column("initial_accumulator_value")

        def at_step(self, lr: Tensor, step: Tensor) -> dict[str, Tensor]:
            """−η_t / (1 + lr_decay (t − 1))."""
            return {"minus_lr": -lr / (1 + (step - 1) * self.lr_decay)}

        def update(self, tile: Tile, g: Tensor) -> None:
            import torch

            total, scratch = tile.state["sum"], tile.scratch
            total.addcmul_(g, g)
            sqrt_into(total, out=scratch)
            scratch.add_(tile.numbers["eps"])
            torch.div(g, scratch, out=scratch)
            tile.weight.addcmul_(scratch, tile.numbers["minus_lr"])


class RMSprop(GivenRate):
    """Steps divided by the root of a moving average of squares."""

    formula: ClassVar[str] = "v ← α v + (1−α) g²;  w ← w − η g / (√v + ε)"
    reference: ClassVar[str] = "Tieleman & Hinton 2012; centered: Graves 2013"
    name: Literal["rmsprop"]
    alpha: Rate = 0.99
    """Decay rate of the moving average of squares."""
    eps: NonNegative = 1e-8
    """Added to the root that divides the step."""
    momentum: Fraction = 0.0
    """How much of the previous step is kept."""
    centered: bool = False
    """Divide by an estimate of the standard deviation, not of the root mean square."""

    @classmethod
    def slots(cls, members: Sequence[Self]) -> tuple[str, ...]:
        mean = ("grad_avg",) if members[0].centered else ()
        buffer = ("momentum_buffer",) if any(member.momentum > 0 for member in members) else ()
        return ("square_avg", *mean, *buffer)

    def symbols(self) -> list[str]:
        alpha, gain = f"{self.alpha:g}", f"{1 - self.alpha:g}"
        root = "√(v − a²)" if self.centered else "√v"
        step = f"g / ({root} + {self.eps:g})"
        return [
            f"v ← {alpha} v + {gain} g²",
            *([f"a ← {alpha} a + {gain} g"] if self.centered else []),
            *([f"b ← {self.momentum:g} b + {step}"] if self.momentum else []),
            f"w ← w − η_t {'b' if self.momentum else step}",
        ]

    class Rule(UpdateRule["RMSprop"]):
        """As in torch, ε is outside the root; centered: Graves 2013, eq. 38–45."""

        squares = ("square_avg",)

        def columns(self) -> dict[str, Tensor]:
            return {
                "gain": 1 - self.column("alpha"),
                "eps": self.column("eps"),
                "momentum": self.column("momentum"),
            }

        def update(self, tile: Tile, g: Tensor) -> None:
            import torch

            square, numbers, scratch = tile.state["square_avg"], tile.numbers, tile.scratch
            torch.mul(g, g, out=scratch)
            square.lerp_(scratch, numbers["gain"])
            if "grad_avg" in tile.state:
                mean = tile.state["grad_avg"].lerp_(g, numbers["gain"])
                # The variance of a gradient that no longer changes may round to just below 0.
                torch.addcmul(square, mean, mean, value=-1, out=scratch)
                sqrt_into(scratch, out=scratch)
            else:
                sqrt_into(square, out=scratch)
            scratch.add_(numbers["eps"])
            torch.div(g, scratch, out=scratch)
            if "momentum_buffer" in tile.state:
                buffer = tile.state["momentum_buffer"]
                scratch = buffer.mul_(numbers["momentum"]).add_(scratch)
            tile.weight.addcmul_(scratch, numbers["minus_lr"])
