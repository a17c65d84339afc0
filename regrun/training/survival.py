"""Which members of a stack have diverged, as known on the device."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


class Survival:
    """Counts the steps that each of K members takes before its loss is not finite.

    A NaN never reaches other members, so a diverged one stays in the stack until the next
    evaluation. Looking at the losses in each step would make the CPU wait for the device.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.alive: Bool[Tensor, " K"] = torch.ones(size, dtype=torch.bool, device=device)
        """Whether all losses have been finite so far."""
        self.finite_steps: Int64[Tensor, " K"] = torch.zeros(size, dtype=torch.int64, device=device)
        """Steps before the first loss that was not."""

    def record(self, losses: Float[Tensor, " K"]) -> None:
        """Take the losses of a step into account."""
        self.alive.logical_and_(torch.isfinite(losses))
        self.finite_steps.add_(self.alive)

    def shrink_to(self, rows: Int64[Tensor, " rows"]) -> None:
        """Keep these members only. rows: indices, int64."""
        self.alive, self.finite_steps = self.alive[rows], self.finite_steps[rows]

    def state_dict(self) -> dict[str, Tensor]:
        """The live tensors."""
        return {"alive": self.alive, "finite_steps": self.finite_steps}
