"""Where jobs run on one machine: in this process, or in single-threaded worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from regrun.errors import CorruptInputError, StorageError
from regrun.execution.observer import Observer
from regrun.sweeps.jobs import Job, Outcome, mark_failed, run_job

ATTEMPTS = 3
"""Times a job is started whose worker keeps dying."""

POLL_SECONDS = 0.1


class Board:
    """A few numbers that the main process and its workers see: told to stop, and steps by job.

    Plain memory in a file that is gone at the end; no worker can die holding a lock of it.
    """

    def __init__(self, path: Path, jobs: int) -> None:
        if not path.exists():
            path.write_bytes(bytes(8 * (1 + jobs)))
        self._numbers = np.memmap(path, np.int64, "r+")

    @property
    def stopped(self) -> bool:
        """Whether everyone is to save and stop."""
        return bool(self._numbers[0])

    def stop(self) -> None:
        """Tell everyone to save and stop."""
        self._numbers[0] = 1

    def count(self, slot: int, steps: int) -> None:
        """Note how far a job is."""
        self._numbers[1 + slot] = steps

    def steps(self) -> list[int]:
        """How far each job is."""
        return [int(steps) for steps in self._numbers[1:]]


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process tells when to stop
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(job: Job, slot: int, board_path: Path, jobs: int) -> Outcome:
    board = Board(board_path, jobs)
    return run_job(job, lambda: board.stopped, lambda steps: board.count(slot, steps))


def run_jobs(
    jobs: Sequence[Job],
    *,
    workers: int,
    should_stop: Callable[[], bool],
    observer: Observer,
    total_steps: int,
    fail_fast: bool = False,
) -> bool:
    """Run all jobs; False when told to stop, after each running job has saved.

    workers: 0 runs them one after another in this process. A job that raises is marked failed and
    the others go on, unless fail_fast; a worker that dies has its job started again. Errors of
    storage concern all jobs and are raised.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "board"
        board = Board(path, len(jobs))
        attempts = dict.fromkeys(range(len(jobs)), 0)
        waiting = list(attempts)
        while waiting and not board.stopped:
            with _executor(workers) as executor:
                futures = {
                    executor.submit(_run, jobs[slot], slot, path, len(jobs)): slot
                    for slot in waiting
                }
                watch = _Watch(jobs, board, should_stop, observer, total_steps, fail_fast)
                waiting = watch.until_done(futures)
            for slot in waiting:
                attempts[slot] += 1
                if attempts[slot] == ATTEMPTS:
                    mark_failed(jobs[slot], BrokenProcessPool(f"its worker died {ATTEMPTS} times"))
            waiting = [slot for slot in waiting if attempts[slot] < ATTEMPTS]
        return not board.stopped


def _executor(workers: int) -> ProcessPoolExecutor | ThreadPoolExecutor:
    if workers == 0:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)


@dataclass
class _Watch:
    """The main process while jobs run."""

    jobs: Sequence[Job]
    board: Board
    should_stop: Callable[[], bool]
    observer: Observer
    total_steps: int
    fail_fast: bool

    def until_done(self, futures: Mapping[Future[Outcome], int]) -> list[int]:
        """Wait for all; returns the slots of jobs whose worker died."""
        pending = set(futures)
        died: list[int] = []
        try:
            while pending:
                done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
                if self.should_stop():
                    self._stop(pending)
                for future in done:
                    if not future.cancelled() and not self._settle(futures[future], future):
                        died.append(futures[future])
                if self.board.stopped:
                    self._stop(pending)
                self._show()
        finally:
            if pending:
                self._stop(pending)
        return died

    def _settle(self, slot: int, future: Future[Outcome]) -> bool:
        """Take a job's result; False when its worker died."""
        error = future.exception()
        if error is None:
            for message in future.result().messages:
                self.observer.on_message(message)
            return True
        if isinstance(error, BrokenProcessPool):
            return False
        if isinstance(error, StorageError | CorruptInputError):
            raise error
        mark_failed(self.jobs[slot], error)
        count = len(self.jobs[slot].runs)
        self.observer.on_message(f"{count} run(s) failed: {type(error).__name__}: {error}")
        if self.fail_fast:
            self.board.stop()
        return True

    def _stop(self, pending: Iterable[Future[Outcome]]) -> None:
        self.board.stop()
        for future in pending:
            future.cancel()

    def _show(self) -> None:
        members = [len(job.runs) for job in self.jobs]
        done = sum(n * steps for n, steps in zip(members, self.board.steps(), strict=True))
        self.observer.on_progress(done, self.total_steps)
