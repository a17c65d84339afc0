"""Runs stacks: keeps workers busy until all of them have ended."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from regrun.errors import (
    ClusterLostError,
    CorruptInputError,
    DataTooLargeError,
    OutOfMemoryError,
    StorageError,
    UsageError,
)
from regrun.execution.failure import Failure
from regrun.execution.observer import Observer, Standing
from regrun.sweeps.crew import Crew
from regrun.sweeps.leaderboard import Leaderboard
from regrun.sweeps.planned_stack import Outcome, PlannedStack, mark_failed
from regrun.sweeps.shared_progress import SharedProgress
from regrun.sweeps.worker import Worker, WorkerDied

ATTEMPTS = 3
"""How often a stack is started whose worker keeps dying."""

POLL_SECONDS = 0.1


def train_stacks(
    stacks: Sequence[PlannedStack],
    *,
    crew: Crew,
    should_stop: Callable[[], bool],
    observer: Observer,
    total_steps: int,
    leaderboard: Leaderboard,
    fail_fast: bool = False,
) -> Trained:
    """Train all stacks until they have ended, or are stopped after each running one has saved.

    crew: its workers are closed at the end. A stack that raises is marked failed and the others
    continue, unless fail_fast; one whose worker dies is restarted. A StorageError and a
    ClusterLostError are raised at once, a CorruptInputError once the others are done.
    """
    with TemporaryDirectory() as folder:
        sizes = [len(stack.runs) for stack in stacks]
        progress = SharedProgress.create(Path(folder) / "progress", sizes)
        watch = _Watch(stacks, progress, should_stop, observer, total_steps, leaderboard, fail_fast)
        watch.until_done(crew)
        return Trained(not progress.stopped, tuple(watch.too_large))


@dataclass(frozen=True)
class Trained:
    """What became of stacks. done: False when they were stopped.

    too_large: those of several runs that did not fit into memory; they are where they began.
    """

    done: bool
    too_large: tuple[PlannedStack, ...] = ()


@dataclass
class _Watch:
    """The main process's loop while stacks run."""

    stacks: Sequence[PlannedStack]
    progress: SharedProgress
    should_stop: Callable[[], bool]
    observer: Observer
    total_steps: int
    leaderboard: Leaderboard
    fail_fast: bool
    deaths: Counter[int] = field(default_factory=Counter)
    corrupt: CorruptInputError | UsageError | None = None
    too_large: list[PlannedStack] = field(default_factory=list)

    def until_done(self, crew: Crew) -> None:
        """Keep the workers busy until all stacks are done or have stopped."""
        idle = [*reversed(crew.workers)]  # the first one begins
        waiting = deque(range(len(self.stacks)))
        running: dict[Future[Outcome], tuple[int, Worker]] = {}
        try:
            while running or (waiting and not self.progress.stopped):
                while waiting and len(running) < crew.places and not self.progress.stopped:
                    slot, worker = waiting.popleft(), idle.pop() if idle else crew.hire()
                    future = worker.train(self.stacks[slot], slot, self.progress)
                    running[future] = slot, worker
                done, _ = wait(running, POLL_SECONDS, FIRST_COMPLETED)
                if self.should_stop():
                    self.progress.stop()
                for future in done:
                    slot, worker = running.pop(future)
                    error = future.exception()
                    if isinstance(error, WorkerDied):
                        if self._is_worth_another(slot, error):
                            waiting.appendleft(slot)
                    elif error is not None:
                        self._take_error(slot, error)
                    else:
                        for message in future.result().messages:
                            self.observer.on_message(message)
                    idle.append(worker)
                for message in crew.news():
                    self.observer.on_message(message)
                self._show()
            self._standing()
        finally:
            if running:
                self.progress.stop()
            crew.close()
        if self.corrupt is not None:
            raise self.corrupt

    def _is_worth_another(self, slot: int, death: WorkerDied) -> bool:
        """Whether a stack is started again after its worker died."""
        self.deaths[slot] += death.counts
        if self.progress.stopped:
            return True
        count = len(self.stacks[slot].runs)
        if self.deaths[slot] < ATTEMPTS:
            self.observer.on_message(f"the worker of {count} run(s) died; starting them again")
            return True
        self._fail(slot, RuntimeError(f"the worker process died {ATTEMPTS} times"))
        return False

    def _take_error(self, slot: int, error: BaseException) -> None:
        if isinstance(error, StorageError | ClusterLostError):
            raise error
        # In this stack's files only: the others continue, and its runs have not failed.
        if isinstance(error, CorruptInputError) or type(error) is UsageError:
            self.corrupt = error
            self.observer.on_message(str(error))
        elif self._can_be_halved(slot, error):
            self.too_large.append(self.stacks[slot])
        else:
            self._fail(slot, error)

    def _can_be_halved(self, slot: int, error: BaseException) -> bool:
        """Whether an error is a lack of memory that halves of the stack may not have."""
        lacks = isinstance(error, OutOfMemoryError) and not isinstance(error, DataTooLargeError)
        return lacks and len(self.stacks[slot].runs) > 1

    def _fail(self, slot: int, error: BaseException) -> None:
        count = mark_failed(self.stacks[slot], error)
        self.progress.lose(slot)
        self.observer.on_message(f"{count} run(s) failed: {Failure.of(error).text}")
        if self.fail_fast:
            self.progress.stop()

    def _show(self) -> None:
        members = [len(stack.runs) for stack in self.stacks]
        done = sum(n * steps for n, steps in zip(members, self.progress.steps(), strict=True))
        self.observer.on_standing(self._standing)
        self.observer.on_progress(done, self.total_steps)

    def _standing(self) -> Standing:
        for stack, slot in zip(self.stacks, self.progress.slots(), strict=True):
            self.leaderboard.take(stack.runs, slot.values, slot.states)
        return self.leaderboard.standing()
