"""Adagrad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from regrun.kinds.base import NonNegative
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
    eps: NonNegative = 1e-10
    initial_accumulator_value: NonNegative = 0.0

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
