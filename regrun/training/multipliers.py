"""The schedule's multiplier of every member at a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from regrun.config.optimizers import ScheduleSection
from regrun.optim.schedules import always_one, stacked_multipliers


class Multipliers:
    """Looks up s_t, worked out an epoch at a time; when all are always 1, not at all."""

    def __init__(
        self,
        sections: Sequence[ScheduleSection],
        epochs: int,
        steps_per_epoch: int,
        device: torch.device,
    ) -> None:
        self._sections, self._device = sections, device
        self._epochs, self._per_epoch = epochs, steps_per_epoch
        self._trivial = all(map(always_one, sections))
        self._alike = len(set(sections)) == 1
        self._epoch = -1
        self._table = np.empty((0, 0))

    def __call__(self, step: int) -> Tensor | float:
        """One number when all members share a schedule, else (K,) float64."""
        if self._trivial:
            return 1.0
        epoch, within = divmod(step, self._per_epoch)
        if epoch != self._epoch:
            steps = np.arange(epoch * self._per_epoch, (epoch + 1) * self._per_epoch)
            sections = self._sections[:1] if self._alike else self._sections
            self._table = stacked_multipliers(sections, steps, self._epochs, self._per_epoch)
            self._epoch = epoch
        row = self._table[within]
        return float(row[0]) if self._alike else torch.from_numpy(row).to(self._device)
