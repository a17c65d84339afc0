"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Strict

from regrun.kinds.base import PER_MEMBER, Fraction, NonNegative
from regrun.kinds.optimizers.base import Decay, GivenRate, Tile, UpdateRule, sqrt_into

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Betas = Annotated[tuple[Fraction, Fraction], Strict(False), PER_MEMBER]


class AdamFamily(GivenRate):
    """Keys and arithmetic of Adam and AdamW, which differ in weight decay alone."""

    name: str
    betas: Betas = (0.9, 0.999)
    """Decay rates of the moving averages of the gradient and of its square."""
    eps: NonNegative = 1e-8
    """Added to the root that divides the step."""
    amsgrad: bool = False
    """Divide by the root of the largest average of squares so far."""

    @classmethod
    def slots(cls, members: Sequence[Self]) -> tuple[str, ...]:
        """Two moments; with amsgrad also the largest second one."""
        largest = ("max_exp_avg_sq",) if members[0].amsgrad else ()
        return ("exp_avg", "exp_avg_sq", *largest)

    def symbols(self) -> list[str]:
        beta1, beta2 = self.betas
        largest = ["u ← max(u, v)"] if self.amsgrad else []
        second = "u" if self.amsgrad else "v"
        return [
            f"m ← {beta1:g} m + {1 - beta1:g} g",
            f"v ← {beta2:g} v + {1 - beta2:g} g²",
            *largest,
            f"w ← w − η_t · m / (1 − {beta1:g}ᵗ) / (√({second} / (1 − {beta2:g}ᵗ)) + {self.eps:g})",
        ]

    class Rule(UpdateRule["AdamFamily"]):
        """The bias corrections are folded into two numbers per member.

        w ← w − (η_t √c₂ / c₁) m / (√v + ε √c₂), c_i = 1 − β_iᵗ.
        """

        follows_step = True
        squares = ("exp_avg_sq", "max_exp_avg_sq")

        def __init__(self, sections: Sequence[AdamFamily], device: torch.device) -> None:
            import torch

            super().__init__(sections, device)
            self.amsgrad = sections[0].amsgrad
            self.eps = self.column("eps")
            self.beta1, self.beta2 = self.column("betas").unbind(1)
            # torch's fused kernel reads every tensor once. It takes plain numbers, so it serves one
            # member at a time, and on an accelerator each number would be waited for.
            self.per_member_tiles = device.type == "cpu" and hasattr(torch, "_fused_adam_")

        def columns(self) -> dict[str, Tensor]:
            gain1, gain2 = (1 - self.column("betas")).unbind(1)
            return {"gain1": gain1, "gain2": gain2}

        def at_step(self, lr: Tensor, step: Tensor) -> dict[str, Tensor]:
            """−η_t and ε with the bias corrections."""
            if self.per_member_tiles:
                self.rates, self.steps = lr.tolist(), step.float().unbind()
            correction = (1 - self.beta2**step).sqrt_()
            return {
                "minus_lr": lr * correction / (self.beta1**step - 1),
                "eps": self.eps * correction,
            }

        def update(self, tile: Tile, g: Tensor) -> None:
            import torch

            if tile.member is not None:
                self._update_member(tile.member, tile, g)
                return
            mean, square = tile.state["exp_avg"], tile.state["exp_avg_sq"]
            numbers, scratch = tile.numbers, tile.scratch
            mean.lerp_(g, numbers["gain1"])
            torch.mul(g, g, out=scratch)
            square.lerp_(scratch, numbers["gain2"])
            if self.amsgrad:
                largest = tile.state["max_exp_avg_sq"]
                square = torch.maximum(largest, square, out=largest)
            sqrt_into(square, out=scratch)
            scratch.add_(numbers["eps"])
            torch.div(mean, scratch, out=scratch)
            tile.weight.addcmul_(scratch, numbers["minus_lr"])

        def _update_member(self, member: int, tile: Tile, g: Tensor) -> None:
            import torch

            section = self.sections[member]
            torch._fused_adam_(
                [tile.weight],
                [g.contiguous()],
                [tile.state["exp_avg"]],
                [tile.state["exp_avg_sq"]],
                [tile.state["max_exp_avg_sq"]] if self.amsgrad else [],
                [self.steps[member]],
                lr=self.rates[member],
                beta1=section.betas[0],
                beta2=section.betas[1],
                weight_decay=0.0,  # the stack has applied it
                eps=section.eps,
                amsgrad=self.amsgrad,
                maximize=False,
            )


class Adam(AdamFamily):
    """Moments per entry; weight decay enters the gradient before them."""

    formula: ClassVar[str] = (
        "m ← β₁ m + (1−β₁) g;  v ← β₂ v + (1−β₂) g²;  "
        "w ← w − η · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)"
    )
    reference: ClassVar[str] = "Kingma & Ba 2015; amsgrad: Reddi et al. 2018"
    name: Literal["adam"]


class AdamW(AdamFamily):
    """Adam with decoupled weight decay."""

    formula: ClassVar[str] = "w ← w − η λ w;  then as adam"
    reference: ClassVar[str] = "Loshchilov & Hutter 2019"
    own_decay: ClassVar[Decay] = "decoupled"
    name: Literal["adamw"]
