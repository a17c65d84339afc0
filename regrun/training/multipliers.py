"""The schedule's multiplier of every member at a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from regrun.config.schema import Config
from regrun.optim.schedules import always_one, stacked_multipliers


class Multipliers:
    """Looks up s_t, worked out an epoch at a time; when all are always 1, not at all.

    configs: one per member. Where SWA has a learning rate of its own, s_t is that rate over
    `optimizer.lr` once averaging has started.
    """

    def __init__(
        self, configs: Sequence[Config], steps_per_epoch: int, device: torch.device
    ) -> None:
        self._sections, self._device = [config.schedule for config in configs], device
        self._epochs, self._per_epoch = configs[0].training.epochs, steps_per_epoch
        self._held = [_held(config) for config in configs]
        self._trivial = all(map(always_one, self._sections)) and not any(self._held)
        self._alike = len(set(zip(self._sections, self._held, strict=True))) == 1
        self._epoch = -1
        self._table = np.empty((0, 0))

    def __call__(self, step: int) -> Tensor | float:
        """One number when all members share a schedule, else (K,) float64."""
        if self._trivial:
            return 1.0
        epoch, within = divmod(step, self._per_epoch)
        if epoch != self._epoch:
            steps = np.arange(epoch * self._per_epoch, (epoch + 1) * self._per_epoch)
            members = slice(0, 1) if self._alike else slice(None)
            sections = self._sections[members]
            self._table = stacked_multipliers(sections, steps, self._epochs, self._per_epoch)
            for column, held in enumerate(self._held[members]):
                if held is not None and epoch >= held[0]:
                    self._table[:, column] = held[1]
            self._epoch = epoch
        row = self._table[within]
        return float(row[0]) if self._alike else torch.from_numpy(row).to(self._device)


def _held(config: Config) -> tuple[int, float] | None:
    """From which epoch on, counted from 0, the multiplier stands still, and at what."""
    swa = config.training.swa
    if swa is None or swa.lr is None or config.optimizer.lr is None:
        return None
    return swa.first_epoch(config.training.epochs), swa.lr / config.optimizer.lr
