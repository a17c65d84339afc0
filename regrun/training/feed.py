"""Batches for a stack: which examples each member sees at each step."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Literal

import torch
from torch import Tensor

from regrun.data.batches import epoch_order
from regrun.data.dataset import Dataset


def steps_per_epoch(num_examples: int, batch_size: int | Literal["full"]) -> int:
    """The last batch of an epoch may be smaller."""
    return 1 if batch_size == "full" else ceil(num_examples / batch_size)


class Feed:
    """The training batches of K members, given step by step.

    Members with the same seed see the same order. When every seed has equally many members, the
    batch is gathered once per seed (S groups); otherwise once per member. A batch depends on
    (seed, step) alone, so a feed has no state to save.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int | Literal["full"], dtype: torch.dtype
    ) -> None:
        self._dataset, self._dtype = dataset, dtype
        self._count = len(dataset.train)
        whole = batch_size == "full" or batch_size >= self._count
        self._size = self._count if batch_size == "full" else min(batch_size, self._count)
        self.steps_per_epoch = steps_per_epoch(self._count, batch_size)
        self._whole = self._features(dataset.train.inputs.unsqueeze(0)) if whole else None
        self._groups: tuple[int, ...] = ()
        self._epoch = -1
        self._order = torch.empty(0)

    def set_members(self, seeds: Sequence[int]) -> None:
        """The members' seeds, row by row, equal ones side by side."""
        distinct = list(dict.fromkeys(seeds))
        share = len(seeds) // len(distinct)
        grouped = [seed for seed in distinct for _ in range(share)]
        self._groups = tuple(distinct if grouped == list(seeds) else seeds)
        self._epoch = -1

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs (S, B, *input_shape), as floats, and targets (S, B, …) of this step."""
        if self._whole is not None:
            return self._whole, self._dataset.train.targets.unsqueeze(0)
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            device = self._dataset.train.inputs.device
            self._order = epoch_order(self._groups, epoch, self._count).to(device)
            self._epoch = epoch
        chosen = self._order[:, index * self._size : (index + 1) * self._size]
        inputs, targets = self._dataset.train.inputs, self._dataset.train.targets
        flat = chosen.reshape(-1)
        return (
            self._features(inputs.index_select(0, flat).view(*chosen.shape, *inputs.shape[1:])),
            targets.index_select(0, flat).view(*chosen.shape, *targets.shape[1:]),
        )

    def _features(self, inputs: Tensor) -> Tensor:
        return self._dataset.features(inputs, self._dtype)
