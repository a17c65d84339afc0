"""How long a step of a stack takes on a device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.training.engine import Engine
from regrun.training.waiting import wait_for

WARM_UP = 8
"""Steps that are not timed: on a GPU the third of a kind is recorded, and the fourth is compared
with the step as it is."""

ROUNDS, STEPS = 3, 8
"""Rounds that are timed, and steps of each. The fastest counts: in the first, a smaller last batch
of an epoch may still be recorded."""


def seconds_per_step(
    configs: Sequence[Config],
    dataset: Dataset,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Build a stack, take a few steps, and return how long one takes.

    The steps are not compiled, which would take longer than it could show. Nothing is evaluated.

    Args:
        configs: One per member, as for `Engine`.
        dataset: On the device, in the dtype of the configs' precision.
        device: Where the steps are taken.
        clock: Seconds.
    """
    engine = Engine([_not_compiled(config) for config in configs], dataset, device)
    engine.take_steps(WARM_UP)
    wait_for(device)
    rounds = []
    for _ in range(ROUNDS):
        started = clock()
        engine.take_steps(STEPS)
        wait_for(device)
        rounds.append((clock() - started) / STEPS)
    return min(rounds)


def _not_compiled(config: Config) -> Config:
    training = config.training.model_copy(update={"compile": "never"})
    return config.model_copy(update={"training": training})
