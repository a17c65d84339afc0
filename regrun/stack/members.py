"""From values per group or per member to tensors of all members."""

from __future__ import annotations

from torch import Tensor


def expand_groups(x: Tensor, size: int) -> Tensor:
    """(S, B, …) → (K, B, …): each member gets its group's examples; a view where possible."""
    groups = x.shape[0]
    if groups == 1:
        return x.expand(size, *x.shape[1:])
    return x if groups == size else x.repeat_interleave(size // groups, dim=0)


def expand_members(values: Tensor, like: Tensor) -> Tensor:
    """(K,) → (K, 1, …): one value per member, to broadcast against `like`, (K, …)."""
    return values.view(-1, *[1] * (like.dim() - 1))
