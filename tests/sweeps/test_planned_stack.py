"""One stack as a stack: trained from wherever it stands, or marked failed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regrun
from regrun.config.load import config_from_mapping
from regrun.errors import CorruptInputError, UsageError
from regrun.store.lock import exclusive
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps import planned_stack
from regrun.sweeps.planned_stack import (
    MOST_MESSAGES,
    PlannedStack,
    Report,
    mark_failed,
    train_stack,
)
from regrun.sweeps.run import Options, run_sweep
from tests.support.runs import rows_in
from tests.support.sweeps import DIGITS, LINEAR, results, summary_of, with_keys
from tests.support.tampering import age


def unstarted(tmp_path: Path, config: dict[str, Any], monkeypatch: Any) -> list[PlannedStack]:
    """The stacks of a sweep that was killed before it trained anything."""

    def killed(*_: Any, **__: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("regrun.sweeps.run.train_stacks", killed)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(config_from_mapping(config), runs_dir=tmp_path, options=Options("cpu"))
    ((directory,),) = [list(each.iterdir()) for each in tmp_path.iterdir() if each.is_dir()]
    (each,) = SweepDir(directory).read_rounds()
    return [
        PlannedStack(directory, number, tuple(each.runs[i] for i in members), each.data[number])
        for number, members in enumerate(each.stacks)
    ]


def go(stack: PlannedStack, stop_at: int | None = None) -> planned_stack.Outcome:
    """Run it; stop_at: after this many evaluations."""

    def should_stop() -> bool:
        if stop_at is None:
            return False
        files = list(stack.sweep.glob("*/metrics.jsonl"))
        return max((len(rows_in(path.parent)) for path in files), default=0) >= stop_at

    return train_stack(stack, "cpu", should_stop, Report())


GRID = with_keys(
    DIGITS, sweep={"grid": {"optimizer.lr": [0.01, 0.02]}, "seeds": 2, "vary": ["seed"]}
)


def test_a_stack_asked_to_stop_saves_and_goes_on_later_to_the_last_bit(
    tmp_path: Path, monkeypatch: Any
) -> None:
    config = with_keys(GRID, training={"checkpoint_every": 0})
    (stack,) = unstarted(tmp_path, config, monkeypatch)
    assert not go(stack, stop_at=1).done
    assert stack.unfinished() == list(stack.runs)
    assert go(stack).done
    assert stack.unfinished() == []
    whole = regrun.sweep(config, runs_dir=tmp_path / "whole", device="cpu")
    assert results(stack.sweep) == results(whole.directory)


def test_a_stack_whose_runs_have_ended_is_not_trained_again(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (stack,) = unstarted(tmp_path, GRID, monkeypatch)
    go(stack)
    leftover = SweepDir(stack.sweep).stack(0) / f"00000001-{'0' * 32}.safetensors"
    leftover.path.write_bytes(b"of a kill between the last summary and the end")
    monkeypatch.setattr(planned_stack, "StackRun", None)
    assert go(stack).done
    assert not leftover.exists()


PRUNED: dict[str, Any] = with_keys(
    DIGITS,
    training={"epochs": 16, "checkpoint_every": 0},
    sweep={
        "grid": {"optimizer.lr": [1e-5, 1e-4, 1e-3, 1e-2, 2e-2, 3e-2, 0.1, 1.0]},
        "seeds": 2,
        "vary": ["seed"],
        "pruner": "asha",
    },
)


@pytest.mark.parametrize("stop_at", [1, 2, 5])
def test_pruning_decides_alike_after_a_kill(tmp_path: Path, monkeypatch: Any, stop_at: int) -> None:
    (stack,) = unstarted(tmp_path, PRUNED, monkeypatch)
    checkpoints = SweepDir(stack.sweep).stack(0)
    go(stack, stop_at)
    saved = {path: path.read_bytes() for path in checkpoints.path.glob("*.safetensors")}
    # Some cells are pruned and their files complete; then a kill, and an older checkpoint.
    go(stack, stop_at + 4)
    assert stack.unfinished()
    for path in checkpoints.path.glob("*.safetensors"):
        path.unlink()
    for path, data in saved.items():
        path.write_bytes(data)
    assert go(stack).done
    whole = regrun.sweep(PRUNED, runs_dir=tmp_path / "whole", device="cpu")
    assert whole.summary.pruned > 4
    assert results(stack.sweep) == results(whole.directory)


def test_the_epochs_of_an_axis_are_those_that_pruning_goes_by(tmp_path: Path) -> None:
    config = with_keys(
        PRUNED,
        sweep={"grid": {"training.epochs": [8, 16], "optimizer.lr": [1e-5, 1e-3, 0.01, 1.0]}},
    )
    done = regrun.sweep(config, runs_dir=tmp_path, device="cpu")
    reached = done.runs.groupby("training.epochs")["epochs"].max()
    assert dict(reached) == {8: 8, 16: 16}
    assert (done.runs["status"] == "pruned").any()


def test_a_stack_waits_for_the_worker_that_a_kill_left_behind(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (stack,) = unstarted(tmp_path, GRID, monkeypatch)
    folder = SweepDir(stack.sweep).stack(0)
    folder.path.mkdir(parents=True)
    held, release = threading.Event(), threading.Event()

    def orphan() -> None:
        with exclusive(folder):
            held.set()
            release.wait()

    thread = threading.Thread(target=orphan)
    thread.start()
    held.wait()
    threading.Timer(0.3, release.set).start()
    assert go(stack).done
    thread.join()


def test_a_folder_that_stays_taken_is_reported(tmp_path: Path, monkeypatch: Any) -> None:
    (stack,) = unstarted(tmp_path, GRID, monkeypatch)
    folder = SweepDir(stack.sweep).stack(0)
    folder.path.mkdir(parents=True)
    monkeypatch.setattr(planned_stack, "ORPHAN_SECONDS", 0.1)
    with exclusive(folder), pytest.raises(UsageError, match="in use by process"):
        go(stack)


def test_damaged_checkpoints_are_never_a_silent_restart(tmp_path: Path, monkeypatch: Any) -> None:
    (stack,) = unstarted(tmp_path, with_keys(GRID, training={"checkpoint_every": 0}), monkeypatch)
    go(stack, stop_at=2)
    for path in SweepDir(stack.sweep).stack(0).path.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptInputError, match="damaged"):
        go(stack)


def test_failed_runs_are_stored_like_others_with_their_error(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (stack,) = unstarted(tmp_path, GRID, monkeypatch)
    try:
        raise ZeroDivisionError("what nobody expected")
    except ZeroDivisionError as error:
        assert mark_failed(stack, error) == 4
    for run in stack.runs:
        stored = regrun.load_run(stack.sweep / run.directory)
        assert stored.summary.status == "failed"
        assert stored.summary.error == "ZeroDivisionError: what nobody expected"
        assert stored.config["optimizer"]["lr"] == run.params["optimizer.lr"]
        log = (stack.sweep / run.directory / "log.txt").read_text()
        assert "Traceback" in log  # it is a bug
        assert "test_planned_stack.py" in log


def test_an_expected_failure_is_kept_without_a_traceback(tmp_path: Path, monkeypatch: Any) -> None:
    (stack,) = unstarted(tmp_path, GRID, monkeypatch)
    mark_failed(stack, UsageError("it cannot be"))
    log = (stack.sweep / stack.runs[0].directory / "log.txt").read_text()
    assert log == "UsageError: it cannot be\n"


def test_finished_runs_of_a_failed_stack_stay_as_they_are(tmp_path: Path, monkeypatch: Any) -> None:
    (stack,) = unstarted(tmp_path, GRID, monkeypatch)
    go(stack)
    last = stack.sweep / stack.runs[-1].directory
    (last / "summary.json").unlink()
    assert mark_failed(stack, UsageError("too late")) == 1
    statuses = [summary_of(stack.sweep / run.directory)["status"] for run in stack.runs]
    assert statuses == ["completed"] * 3 + ["failed"]


def test_of_many_that_diverge_some_are_named_and_the_rest_counted(
    tmp_path: Path, monkeypatch: Any
) -> None:
    config = with_keys(
        LINEAR, optimizer={"lr": 1e200}, sweep={"seeds": MOST_MESSAGES + 4, "vary": ["seed"]}
    )
    (stack,) = unstarted(tmp_path, config, monkeypatch)
    messages = go(stack).messages
    assert len(messages) == MOST_MESSAGES + 1
    assert "diverged at step" in messages[0]
    assert messages[-1] == "4 more diverged"


class Kept(Report):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.last_step = 0
        self.values: list[dict[int, float]] = []
        self.ends: dict[int, tuple[float, bool]] = {}

    def steps(self, steps: int) -> None:
        self.last_step = steps

    def measured(self, members: Sequence[int], values: np.ndarray) -> None:
        self.values.append(dict(zip(members, values.tolist(), strict=True)))

    def ended(self, member: int, value: float, *, counts: bool) -> None:
        self.ends[member] = value, counts


@pytest.mark.parametrize("metric", ["test/accuracy", "train/loss"])
def test_what_cells_are_compared_by_is_reported_at_each_evaluation_and_at_the_end(
    tmp_path: Path, monkeypatch: Any, metric: str
) -> None:
    config = with_keys(GRID, sweep={**GRID["sweep"], "metric": metric})
    (stack,) = unstarted(tmp_path, config, monkeypatch)
    report = Kept()
    train_stack(stack, "cpu", lambda: False, report)
    stored = [rows_in(stack.sweep / run.directory) for run in stack.runs]
    assert report.last_step == stored[0][-1]["step"]
    assert report.values == [
        {member: row[metric] for member, row in enumerate(rows)}
        for rows in zip(*stored, strict=True)
    ]
    assert report.ends == {member: (rows[-1][metric], True) for member, rows in enumerate(stored)}


def test_a_run_that_diverges_is_reported_as_one_that_does_not_count(
    tmp_path: Path, monkeypatch: Any
) -> None:
    config = with_keys(LINEAR, optimizer={"lr": 1e200}, sweep={"seeds": 2, "vary": ["seed"]})
    (stack,) = unstarted(tmp_path, config, monkeypatch)
    report = Kept()
    train_stack(stack, "cpu", lambda: False, report)
    assert [counts for _, counts in report.ends.values()] == [False, False]


def test_a_plan_of_version_0_1_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**LINEAR, "sweep": {"seeds": 2, "vary": ["seed"]}}
    (stack,) = unstarted(tmp_path, config, monkeypatch)
    directory = SweepDir(stack.sweep)
    planned = directory.read_rounds()
    age(directory.path)
    directory.plan.path.write_text(directory.plan.path.read_text().replace('"stacks":', '"packs":'))
    assert directory.read_rounds() == planned
