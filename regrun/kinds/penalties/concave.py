"""Folded concave penalties, which shrink small weights like the lasso and leave large ones alone.

λ is a threshold as well as a factor, so p_λ is not λ p_1: p_λ(w) = λ² p_1(w/λ).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from regrun.errors import Problem
from regrun.kinds.base import PER_MEMBER, expand_members
from regrun.kinds.penalties.base import METHODS, Method, WeightPenalty

if TYPE_CHECKING:
    from torch import Tensor

    from regrun.config.schema import Config


class ConcavePenalty(WeightPenalty):
    """Σ p_λ(w), p_λ concave in |w|, of slope λ at 0 and constant from a multiple of λ on.

    The proximal problem ½(w − v)² + η p_λ(w) is convex for η < `convex_below`. For larger η, which
    a schedule may reach, the step is its global solution, which jumps from 0 or near it to v.
    """

    methods: ClassVar[tuple[str, ...]] = METHODS
    shape_key: ClassVar[str]
    """The key of the concavity."""

    @property
    @abstractmethod
    def convex_below(self) -> float:
        """The learning rate from which on the proximal problem is not convex."""

    @abstractmethod
    def entries(self, size: Tensor, strength: Tensor) -> Tensor:
        """Return p_λ / λ.

        size: (K, *shape), |w|. strength: λ, which broadcasts against it.
        """

    def value(self, weight: Tensor) -> Tensor:
        return self.value_at(weight, weight.new_ones(len(weight)))

    def value_at(self, weight: Tensor, strength: Tensor) -> Tensor:
        return self.entries(weight.abs(), expand_members(strength, weight)).flatten(1).sum(1)

    @abstractmethod
    def shrunk(self, v: Tensor, rate: Tensor, strength: Tensor) -> Tensor:
        """Return argmin_w ½‖w − v‖² + η Σ p_λ(w), with the arguments of `prox_at_`."""

    def prox_(self, weight: Tensor, amount: Tensor) -> None:
        self.prox_at_(weight, amount, amount.new_ones(amount.shape))

    def prox_at_(self, weight: Tensor, rate: Tensor, strength: Tensor) -> None:
        weight.copy_(self.shrunk(weight, rate, strength))

    def conflicts(self, config: Config) -> Iterator[Problem]:
        yield from super().conflicts(config)
        rate = config.optimizer.lr
        if self.proximal and rate is not None and rate >= self.convex_below:
            value: float = getattr(self, self.shape_key)
            yield Problem(
                (self.shape_key,),
                f"{value:g}: the proximal problem is convex for learning rates below "
                f"{self.convex_below:g} only, and optimizer.lr is {rate:g}; lower the rate, or use "
                f"{self.shape_key} above {value + rate - self.convex_below:g}",
            )

    def proximal_conflicts(self, earlier: WeightPenalty, name: str) -> Iterator[Problem]:
        """Yield any second penalty: not even two of one kind add up to one of it."""
        yield Problem(
            ("method",),
            f"proximal: {self.kind} and {earlier.kind}, both on {name}, have no known joint "
            "proximal step; use method: gradient for one",
        )


class MCP(ConcavePenalty):
    """Minimax concave penalty, whose slope falls from λ to 0 in proportion to |w|."""

    formula: ClassVar[str] = "Σ (λ|w| − w²/(2γ) for |w| ≤ γλ,  ½ γ λ² above)"
    reference: ClassVar[str] = "Zhang 2010; proximal: Breheny & Huang 2011"
    shape_key: ClassVar[str] = "gamma"
    type: Literal["mcp"]
    gamma: Annotated[float, Field(gt=1), PER_MEMBER] = 3.0
    """γ: weights above γλ are not shrunk at all. ∞ would be `l1`."""
    method: Method = "gradient"
    """gradient: sign(w) max(0, λ − |w|/γ), 0 at 0. proximal: firm thresholding after the step,
    which needs lr < `gamma`; with sgd and fista."""

    @property
    def convex_below(self) -> float:
        return self.gamma

    def entries(self, size: Tensor, strength: Tensor) -> Tensor:
        rising = size.clamp(max=self.gamma * strength)
        return rising - rising.square() / (2 * self.gamma * strength)

    def shrunk(self, v: Tensor, rate: Tensor, strength: Tensor) -> Tensor:
        """Firm thresholding; for η ≥ γ hard thresholding at λ √(ηγ)."""
        flat = strength * (self.gamma * rate.clamp(min=self.gamma)).sqrt()
        growth = (1 / (1 - rate / self.gamma)).where(rate < self.gamma, 0.0)
        firm = soft(v, rate * strength) * growth.to(v.dtype)
        return v.where(v.abs() > flat.to(v.dtype), firm)

    def expressions(self) -> tuple[str, str]:
        lam, gamma = self.strength, self.gamma
        value = f"Σ ({lam:g}|w| − w²/{2 * gamma:g} for |w| ≤ {gamma * lam:g}"
        gradient = f"sign(w) max(0, {lam:g} − |w|/{gamma:g})"
        return f"{value}, {gamma * lam * lam / 2:g} above)", gradient

    def proximal_symbols(self, name: str) -> list[tuple[int, str]]:
        lam, gamma = self.strength, self.gamma
        soft = f"sign(w) · max(0, |w| − η_t {lam:g}) / (1 − η_t/{gamma:g})"
        line = f"w ← {soft} for |w| ≤ {gamma * lam:g}   (proximal step of {name})"
        return [(1, line)] if lam else []


class SCAD(ConcavePenalty):
    """Smoothly clipped absolute deviation, whose slope is λ up to λ and falls to 0 until aλ."""

    formula: ClassVar[str] = (
        "Σ (λ|w| for |w| ≤ λ,  (2aλ|w| − w² − λ²) / (2(a−1)) for |w| ≤ aλ,  ½ (a+1) λ² above)"
    )
    reference: ClassVar[str] = "Fan & Li 2001"
    shape_key: ClassVar[str] = "a"
    type: Literal["scad"]
    a: Annotated[float, Field(gt=2), PER_MEMBER] = 3.7
    """Weights above aλ are not shrunk at all."""
    method: Method = "gradient"
    """gradient: sign(w) λ up to λ, then sign(w) (aλ − |w|)/(a−1), at least 0; 0 at 0. proximal: its
    exact step, which needs lr < `a` − 1; with sgd and fista."""

    @property
    def convex_below(self) -> float:
        return self.a - 1

    def entries(self, size: Tensor, strength: Tensor) -> Tensor:
        rising = size.clamp(max=self.a * strength)
        beyond = (rising - strength).clamp(min=0)
        return rising - beyond.square() / (2 * (self.a - 1) * strength)

    def shrunk(self, v: Tensor, rate: Tensor, strength: Tensor) -> Tensor:
        """Soft thresholding, then a steeper line, then v; for η ≥ a − 1 a jump, not the line."""
        a, convex = self.a, rate < self.convex_below
        jump = ((a + 1 + rate) / 2).where(rate < a + 1, (rate * (a + 1)).sqrt())
        flat = strength * jump.where(~convex, a)
        line = soft(v, rate * strength * a / (a - 1))
        line = line * ((a - 1) / (a - 1 - rate)).where(convex, 1.0).to(v.dtype)
        on_line = convex & (v.abs() > ((1 + rate) * strength).to(v.dtype))
        near = line.where(on_line, soft(v, rate * strength))
        return v.where(v.abs() > flat.to(v.dtype), near)

    def expressions(self) -> tuple[str, str]:
        lam, a = self.strength, self.a
        value = (
            f"Σ ({lam:g}|w| for |w| ≤ {lam:g}, "
            f"({2 * a * lam:g}|w| − w² − {lam * lam:g})/{2 * (a - 1):g} for |w| ≤ {a * lam:g}, "
            f"{(a + 1) * lam * lam / 2:g} above)"
        )
        return value, f"sign(w) min({lam:g}, max(0, {a * lam:g} − |w|)/{a - 1:g})"

    def proximal_symbols(self, name: str) -> list[tuple[int, str]]:
        lam, a = self.strength, self.a
        soft = f"sign(w) · max(0, |w| − η_t {lam:g}) for |w| ≤ (1 + η_t) {lam:g}"
        line = f"({a - 1:g} w − sign(w) η_t {a * lam:g}) / ({a - 1:g} − η_t)"
        step = f"w ← {soft}, else {line} for |w| ≤ {a * lam:g}   (proximal step of {name})"
        return [(1, step)] if lam else []


def soft(v: Tensor, bound: Tensor) -> Tensor:
    """sign(v) max(0, |v| − bound). bound: (K, 1, …, 1), ≥ 0."""
    bound = bound.to(v.dtype)
    return v - v.clamp(-bound, bound)
