"""Some members of a stack."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


class MemberMask:
    """The members of a stack whose strength is not 0; the others enter no arithmetic."""

    def __init__(self, strengths: Sequence[float], device: torch.device | str) -> None:
        self._size = len(strengths)
        rows = [row for row, strength in enumerate(strengths) if strength]
        self._rows = torch.tensor(rows, device=device, dtype=torch.int64)
        self.strengths = torch.tensor(
            [strengths[row] for row in rows], device=device, dtype=torch.float64
        )
        """(active,), float64."""

    def __bool__(self) -> bool:
        return len(self._rows) > 0

    def take(self, tensor: Float[Tensor, " K *shape"]) -> Float[Tensor, " active *shape"]:
        """The rows of these members; the tensor itself if they are all."""
        return tensor if len(self._rows) == self._size else tensor[self._rows]

    def put_(
        self, tensor: Float[Tensor, " K *shape"], taken: Float[Tensor, " active *shape"]
    ) -> None:
        """Write back what `take` returned, after a change in place."""
        if len(self._rows) < self._size:
            tensor.index_copy_(0, self._rows, taken)

    def weighted(self, measured: Float[Tensor, " active"]) -> Float[Tensor, " K"]:
        """Multiply by the strengths; exactly 0 for all other members."""
        amounts = measured * self.strengths.to(measured.dtype)
        if len(self._rows) == self._size:
            return amounts
        return amounts.new_zeros(self._size).index_copy(0, self._rows, amounts)
