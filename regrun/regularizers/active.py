"""The members of a stack that a penalty is on; the others enter no arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Active:
    """Each member's strength, and the members where it is not 0."""

    def __init__(self, strengths: Sequence[float], device: torch.device | str) -> None:
        self._size = len(strengths)
        rows = [row for row, strength in enumerate(strengths) if strength]
        self._rows = torch.tensor(rows, device=device, dtype=torch.int64)
        self._strengths = torch.tensor(
            [strengths[row] for row in rows], device=device, dtype=torch.float64
        )

    def __bool__(self) -> bool:
        """Whether there is any such member."""
        return len(self._rows) > 0

    def take(self, tensor: Tensor) -> Tensor:
        """(K, ...) → (active, ...)."""
        return tensor if len(self._rows) == self._size else tensor[self._rows]

    def weighted(self, measured: Tensor) -> Tensor:
        """(active,) → (K,): times the strength, and exactly 0 for all others."""
        amounts = measured * self._strengths.to(measured.dtype)
        if len(self._rows) == self._size:
            return amounts
        return amounts.new_zeros(self._size).index_copy(0, self._rows, amounts)
