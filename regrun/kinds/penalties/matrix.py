"""Penalties on weight matrices and filters, whose rows are neurons."""

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
    """Norms of groups of weights, which drive whole neurons or filters to zero."""

    formula: ClassVar[str] = "λ Σ_g √|g| ‖w_g‖₂"
    reference: ClassVar[str] = "Yuan & Lin 2006; Scardapane et al. 2017"
    methods: ClassVar[tuple[str, ...]] = METHODS
    needs: ClassVar[str] = "weights of dense layers and convolutions; filter: convolutions only"
    min_axes: ClassVar[int] = 2
    composes: ClassVar[bool] = True  # the sparse group lasso, Simon et al. 2013
    type: Literal["group_lasso"]
    groups: Literal["in", "out", "filter"] = "in"
    """in: a group is the weights into a neuron, in a convolution a filter. out: the weights out of
    a neuron or channel of the layer before. filter: a filter, for convolutions only."""
    method: Method = "gradient"
    """gradient: λ √|g| w_g / ‖w_g‖, 0 at 0. proximal: w_g · max(0, 1 − η λ √|g| / ‖w_g‖) after the
    step; with sgd and fista."""

    def _norms(self, weight: Tensor) -> tuple[Tensor, float]:
        """‖w_g‖₂, with axes of length 1 for those within a group, and √|g|."""
        import torch

        dim = weight.dim()
        axes = (1, *range(3, dim)) if self.groups == "out" else tuple(range(2, dim))
        norms: Tensor = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
        return norms, math.sqrt(math.prod(weight.shape[axis] for axis in axes))

    def value(self, weight: Tensor) -> Tensor:
        """Return Σ_g √|g| ‖w_g‖₂, with gradient 0 where a group is 0: (K, out, in, …) → (K,)."""
        norms, root = self._norms(weight)
        return norms.flatten(1).sum(1) * root

    def prox_(self, weight: Tensor, amount: Tensor) -> None:
        """Lower each group's norm by amount · √|g|, at most to 0 (Parikh & Boyd 2014, §6.5.1)."""
        import torch

        norm, root = self._norms(weight)
        bound = (amount * root).to(weight.dtype)
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


class Orthogonal(WeightPenalty):
    """Squared cosines between the weight vectors of every two neurons or filters of a layer."""

    formula: ClassVar[str] = "λ Σ_{i≠j} (ŵ_i · ŵ_j)² = λ ‖Ŵ Ŵᵀ − I‖²_F,  ŵ_i = w_i / ‖w_i‖₂"
    reference: ClassVar[str] = (
        "Brock et al. 2019, §3.1; rows normalised as in Keras, which takes mean |cos|"
    )
    needs: ClassVar[str] = "weights of dense layers and convolutions"
    min_axes: ClassVar[int] = 2
    type: Literal["orthogonal"]
    method: Literal["gradient"] = "gradient"

    def value(self, weight: Tensor) -> Tensor:
        """Return Σ_{i≠j} cos²(w_i, w_j); a neuron of zeros is orthogonal to all.

        weight: (K, out, in, …) → (K,).
        """
        import torch

        rows = weight.flatten(2)
        norms = torch.linalg.vector_norm(rows, dim=2, keepdim=True)
        directions = rows / torch.where(norms > 0, norms, 1.0)
        cosines: Tensor = directions @ directions.mT
        return 2 * cosines.square().tril(-1).sum((1, 2))

    def expressions(self) -> tuple[str, str]:
        return f"{self.strength:g} Σ_{{i≠j}} cos²(w_i, w_j)", "by autograd"


class Spectral(WeightPenalty):
    """Squared spectral norm of each weight matrix; filters are its rows."""

    formula: ClassVar[str] = "½ λ Σ_W σ_max(W)²"
    reference: ClassVar[str] = "Yoshida & Miyato 2017"
    needs: ClassVar[str] = "weights of dense layers and convolutions"
    min_axes: ClassVar[int] = 2
    type: Literal["spectral"]
    method: Literal["gradient"] = "gradient"

    def value(self, weight: Tensor) -> Tensor:
        """Return ½ σ_max(W)², W with a row per neuron: (K, out, in, …) → (K,).

        With v the first singular vector it is ½ ‖W v‖², and its gradient σ u vᵀ is that of v held
        fixed (Yoshida & Miyato 2017, eq. 5). v comes from the eigenvectors of the smaller of W Wᵀ
        and Wᵀ W: exact, without a state between steps, and far cheaper than an SVD.
        """
        import torch

        matrix = weight.flatten(2)
        tall = matrix if matrix.shape[1] >= matrix.shape[2] else matrix.mT
        with torch.no_grad():
            gram = tall.mT @ tall
            finite = gram.isfinite().all(2, keepdim=True).all(1, keepdim=True)
            # A diverged member would stop the solver for all; its value is not finite anyway.
            first = torch.linalg.eigh(gram.where(finite, 0.0)).eigenvectors[:, :, -1:]
        along: Tensor = tall @ first
        return 0.5 * along.square().sum((1, 2))

    def expressions(self) -> tuple[str, str]:
        return f"{self.strength:g} ½ Σ_W σ_max(W)²", f"{self.strength:g} σ_max u vᵀ"
