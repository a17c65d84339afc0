"""How much two ways to take the same step differ in what they change."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

AGREEMENT = 0.05
"""The largest part of a step by which two ways to take it may differ.

Kernels that add in any order change the last bits, which Adam's division can turn into a hundredth
of an entry's step. A number that was frozen into one of them changes all of it.
"""


def agreement(dtype: torch.dtype, device: torch.device, *, autocast: bool) -> float:
    """The same for a compiled step, where nudged numbers show what rounding alone does.

    A CPU adds in a fixed order, so half of the digits have to agree: a weight that was updated
    before its last use puts gradients a hundredth off. Other devices choose their kernels as they
    run, and fused products in bfloat16 keep more digits.
    """
    if device.type != "cpu" or autocast:
        return AGREEMENT
    return math.sqrt(torch.finfo(dtype).eps)


def copy(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    """Overwrite the targets."""
    with torch.inference_mode():
        for source, target in zip(sources, targets, strict=True):
            target.copy_(source)


def largest_difference(
    found: Sequence[Tensor],
    expected: Sequence[Tensor],
    before: Sequence[Tensor],
    nudged: Sequence[Tensor] | None = None,
) -> float:
    """The largest ‖found − expected‖ / ‖expected − before‖ of any tensor.

    NaN and infinities count where only one of the two has them. nudged: what the step leads to from
    tensors that differ in their last bits; several times that difference is left out of account.
    """
    worst = 0.0
    for ours, theirs, old, other in zip(found, expected, before, nudged or expected, strict=True):
        a, b, start, near = (each.double() for each in (ours, theirs, old, other))
        finite = b.isfinite() & start.isfinite()
        if not torch.equal(a.isfinite() & start.isfinite(), finite):
            return float("inf")
        zero = torch.zeros_like(b)
        off = torch.linalg.vector_norm(torch.where(finite, a - b, zero))
        off -= 4 * torch.linalg.vector_norm(torch.where(finite & near.isfinite(), near - b, zero))
        step = torch.linalg.vector_norm(torch.where(finite, b - start, zero))
        if off > 0:
            worst = max(worst, (off / step.clamp(min=1e-300)).item())
    return worst


def nudge(tensors: Sequence[Tensor]) -> None:
    """Change the last bits of all numbers, every other one up and the others down."""
    with torch.inference_mode():
        for tensor in tensors:
            if tensor.is_floating_point():
                sign = torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape) % 2
                tensor.mul_(1 + (2 * sign - 1) * (4 * torch.finfo(tensor.dtype).eps))
