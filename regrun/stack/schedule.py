"""The schedule of a stack: the learning-rate multiplier of every member at a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrun.config.schema import Config
from regrun.kinds.base import faults_of


class StackedSchedule:
    """Computes s_t an epoch at a time, as runs may be too long to hold every step.

    configs: one per member. If SWA has a learning rate of its own, s_t is that rate over
    `optimizer.lr` once averaging has started.
    """

    def __init__(
        self, configs: Sequence[Config], steps_per_epoch: int, device: torch.device
    ) -> None:
        self._epochs, self._per_epoch = configs[0].training.epochs, steps_per_epoch
        self._device = device
        pairs = [(config.schedule, _held(config)) for config in configs]
        # Usually one: members that share schedule and hold share a column of the table.
        self._columns = list(dict.fromkeys(pairs))
        index = {pair: column for column, pair in enumerate(self._columns)}
        self._column_of = [index[pair] for pair in pairs]
        self._always_one = all(s.always_one and held is None for s, held in self._columns)
        self._epoch = -1
        self._table: NDArray[np.float64] = np.empty((0, 0))

    def __call__(self, step: int) -> Tensor | float:
        """Return s_t: one number if all members share a schedule, else (K,), float64."""
        if self._always_one:
            return 1.0
        epoch, within = divmod(step, self._per_epoch)
        if epoch != self._epoch:
            self._table, self._epoch = self._of_epoch(epoch), epoch
        row = self._table[within]
        return float(row[0]) if len(row) == 1 else torch.from_numpy(row).to(self._device)

    def _of_epoch(self, epoch: int) -> NDArray[np.float64]:
        """Each step of an epoch: (steps, 1) if all members share a schedule, else (steps, K)."""
        steps = np.arange(epoch * self._per_epoch, (epoch + 1) * self._per_epoch)
        table = np.empty((len(steps), len(self._columns)))
        for column, (schedule, held) in enumerate(self._columns):
            if held is not None and epoch >= held[0]:
                table[:, column] = held[1]
                continue
            with faults_of(schedule, "factors", "schedule"):
                table[:, column] = schedule.multipliers(steps, self._epochs, self._per_epoch)
        return table if len(self._columns) == 1 else table[:, self._column_of]


def _held(config: Config) -> tuple[int, float] | None:
    """The epoch, counted from 0, from which on the multiplier is constant, and its value."""
    swa = config.training.swa
    if swa is None or swa.lr is None or config.optimizer.lr is None:
        return None
    return swa.first_epoch(config.training.epochs), swa.lr / config.optimizer.lr
