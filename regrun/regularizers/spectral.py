"""The spectral penalty ½ σ_max(W)², W with a row per neuron: exact for the log, by power iteration
in training. Yoshida & Miyato 2017.

With v the first right singular vector it is ½ ‖W v‖², and its gradient σ u vᵀ that of v held fixed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from regrun.regularizers.active import Active

ITERATIONS = 2
"""Power iterations per step. v is exact at the first, and W moves little from one to the next."""


def spectral(weight: Tensor) -> Tensor:
    """½ σ_max(W)² of each member: (K,), differentiable. weight: (K, out, in, ...)."""
    matrix = weight.flatten(2)
    along: Tensor = matrix @ first_vectors(matrix)
    return 0.5 * along.square().sum((1, 2))


@torch.no_grad()
def first_vectors(matrix: Tensor) -> Tensor:
    """The v of each matrix: (K, rows, columns) → (K, columns, 1).

    From the eigenvectors of the smaller of M Mᵀ and Mᵀ M, which is far cheaper than an SVD.
    """
    wide = matrix.shape[1] < matrix.shape[2]
    gram = matrix @ matrix.mT if wide else matrix.mT @ matrix
    finite = gram.isfinite().all(2, keepdim=True).all(1, keepdim=True)
    # A diverged member would stop the solver for all; its value is not finite anyway.
    first: Tensor = torch.linalg.eigh(gram.where(finite, 0.0)).eigenvectors[:, :, -1:]
    return _unit(matrix.mT @ first) if wide else first


class SpectralTerm:
    """All spectral penalties on one parameter; follows its first singular vectors."""

    def __init__(
        self, parameter: str, strengths: Sequence[float], device: torch.device | str
    ) -> None:
        self.parameter = parameter
        self.vectors: Tensor | None = None
        """v of each member, as the last step left it: (K, columns, 1), 0 without a penalty."""
        self._active = Active(strengths, device)

    def objective(self, weight: Tensor) -> Tensor:
        """(K,), differentiable. weight: (K, out, in, ...). Moves the vectors on."""
        matrix = self._active.take(weight).flatten(2)
        with torch.no_grad():
            if self.vectors is None:
                first = first_vectors(matrix)
            else:
                first = self._active.take(self.vectors)
                for _ in range(ITERATIONS):
                    first = _unit(matrix.mT @ (matrix @ first))
            self.vectors = self._active.spread(first)
        along: Tensor = matrix @ first
        return self._active.weighted(0.5 * along.square().sum((1, 2)))


def _unit(vectors: Tensor) -> Tensor:
    """(K, n, 1), each of norm 1; 0 stays 0."""
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / torch.where(norms > 0, norms, 1.0)
