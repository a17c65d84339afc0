"""Group lasso: whole neurons, channels or filters go to zero."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from regrun.errors import Problem
from regrun.kinds.penalties.base import METHODS, Method, WeightPenalty

if TYPE_CHECKING:
    from torch import Tensor

    from regrun.config.schema import Config


class GroupLasso(WeightPenalty):
    """Norms of groups of weights: whole neurons or filters go to zero."""

    formula: ClassVar[str] = "λ Σ_g √|g| ‖w_g‖₂"
    reference: ClassVar[str] = "Yuan & Lin 2006; Scardapane et al. 2017"
    methods: ClassVar[tuple[str, ...]] = METHODS
    needs: ClassVar[str] = "weights of dense layers and convolutions; filter: convolutions only"
    min_axes: ClassVar[int] = 2
    composes: ClassVar[bool] = True  # the sparse group lasso, Simon et al. 2013
    type: Literal["group_lasso"]
    groups: Literal["in", "out", "filter"] = "in"
    """in: the weights into a neuron, of a convolution its filter. out: the weights out of a neuron
    or channel of the layer before. filter: a filter, and only convolutions are chosen."""
    method: Method = "gradient"
    """gradient: λ √|g| w_g / ‖w_g‖, 0 at 0. proximal: w_g · max(0, 1 − η λ √|g| / ‖w_g‖) after the
    step; under sgd and fista."""

    def axes(self, dim: int) -> tuple[int, ...]:
        """The axes of a stacked parameter of `dim` axes that run within a group."""
        return (1, *range(3, dim)) if self.groups == "out" else tuple(range(2, dim))

    def group_size(self, weight: Tensor) -> int:
        """|g|: entries of one group of a stacked parameter."""
        return math.prod(weight.shape[axis] for axis in self.axes(weight.dim()))

    def value(self, weight: Tensor) -> Tensor:
        """Return Σ_g √|g| ‖w_g‖₂, with gradient 0 where a group is 0: (K, out, in, …) → (K,)."""
        import torch

        norms: Tensor = torch.linalg.vector_norm(weight, dim=self.axes(weight.dim()))
        return norms.flatten(1).sum(1) * math.sqrt(self.group_size(weight))

    def prox_(self, weight: Tensor, amount: Tensor) -> None:
        """Lower each group's norm by amount · √|g|, at most to 0.

        weight: (K, out, in, …), in place; amount: (K, 1, …, 1), float64. Parikh & Boyd 2014,
        §6.5.1.
        """
        import torch

        axes = self.axes(weight.dim())
        norm: Tensor = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
        bound = (amount * self.group_size(weight) ** 0.5).to(weight.dtype)
        factor = torch.where(norm > bound, 1 - bound / norm, 0.0)
        weight.mul_(torch.where(bound > 0, factor, 1.0))

    def expressions(self) -> tuple[str, str]:
        strength = f"{self.strength:g}"
        return f"{strength} Σ_g √|g| ‖w_g‖₂", f"{strength} √|g| w_g / ‖w_g‖₂"

    def proximal_symbols(self, name: str) -> list[tuple[int, str]]:
        factor = f"max(0, 1 − η_t {self.strength:g} √|g| / ‖w_g‖₂)"
        line = f"w_g ← w_g · {factor}   (proximal step of {name})"
        return [(1, line)] if self.strength else []

    def place(self) -> str:
        group = {
            "in": "the weights into a neuron, or a filter",
            "out": "the weights out of a neuron or channel",
            "filter": "a filter",
        }[self.groups]
        return f"{super().place()}, g: {group}"

    def summary(self) -> dict[str, str | float]:
        return {**super().summary(), "groups": self.groups}

    def conflicts(self, config: Config) -> Iterator[Problem]:
        yield from super().conflicts(config)
        if self.groups == "out" and config.model.grouped_convolutions:
            yield Problem(
                ("groups",),
                "out: where convolutions are grouped, weights do not show what they come from; "
                f"with {config.model.kind} use in",
            )

    def shape_conflicts(self, name: str, shape: Sequence[int]) -> Iterator[Problem]:
        yield from super().shape_conflicts(name, shape)
        if self.groups == "filter" and len(shape) < 3:
            yield Problem(
                ("groups",),
                f"filter: {name} is a matrix of {'×'.join(map(str, shape))}, not of filters; "
                "use in, or an apply_to of convolutions only",
            )

    def proximal_conflicts(self, earlier: WeightPenalty, name: str) -> Iterator[Problem]:
        """Yield groups that overlap: only equal or disjoint ones have a prox of their sum."""
        yield from super().proximal_conflicts(earlier, name)
        if isinstance(earlier, GroupLasso) and (earlier.groups == "out") != (self.groups == "out"):
            yield Problem(
                ("groups",),
                f"{self.groups}: another proximal {self.kind} has groups {earlier.groups} on "
                f"{name}, and groups that overlap have no joint proximal step; "
                "use one kind, or method: gradient for one",
            )
