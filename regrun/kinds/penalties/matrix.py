"""Penalties on a weight matrix, whose rows are neurons: rows of a dense layer, filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from regrun.kinds.penalties.base import WeightPenalty

if TYPE_CHECKING:
    from torch import Tensor


class Orthogonal(WeightPenalty):
    """Squared cosines between the weight vectors of every two neurons or filters of a layer."""

    formula: ClassVar[str] = "λ Σ_{i≠j} (ŵ_i · ŵ_j)² = λ ‖Ŵ Ŵᵀ − I‖²_F,  ŵ_i = w_i / ‖w_i‖₂"
    reference: ClassVar[str] = (
        "Brock et al. 2017; rows normalised as in Keras, which takes mean |cos|"
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
