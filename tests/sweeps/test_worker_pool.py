"""Workers that raise, die, are stopped; the stacks here train nothing unless they must."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from regrun.config.dump import dump_tree
from regrun.errors import ConfigError, CorruptInputError, StorageError, UsageError
from regrun.execution.observer import Observer, Standing
from regrun.metrics import Metric
from regrun.store.sweep_dir import PlannedRun, SweepDir
from regrun.sweeps import worker
from regrun.sweeps.crew import Crew
from regrun.sweeps.leaderboard import Leaderboard
from regrun.sweeps.planned_stack import Outcome, PlannedStack, Report
from regrun.sweeps.worker import InThisProcess, OwnProcess, Worker
from regrun.sweeps.worker_pool import ATTEMPTS, train_stacks
from tests.support.sweeps import LINEAR, Deadly, results, summary_of, with_keys
from tests.support.tampering import write_yaml


class Recorder(Observer):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.progress: list[tuple[int, int]] = []

    def on_message(self, text: str) -> None:
        self.messages.append(text)

    def on_standing(self, standing: Callable[[], Standing]) -> None:
        self.standing = standing

    def on_progress(self, step: int, total_steps: int) -> None:
        self.progress.append((step, total_steps))


@dataclass
class Work:
    """Stacks in a sweep directory, and what each does instead of training."""

    sweep: Path
    does: dict[int, Callable[[], None]] = field(default_factory=dict)
    done: list[int] = field(default_factory=list)
    recorder: Recorder = field(default_factory=Recorder)
    leaderboard: Leaderboard = field(
        default_factory=lambda: Leaderboard(Metric.from_name("test/loss"), "log")
    )

    def stacks(self, count: int) -> list[PlannedStack]:
        runs = [PlannedRun(i, {}, 0, f"{i:04d}") for i in range(count)]
        return [PlannedStack(self.sweep, number, (run,), "") for number, run in enumerate(runs)]

    def train_stack(
        self, stack: PlannedStack, device: str, should_stop: Any, report: Report, home: None
    ) -> Outcome:
        if stack.number in self.does:
            self.does[stack.number]()
        report.steps(10)
        report.ended(0, 0.5, counts=True)
        self.done.append(stack.number)
        return Outcome(True, ())

    def run(self, stacks: list[PlannedStack], **options: Any) -> bool:
        self.leaderboard.add(run for stack in stacks for run in stack.runs)
        given: dict[str, Any] = {
            "crew": Crew([InThisProcess("cpu")]),
            "should_stop": lambda: False,
            "observer": self.recorder,
            "total_steps": 10 * len(stacks),
            "leaderboard": self.leaderboard,
        }
        return train_stacks(stacks, **{**given, **options}).done

    def status(self, number: int) -> str | None:
        run = self.sweep / f"{number:04d}"
        return summary_of(run)["status"] if run.exists() else None


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    write_yaml(SweepDir(tmp_path).config.path, dump_tree(LINEAR))
    work = Work(tmp_path)
    monkeypatch.setattr(worker, "train_stack", work.train_stack)
    return work


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def test_one_stack_that_raises_is_marked_failed_and_the_others_go_on(work: Work) -> None:
    work.does[1] = raising(ZeroDivisionError("a bug"))
    assert work.run(work.stacks(4))
    assert work.done == [0, 2, 3]
    assert work.status(1) == "failed"
    assert "Traceback" in (work.sweep / "0001" / "log.txt").read_text()
    assert work.recorder.messages == ["1 run(s) failed: ZeroDivisionError: a bug"]
    assert work.recorder.progress[-1] == (30, 40)
    standing = work.recorder.standing()
    assert (standing.ended, standing.runs, standing.cells) == (4, 4, 3)  # one of them lost


class Large:
    """What a stack holds when it runs out of memory."""


def test_a_stack_without_memory_fails_and_leaves_its_room_to_the_others(work: Work) -> None:
    alive: list[bool] = []
    held: list[weakref.ref[Large]] = []

    def ask_for_a_petabyte() -> None:
        large = Large()
        held.append(weakref.ref(large))
        torch.empty(10**15, dtype=torch.uint8)

    work.does = {1: ask_for_a_petabyte, 2: lambda: alive.append(held[0]() is not None)}
    assert work.run(work.stacks(4))
    assert work.done == [0, 2, 3]
    assert alive == [False]
    assert work.status(1) == "failed"
    log = (work.sweep / "0001" / "log.txt").read_text()
    assert log.startswith("OutOfMemoryError: out of memory: 1.0 PB were asked for at once")
    assert "Traceback" not in log
    (message,) = work.recorder.messages
    assert message == f"1 run(s) failed: {log.strip()}"


def test_fail_fast_stops_at_the_first_failure(work: Work) -> None:
    work.does[1] = raising(ConfigError.at("model", "cannot be"))
    assert not work.run(work.stacks(4), fail_fast=True)
    assert work.done == [0]
    assert work.status(1) == "failed"


def test_a_full_disk_ends_all_at_once(work: Work) -> None:
    work.does[1] = raising(StorageError("disk full"))
    with pytest.raises(StorageError, match="disk full"):
        work.run(work.stacks(4))
    assert work.done == [0]
    assert work.status(1) is None


@pytest.mark.parametrize(
    "error",
    [
        CorruptInputError("all 2 checkpoints are damaged"),
        UsageError("one is damaged, or was written by another version of regrun"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_reported_when_the_others_are_done(
    error: CorruptInputError | UsageError, work: Work
) -> None:
    work.does[1] = raising(error)
    with pytest.raises(type(error), match="damaged"):
        work.run(work.stacks(4))
    assert work.done == [0, 2, 3]
    assert work.status(1) is None  # it can still be repaired


def test_once_asked_to_stop_no_further_stack_is_started(work: Work) -> None:
    asked = iter([False, True])
    assert not work.run(work.stacks(4), should_stop=lambda: bool(work.done) and next(asked, True))
    assert 1 <= len(work.done) < 4


def test_a_worker_that_keeps_dying_takes_nobody_with_it(work: Work) -> None:
    alive = [stack for stack in work.stacks(5) if stack.number != 1]
    for stack in alive:  # they have ended: their workers find nothing to do
        (work.sweep / stack.runs[0].directory).mkdir()
        (work.sweep / stack.runs[0].directory / "summary.json").write_text(
            '{"status": "completed"}'
        )
    stacks = work.stacks(5)
    stacks[1] = Deadly(work.sweep, 1, stacks[1].runs, "", main=os.getpid())
    assert work.run(stacks, crew=Crew([OwnProcess("cpu"), OwnProcess("cpu")]))
    assert [work.status(number) for number in range(5)] == [
        "completed", "failed", "completed", "completed", "completed",
    ]  # fmt: skip
    assert "died 3 times" in (work.sweep / "0001" / "log.txt").read_text()
    again = [text for text in work.recorder.messages if "starting them again" in text]
    assert len(again) == ATTEMPTS - 1
    assert sum("failed" in text for text in work.recorder.messages) == 1


def test_a_failing_cell_fails_alone_and_the_sweep_ends_with_3(
    sweep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regrun.execution.stack_run import StackRun

    real = StackRun.run

    def fails(self: StackRun, *arguments: Any) -> bool:
        if self._members[0].config.training.batch_size == 4:
            raise RuntimeError("out of luck")
        return real(self, *arguments)

    config = with_keys(LINEAR, sweep={"grid": {"training.batch_size": [3, 4, 5]}, "seeds": 2})
    clean = sweep(config)
    monkeypatch.setattr(StackRun, "run", fails)
    done = sweep(config)
    assert (done.summary.completed, done.summary.failed) == (4, 2)
    mine, expected = results(done.directory), results(clean.directory)
    for name, result in mine.items():
        assert result == expected[name] or "batch_size=4" in name
    failed = done.runs[done.runs["status"] == "failed"]
    assert list(failed["training.batch_size"]) == [4, 4]
    for path in failed["run_dir"]:
        assert "out of luck" in (Path(path) / "log.txt").read_text()


class Growing(Crew):
    """Has one number of places after another. most: the numbers."""

    def __init__(self, most: list[int]) -> None:
        super().__init__([InThisProcess("cpu")])
        self._most = most

    @property
    def places(self) -> int:
        return self._most[0]

    def hire(self) -> Worker:
        self.workers.append(InThisProcess("cpu"))
        return self.workers[-1]

    def news(self) -> list[str]:
        return [f"{self._most.pop(0)} at once"] if len(self._most) > 1 else []


def test_as_many_stacks_are_trained_at_once_as_there_are_places_now(work: Work) -> None:
    together: list[int] = []
    inside, lock = [0], threading.Lock()

    def count() -> None:
        with lock:
            inside[0] += 1
            together.append(inside[0])
        time.sleep(0.3)  # several polls, in which more could begin
        with lock:
            inside[0] -= 1

    stacks = work.stacks(9)
    work.does = {stack.number: count for stack in stacks}
    crew = Growing([1, 3])
    assert work.run(stacks, crew=crew)
    assert sorted(work.done) == [*range(9)]
    assert (together[0], max(together), len(crew.workers)) == (1, 3, 3)
    assert work.recorder.messages == ["1 at once"]

    together.clear()
    stacks = work.stacks(4)
    work.does = {stack.number: count for stack in stacks}
    assert work.run(stacks, crew=Growing([3, 1]))
    assert together[-1] == 1, "more were trained than there were places for"
