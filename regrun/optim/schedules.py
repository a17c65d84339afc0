"""Learning-rate schedules: a multiplier for every step, known before the first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regrun.kinds.schedules import Constant, Cosine, Schedule, StepDecay

Array = NDArray[np.float64]
Steps = NDArray[np.int64]


def multipliers(schedule: Schedule, epochs: int, steps_per_epoch: int) -> Array:
    """The multiplier of every step: (epochs · steps_per_epoch,), float64."""
    total = epochs * steps_per_epoch
    return multipliers_at(schedule, np.arange(total, dtype=np.int64), epochs, steps_per_epoch)


def multipliers_at(schedule: Schedule, steps: Steps, epochs: int, steps_per_epoch: int) -> Array:
    """The multiplier of the given steps (counted from 0), for runs too long to hold them all.

    Warm-up takes W = round(warmup_epochs · steps_per_epoch) steps, t = 0 … W−1, with
    `warmup_start` + (1 − `warmup_start`) t / W (torch's LinearLR); the schedule proper then
    starts at its own step 0 and, for cosine, ends with the last step of the run
    (torch's CosineAnnealingLR with T_max = the steps that are left).
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    since = np.maximum(steps - warmup, 0)
    match schedule:
        case Constant():
            proper = np.ones(len(steps))
        case StepDecay():
            drops = since // (schedule.step_size * steps_per_epoch)
            with np.errstate(over="ignore"):
                proper = np.power(schedule.gamma, drops.astype(np.float64))
        case Cosine():
            duration = max(epochs * steps_per_epoch - warmup, 1)
            wave = (1 + np.cos(np.pi * since / duration)) / 2
            proper = schedule.min_factor + (1 - schedule.min_factor) * wave
        case _:
            raise TypeError(f"no schedule {type(schedule).__name__}")
    if warmup == 0:
        return proper
    rise = schedule.warmup_start + (1 - schedule.warmup_start) * steps / warmup
    return np.where(steps < warmup, rise, proper)


def stacked_multipliers(
    schedules: Sequence[Schedule], steps: Steps, epochs: int, steps_per_epoch: int
) -> Array:
    """A column per member: (len(steps), K)."""
    columns = {
        schedule: multipliers_at(schedule, steps, epochs, steps_per_epoch)
        for schedule in dict.fromkeys(schedules)
    }
    return np.stack([columns[schedule] for schedule in schedules], axis=1)


def always_one(schedule: Schedule) -> bool:
    """Whether the multiplier never differs from 1, so that it need not be computed."""
    return isinstance(schedule, Constant) and schedule.warmup_epochs == 0
