"""A worker does one piece of work at a time: in a thread of this process, or in its own process.

A process is reached through a pipe. The semaphores of a `ProcessPoolExecutor` would be reported as
leaked whenever this process ends at once.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

import torch

from regrun import errors
from regrun.execution.computing import on_device
from regrun.execution.failure import Failure, RemoteFailure
from regrun.execution.prepare import resolve_device
from regrun.memory import ADVICE, advising, give_back
from regrun.signals import ignore_signals
from regrun.sweeps.planned_stack import Home, Outcome, PlannedStack, Report, train_stack
from regrun.sweeps.shared_progress import ProgressFile, SharedProgress
from regrun.sweeps.worker_process import starting_processes, worker_context

SECONDS_TO_START = 20.0
"""How long a process is tried to be started."""

Work = Callable[..., Outcome]


class WorkerDied(Exception):  # noqa: N818 - an event, not an error
    """The worker process is gone, and so is what it was doing.

    counts: whether its work may be the reason.
    """

    counts = True


class Worker(ABC):
    """Trains one stack at a time."""

    @abstractmethod
    def train(self, stack: PlannedStack, slot: int, progress: SharedProgress) -> Future[Outcome]:
        """Start a stack, whose slot says how it stands. The future raises its error, or WorkerDied.

        A lack of memory is an OutOfMemoryError.
        """

    @abstractmethod
    def close(self) -> None:
        """Wait for the end of the work, and of the worker."""


class LocalWorker(Worker):
    """A worker on this machine. device: what it trains on."""

    def __init__(self, device: str) -> None:
        self.device = device

    def train(self, stack: PlannedStack, slot: int, progress: SharedProgress) -> Future[Outcome]:
        return self.submit(_train_here, stack, self.device, slot, progress.file)

    @abstractmethod
    def submit(self, work: Work, *arguments: Any) -> Future[Outcome]:
        """Start some work. The future raises its error, or WorkerDied."""


class InThisProcess(LocalWorker):
    """A thread, so that the main one stays free to answer signals.

    It has the caller's context, to which a network that a Python program gave belongs.
    """

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self._thread = ThreadPoolExecutor(1)

    def submit(self, work: Work, *arguments: Any) -> Future[Outcome]:
        return self._thread.submit(copy_context().run, _result, work, arguments)

    def close(self) -> None:
        self._thread.shutdown()


class OwnProcess(LocalWorker):
    """A process, started with its first work, and again after it died.

    A thread waits for its answers.
    """

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self._thread = ThreadPoolExecutor(1)
        self._started: tuple[BaseProcess, Connection] | None = None

    def submit(self, work: Work, *arguments: Any) -> Future[Outcome]:
        return self._thread.submit(self._ask, work, arguments)

    def close(self) -> None:
        self._thread.shutdown()
        self._end()

    def _ask(self, work: Work, arguments: tuple[Any, ...]) -> Outcome:
        if self._started is None:
            self._started = _start()
        _, connection = self._started
        try:
            connection.send((work, arguments))
            outcome, error = connection.recv()
        except (EOFError, OSError) as lost:
            self._end()
            raise WorkerDied from lost
        if error is not None:
            raise error
        assert isinstance(outcome, Outcome)
        return outcome

    def _end(self) -> None:
        if self._started is not None:
            process, connection = self._started
            connection.close()
            process.join()
            self._started = None


def _start() -> tuple[BaseProcess, Connection]:
    """A process that serves, and the pipe to it. Raises OSError, EOFError when none can be started.

    A fork server that was killed is noticed only once it is reaped: until then it refuses.
    """
    context = worker_context()
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,))
        try:
            with starting_processes():
                process.start()
        except (OSError, EOFError):
            ours.close()
            if time.monotonic() > deadline:
                raise
        else:
            return process, ours
        finally:
            theirs.close()
        time.sleep(0.05)


def _serve(connection: Connection) -> None:
    """The worker process: do what comes through the pipe until it is closed."""
    torch.set_num_threads(1)
    ignore_signals()  # the main process decides when to stop
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            connection.send(answer(*connection.recv()))


def _train_here(stack: PlannedStack, device: str, slot: int, file: ProgressFile) -> Outcome:
    progress = SharedProgress(file)
    return train_or_lack(stack, device, lambda: progress.stopped, progress.slot(slot))


def train_or_lack(
    stack: PlannedStack,
    device: str,
    should_stop: Callable[[], bool],
    report: Report,
    home: Home | None = None,
) -> Outcome:
    """`train_stack`; a lack of memory, as whatever library has it, is an OutOfMemoryError."""
    with advising(ADVICE), on_device(resolve_device(device)):
        return train_stack(stack, device, should_stop, report, home)


def _result(work: Work, arguments: tuple[Any, ...]) -> Outcome:
    """What work gives; raises its error, which holds nothing of what the work held."""
    outcome, error = answer(work, arguments)
    if error is not None:
        raise error
    assert outcome is not None
    return outcome


def answer(work: Work, arguments: tuple[Any, ...]) -> tuple[Outcome | None, BaseException | None]:
    """What work gives, or the error that ended it, as it can be sent to another process.

    Of an error only what it says: its traceback holds all that the work held, and others need room.
    """
    outcome = None
    with _Keeping() as kept:
        outcome = work(*arguments)
    error, kept.error = kept.error, None
    if error is None:
        return outcome, None
    if type(error).__module__ == errors.__name__:
        error.__cause__ = error.__context__ = error.__traceback__ = None
    else:
        error = RemoteFailure(Failure.of(error))  # the error itself may not pickle
    give_back()
    return None, error


class _Keeping:
    """Keeps the error of a block, whatever it is: the main process reports it."""

    error: BaseException | None = None

    def __enter__(self) -> _Keeping:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.error = error
        return True


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
