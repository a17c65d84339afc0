"""What the main process of a sweep and its workers know of each other while stacks are trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import nan
from pathlib import Path

import numpy as np

from regrun.sweeps.planned_stack import Report

RUNNING, ENDED, LOST = range(3)
"""States of a run. A pruned run counts as lost: no cell is the best by it."""


@dataclass(frozen=True)
class ProgressFile:
    """Where the numbers lie. sizes: the runs of each stack."""

    path: Path
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class StackSlot(Report):
    """What is shared of one stack: its steps, (1,), and the value and state of each run."""

    taken: np.ndarray
    values: np.ndarray
    states: np.ndarray

    def steps(self, steps: int) -> None:
        self.taken[0] = steps

    def measured(self, members: Sequence[int], values: np.ndarray) -> None:
        self.values[list(members)] = values

    def ended(self, member: int, value: float, *, counts: bool) -> None:
        self.values[member] = value
        self.states[member] = ENDED if counts else LOST


class SharedProgress:
    """A stop flag, and how each stack stands.

    Plain memory in a temporary file, without a lock that a dying worker could hold.
    """

    def __init__(self, file: ProgressFile) -> None:
        self.file = file
        stacks, runs = len(file.sizes), sum(file.sizes)
        numbers = np.memmap(file.path, np.int64, "r+")
        self._stop, self._steps, values, self._states = np.split(
            numbers, [1, 1 + stacks, 1 + stacks + runs]
        )
        self._values = values.view(np.float64)

    @classmethod
    def create(cls, path: Path, sizes: Sequence[int]) -> SharedProgress:
        """A new file, on which no stack has begun."""
        path.write_bytes(bytes(8 * (1 + len(sizes) + 2 * sum(sizes))))
        progress = cls(ProgressFile(path, tuple(sizes)))
        progress._values[:] = nan
        return progress

    @property
    def stopped(self) -> bool:
        """Whether all stacks shall save and stop."""
        return bool(self._stop[0])

    def stop(self) -> None:
        self._stop[0] = 1

    def steps(self) -> list[int]:
        """The steps of each stack, as one member of it counts them."""
        return [int(steps) for steps in self._steps]

    def slots(self) -> Iterator[StackSlot]:
        """One for each stack."""
        ends = accumulate(self.file.sizes)
        for number, (size, end) in enumerate(zip(self.file.sizes, ends, strict=True)):
            own = slice(end - size, end)
            steps = self._steps[number : number + 1]
            yield StackSlot(steps, self._values[own], self._states[own])

    def slot(self, number: int) -> StackSlot:
        """That of one stack."""
        return [*self.slots()][number]

    def lose(self, number: int) -> None:
        """Note that the runs of a stack failed which had not ended."""
        states = self.slot(number).states
        states[states == RUNNING] = LOST
