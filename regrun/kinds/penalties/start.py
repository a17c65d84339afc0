"""Penalties on how far the weights have moved from the initial ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from regrun.kinds.penalties.base import WeightPenalty

if TYPE_CHECKING:
    from torch import Tensor


class L2SP(WeightPenalty):
    """Sum of squared distances from the initial weights, which pulls back to where a run began."""

    formula: ClassVar[str] = "½ λ Σ (w − w₀)²,  w₀ the initial w"
    reference: ClassVar[str] = "Li, Grandvalet & Davoine 2018"
    from_start: ClassVar[bool] = True
    type: Literal["l2_sp"]
    method: Literal["gradient"] = "gradient"
    """gradient: its gradient is added to that of the loss."""

    def value(self, weight: Tensor) -> Tensor:
        """Return ½ Σ d². weight: d = w − w₀."""
        return 0.5 * weight.square().flatten(1).sum(1)

    def curvature(self) -> float:
        return self.strength

    def expressions(self) -> tuple[str, str]:
        value = f"{self.strength / 2:g} Σ(w − w₀)²,  w₀ the initial w"
        return value, f"{self.strength:g} (w − w₀)"
