"""GPUs that are none: they have names and free memory, and their tensors lie in that of the CPU.

What is trained on one must have made it the current device before, as kernels of Triton need it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch

from regrun.config.load import Loaded
from regrun.data import dataset
from regrun.sweeps.planned_stack import PlannedStack
from regrun.training.engine import Engine

ROOM = 10**10

Patch = Callable[[object, str, object], None]

CPU = torch.device("cpu")


def install(patch: Patch, free: Sequence[int]) -> None:
    """Give this process a GPU for each of these numbers of free bytes. patch: `setattr`."""
    move, begin = dataset._to, Engine.__init__

    def to_cpu(tensor: torch.Tensor, device: Any, dtype: torch.dtype) -> torch.Tensor:
        _check_there(torch.device(device), free)
        return move(tensor, CPU, dtype)

    def on_cpu(
        self: Engine, configs: Any, data: Any, device: torch.device, *rest: Any, **keys: Any
    ) -> None:
        assert device.type == "cpu" or device.index == Current.index
        begin(self, configs, data, CPU, *rest, **keys)

    patch(torch.cuda, "is_available", lambda: True)
    patch(torch.cuda, "device_count", lambda: len(free))
    patch(torch.cuda, "mem_get_info", lambda device: (free[device.index], 2 * ROOM))
    patch(torch.cuda, "device", Current)
    patch(dataset, "_to", to_cpu)
    patch(Engine, "__init__", on_cpu)


def _check_there(device: torch.device, free: Sequence[int]) -> None:
    assert device.type == "cpu" or device.index in range(len(free))


class Current:
    """`torch.cuda.device`: the current one within a block."""

    index: int | None = None

    def __init__(self, device: torch.device) -> None:
        self._index = device.index

    def __enter__(self) -> None:
        self._before, Current.index = Current.index, self._index

    def __exit__(self, *_: object) -> None:
        Current.index = self._before


@dataclass(frozen=True)
class Training:
    """A line of the log: who trained which stack, and where."""

    stack: int
    gpu: int | None
    process: int


@dataclass(frozen=True)
class LoggedStack(PlannedStack):
    """A stack that brings the GPUs along to its worker, and logs where it is trained."""

    def __reduce__(self) -> tuple[Any, ...]:
        values = [getattr(self, each.name) for each in fields(self)]
        return _arrived, (type(self), values, torch.cuda.device_count())

    def load(self, home: Path | None = None) -> Loaded:
        line = astuple(Training(self.number, Current.index, os.getpid()))
        with log_of(self.sweep).open("a") as log:
            log.write(" ".join(map(str, line)) + "\n")
        return super().load(home)


class DeadlyStack(LoggedStack):
    """The second one kills the worker that it is given to, the first time."""

    def load(self, home: Path | None = None) -> Loaded:
        loaded = super().load(home)
        if sum(each.stack == self.number == 1 for each in trainings(self.sweep)) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return loaded


def _arrived(kind: type[LoggedStack], values: list[Any], gpus: int) -> LoggedStack:
    """In the worker process, which may have had another stack before."""
    if torch.cuda.device_count() != gpus:
        install(setattr, [ROOM] * gpus)
    return kind(*values)


def log_of(sweep: Path) -> Path:
    return Path(f"{sweep}.log")


def trainings(sweep: Path) -> list[Training]:
    """Every time that a stack of the sweep was trained."""
    lines = log_of(sweep).read_text().splitlines()
    read = [[None if word == "None" else int(word) for word in line.split()] for line in lines]
    return [Training(stack or 0, gpu, process or 0) for stack, gpu, process in read]


def fake_gpus(
    patch: pytest.MonkeyPatch, free: Sequence[int] = (ROOM, ROOM), stack: type = LoggedStack
) -> None:
    """Two GPUs for the rest of the test, here and in worker processes, and work worth both."""
    install(patch.setattr, free)
    patch.setattr("regrun.sweeps.run.PlannedStack", stack)
    for module in ("run", "planning"):
        patch.setattr(f"regrun.sweeps.{module}.WORTH_WORKERS", 0)
