"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from regrun.kinds.base import Fraction, Rate
from regrun.kinds.optimizers.base import GivenRate, Tile, UpdateRule

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from regrun.kinds.penalties import Penalty


class SGD(GivenRate):
    """Stochastic gradient descent, with momentum or Nesterov's."""

    formula: ClassVar[str] = "b ← μ b + (1−τ) g;  w ← w − η b  (nesterov: w ← w − η (g + μ b))"
    reference: ClassVar[str] = "Robbins & Monro 1951; Sutskever et al. 2013, as torch has it"
    proximal: ClassVar[bool] = True
    name: Literal["sgd"] = "sgd"
    momentum: Fraction = 0.0
    """How much of the previous step's direction is kept."""
    dampening: Rate = 0.0
    """How much less than 1 a new gradient counts in the momentum."""
    nesterov: bool = False
    """Nesterov's momentum; needs momentum above 0 and no dampening, as in torch."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                f"nesterov: true with momentum {self.momentum:g} and dampening "
                f"{self.dampening:g}; it needs momentum above 0 and dampening 0"
            )
        return self

    @classmethod
    def slots(cls, members: Sequence[Self]) -> tuple[str, ...]:
        return ("momentum_buffer",) if any(member.momentum > 0 for member in members) else ()

    def method_conflicts(self, penalty: Penalty) -> Iterator[str]:
        """Only plain momentum can take in proximal steps (see `UpdateRule.proximal_slot`)."""
        if penalty.method == "proximal" and self.momentum > 0:
            for key in ("nesterov", "dampening"):
                if getattr(self, key):
                    yield (
                        f"proximal with {key} would not end at the minimum; "
                        "use momentum alone, or optimizer fista"
                    )

    def symbols(self) -> list[str]:
        if self.momentum == 0:
            return ["w ← w − η_t g"]
        gain = f"{1 - self.dampening:g} g   (b ← g at t = 1)" if self.dampening else "g"
        step = f"(g + {self.momentum:g} b)" if self.nesterov else "b"
        return [f"b ← {self.momentum:g} b + {gain}", f"w ← w − η_t {step}"]

    def proximal_symbols(self) -> list[str]:
        return ["b ← b + (v − w) / η_t,  v: w before the proximal step"] if self.momentum else []

    class Rule(UpdateRule["SGD"]):
        """Momentum and Nesterov's as torch has them."""

        proximal_slot: ClassVar[str] = "momentum_buffer"

        def __init__(self, sections: Sequence[SGD], device: torch.device) -> None:
            super().__init__(sections, device)
            self.nesterov = sections[0].nesterov
            self.follows_step = any(s.dampening for s in sections if s.momentum > 0)

        def columns(self) -> dict[str, Tensor]:
            if not self.slots:
                return {}
            momentum = self.column("momentum")
            # Without momentum there is no dampening: the buffer is then g itself.
            dampening = self.column("dampening").where(momentum > 0, 0.0)
            return {"momentum": momentum, "gain": 1 - dampening}

        def at_step(self, lr: Tensor, step: Tensor) -> dict[str, Tensor]:
            """−η_t; with dampening also the gain, as the buffer starts as g, undampened."""
            if not self.follows_step:
                return {"minus_lr": -lr}
            return {"minus_lr": -lr, "gain": self.numbers["gain"].where(step > 1, 1.0)}

        def update(self, tile: Tile, g: Tensor) -> None:
            if self.slots:
                momentum, buffer = tile.numbers["momentum"], tile.state["momentum_buffer"]
                buffer.mul_(momentum).addcmul_(g, tile.numbers["gain"])
                if self.nesterov:
                    import torch

                    g = torch.addcmul(g, buffer, momentum, out=tile.grad_buffer)
                else:
                    g = buffer
            tile.weight.addcmul_(g, tile.numbers["minus_lr"])
