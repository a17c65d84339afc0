"""In which order the members of a stack see their training examples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from regrun.seeding import derive


def epoch_order(seeds: Sequence[int], epoch: int, num_examples: int) -> Tensor:
    """The order of one epoch, a row per seed.

    Returns (S, N) int64 on the CPU; row s is a permutation of 0 … N-1 that depends on
    ``(seeds[s], epoch, num_examples)`` alone: not on the other seeds, nor on earlier epochs.
    """
    order = torch.empty(len(seeds), num_examples, dtype=torch.int64)
    generator = torch.Generator()
    for seed, row in zip(seeds, order.unbind(0), strict=True):
        generator.manual_seed(derive(seed, "order", epoch))
        torch.randperm(num_examples, generator=generator, out=row)
    return order
