"""Gradient clipping: every member's gradient by limits of its own."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from regrun.config.training import Training


def member_norms(tensors: Sequence[Tensor]) -> Tensor:
    """‖·‖₂ of each member over all its tensors: (K, ...) each → (K,)."""
    each = [torch.linalg.vector_norm(tensor.flatten(1), dim=1) for tensor in tensors]
    norms: Tensor = torch.linalg.vector_norm(torch.stack(each), dim=0)
    return norms


def per_member(numbers: Tensor, like: Tensor) -> Tensor:
    """(K,) → (K, 1, …, 1) in the dtype of `like`, (K, ...)."""
    return numbers.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


class Clipping:
    """`clip_value`, then `clip_norm`, as torch.nn.utils has them (Pascanu et al. 2013).

    sections: one per member; a limit of None changes nothing.
    """

    def __init__(self, sections: Sequence[Training], device: torch.device) -> None:
        def limits(given: Sequence[float | None]) -> Tensor | None:
            if not any(given):
                return None
            each = [inf if limit is None else limit for limit in given]
            return torch.tensor(each, dtype=torch.float64, device=device)

        self._value = limits([section.clip_value for section in sections])
        self._norm = limits([section.clip_norm for section in sections])

    def __bool__(self) -> bool:
        """Whether any member has a limit."""
        return self._value is not None or self._norm is not None

    def __call__(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """The gradients, (K, ...) each, within the limits. Those given are left as they are."""
        if self._value is not None:
            limits = [per_member(self._value, g) for g in gradients]
            gradients = [g.clamp(-limit, limit) for g, limit in zip(gradients, limits, strict=True)]
        if self._norm is not None:
            # torch adds 1e-6, so a gradient a hair above the limit ends a hair below it.
            factor = (self._norm / (member_norms(gradients).double() + 1e-6)).clamp(max=1.0)
            factor = torch.where(self._norm < inf, factor, 1.0)
            gradients = [g * per_member(factor, g) for g in gradients]
        return gradients
