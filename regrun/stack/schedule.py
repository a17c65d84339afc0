"""The schedule of a stack: the learning-rate multiplier of every member at a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, isinf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrun.config.schema import Config
from regrun.errors import CorruptInputError
from regrun.kinds.base import wrong
from regrun.kinds.schedules import Memory, Schedule
from regrun.stack.state import check_tensors


class StackedSchedule:
    """Computes s_t an epoch at a time, as runs may be too long to hold every step.

    configs: one per member. If SWA has a learning rate of its own, s_t is that rate over
    `optimizer.lr` once averaging has started.
    """

    def __init__(
        self, configs: Sequence[Config], steps_per_epoch: int, device: torch.device
    ) -> None:
        self._per_epoch, self._device = steps_per_epoch, device
        self._memories = [Memory() for _ in configs]
        self._set_members(configs)

    def _set_members(self, configs: Sequence[Config]) -> None:
        self._epochs = configs[0].training.epochs
        self._schedules = [config.schedule for config in configs]
        self.follows_metrics = any(map(_reacts, self._schedules))
        """Whether `respond` changes anything."""
        pairs = [(config.schedule, _held(config)) for config in configs]
        # Usually one: members that share schedule and hold share a column of the table.
        self._columns = list(dict.fromkeys(pairs))
        index = {pair: column for column, pair in enumerate(self._columns)}
        self._column_of = [index[pair] for pair in pairs]
        self._always_one = not self.follows_metrics and all(
            schedule.always_one and held is None for schedule, held in self._columns
        )
        shared = len(self._columns) == 1 and not self.follows_metrics
        self._now = torch.ones(
            1 if shared else len(configs), dtype=torch.float64, device=self._device
        )
        self._forget_table()

    def _forget_table(self) -> None:
        self._epoch = -1
        self._table = torch.empty(0)

    def __call__(self, step: int) -> Tensor | float:
        """Return s_t: 1.0 where it never changes, else (K,) or (1,), float64.

        The tensor is always the same one, so that what reads it can be recorded.
        """
        if self._always_one:
            return 1.0
        epoch, within = divmod(step, self._per_epoch)
        if epoch != self._epoch:
            self._table = torch.from_numpy(self._of_epoch(epoch)).to(self._device)
            self._epoch = epoch
        return self._now.copy_(self._table[within])

    def _of_epoch(self, epoch: int) -> NDArray[np.float64]:
        """Each step of an epoch: (steps, 1) if all members share s_t, else (steps, K)."""
        steps = np.arange(epoch * self._per_epoch, (epoch + 1) * self._per_epoch)
        table = np.empty((len(steps), len(self._columns)))
        for column, (schedule, held) in enumerate(self._columns):
            if held is not None and epoch >= held[0]:
                table[:, column] = held[1]
                continue
            factors = schedule.multipliers(steps, self._epochs, self._per_epoch)
            if factors.shape != steps.shape:
                given = f"gave shape {list(factors.shape)} for {len(steps)} steps"
                raise wrong(schedule, "multipliers", f"{given}; it has to give one for each")
            table[:, column] = factors
        if self.follows_metrics:
            return table[:, self._column_of] * self._factors(epoch)
        return table if len(self._columns) == 1 else table[:, self._column_of]

    def _factors(self, epoch: int) -> list[float]:
        """What the metrics have made of each multiplier; 1 where SWA holds it."""
        holds = [self._columns[column][1] for column in self._column_of]
        return [
            memory.factor if held is None or epoch < held[0] else 1.0
            for memory, held in zip(self._memories, holds, strict=True)
        ]

    def respond(self, measured: Sequence[Mapping[str, float | int] | None]) -> None:
        """Let schedules that follow a metric see an evaluation, at the end of an epoch.

        measured: one per member; None for those that were not measured.
        """
        for row, (schedule, values) in enumerate(zip(self._schedules, measured, strict=True)):
            if values is not None and _reacts(schedule):
                self._memories[row] = schedule.after(self._memories[row], values)
        self._forget_table()

    def shrink_to(self, rows: Sequence[int], configs: Sequence[Config]) -> None:
        """Keep these rows only. configs: one per remaining row."""
        self._memories = [self._memories[row] for row in rows]
        self._set_members(configs)

    def state_dict(self) -> dict[str, Tensor]:
        """What schedules remember of their metrics, (K, 4); nothing where none follows one."""
        if not self.follows_metrics:
            return {}
        return {"memory": torch.tensor(self._memories, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`. Raises CorruptInputError for what nothing remembers."""
        own = self.state_dict()
        check_tensors(own, state)
        if own:
            self._memories = [_memory(*numbers) for numbers in state["memory"].tolist()]
            self._forget_table()

    def check(self, measured: Sequence[Iterable[Mapping[str, float | int]] | None]) -> None:
        """Raise CorruptInputError when evaluations have left other memories than those here.

        measured: for each row all evaluations so far; None where it does not matter.
        """
        for row, (schedule, rows) in enumerate(zip(self._schedules, measured, strict=True)):
            memory = Memory()
            for values in rows or ():
                if _reacts(schedule):
                    memory = schedule.after(memory, values)
            if rows is not None and str(memory) != str(self._memories[row]):  # NaN equals NaN
                raise CorruptInputError("memory: not what the evaluations lead to")


def _memory(factor: float, best: float, waited: float, resting: float) -> Memory:
    """Raise CorruptInputError for numbers that are none of a memory."""
    counts = all(count >= 0 and count.is_integer() for count in (waited, resting))
    if not isfinite(factor) or factor < 0 or isinf(best) or not counts:
        raise CorruptInputError(
            f"memory: factor {factor:g}, best {best:g}, waited {waited:g}, resting {resting:g}"
        )
    return Memory(factor, best, int(waited), int(resting))


def _reacts(schedule: Schedule) -> bool:
    return type(schedule).after is not Schedule.after


def _held(config: Config) -> tuple[int, float] | None:
    """The epoch, counted from 0, from which on the multiplier is constant, and its value."""
    swa = config.training.swa
    if swa is None or swa.lr is None or config.optimizer.lr is None:
        return None
    return swa.first_epoch(config.training.epochs), swa.lr / config.optimizer.lr
