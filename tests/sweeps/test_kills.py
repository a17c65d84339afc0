"""Real sweeps whose processes are killed or stopped, and carried on as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.program import Process, Workspace, wait_until
from tests.support.sweeps import DIGITS, ended, planned, results, stacks, with_keys

CONFIG: dict[str, Any] = with_keys(
    DIGITS,
    model={"hidden": [16, 12]},
    training={
        "epochs": 60,
        "precision": "float32",
        "checkpoint_every": 0.05,
        "test_examples": True,
        "histograms_every": 25,
    },
    sweep={
        "grid": {"optimizer.lr": [1e-3, 3e-3], "model.activation": ["relu", "tanh"]},
        "seeds": 4,
        "vary": ["seed"],
        "stack_size": 4,
    },
)
"""Four stacks of four runs, half a second each."""


class SweepSpace(Workspace):
    """A workspace with one sweep."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, CONFIG)

    @property
    def is_planned(self) -> bool:
        return any(self.runs.glob("small/*/plan.jsonl"))

    def workers(self) -> list[int]:
        """Living processes that hold a stack just now."""
        found = []
        for lock in self.runs.glob("small/*/stacks/*/.lock"):
            try:
                found.append(int(json.loads(lock.read_bytes())["pid"]))
            except (OSError, ValueError):  # it has let go, or is just writing
                continue
        return [pid for pid in found if not is_gone(pid)]


@pytest.fixture
def workspace(tmp_path: Path) -> SweepSpace:
    return SweepSpace(tmp_path / "a place")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of the undisturbed sweep."""
    workspace = SweepSpace(tmp_path_factory.mktemp("whole"))
    assert workspace.sweep().wait() == 0
    assert [len(stack) for stack in stacks(workspace.only)] == [4, 4, 4, 4]
    return results(workspace.only)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def assert_carried_on(workspace: SweepSpace, whole: dict[str, Any]) -> None:
    before = ended(workspace.only)
    process = workspace.resume("--json")
    assert process.wait() == 0, process.stderr
    after = ended(workspace.only)
    assert {name: after[name] for name in before} == before  # what was finished was left alone
    assert after.keys() == whole.keys() == {run.directory for run in planned(workspace.only)}
    assert results(workspace.only) == whole
    assert json.loads(process.stdout)["completed"] == len(whole)
    assert not (workspace.only / "stacks").exists()
    assert not list(workspace.only.rglob("*.tmp"))


def kill_main(workspace: SweepSpace, draw: random.Random, *options: str) -> None:
    process = workspace.sweep("--quiet", *options)
    process.wait_until(lambda: workspace.is_planned)
    time.sleep(draw.uniform(0, 2))
    workers = workspace.workers()
    process.kill()
    wait_until(lambda: all(is_gone(pid) for pid in workers))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_sweep_killed_at_random_is_carried_on(
    seed: int, workspace: SweepSpace, whole: dict[str, Any]
) -> None:
    kill_main(workspace, random.Random(seed))
    assert_carried_on(workspace, whole)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 110))
def test_a_sweep_with_workers_killed_at_random_is_carried_on(
    seed: int, workspace: SweepSpace, whole: dict[str, Any]
) -> None:
    kill_main(workspace, random.Random(seed), "--workers", "2")
    assert_carried_on(workspace, whole)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(200, 210))
def test_a_sweep_killed_several_times_is_carried_on(
    seed: int, workspace: SweepSpace, whole: dict[str, Any]
) -> None:
    draw = random.Random(seed)
    kill_main(workspace, draw)
    for _ in range(3):
        process = workspace.resume("--quiet")
        time.sleep(draw.uniform(0.2, 1))
        process.kill()
    assert_carried_on(workspace, whole)


def kill_workers(workspace: SweepSpace, draw: random.Random, times: int) -> Process:
    process = workspace.sweep("--workers", "2")
    for _ in range(times):
        process.wait_until(workspace.workers)
        time.sleep(draw.uniform(0, 0.4))
        for pid in workspace.workers()[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]
    return process


@pytest.mark.parametrize("seed", [1])
def test_a_workers_death_is_made_good_in_the_same_command(
    seed: int, workspace: SweepSpace, whole: dict[str, Any]
) -> None:
    process = kill_workers(workspace, random.Random(seed), times=2)
    assert process.wait() == 0, process.stderr
    assert "worker of 4 run(s) died; starting them again" in process.stderr
    assert results(workspace.only) == whole


@pytest.mark.long
@pytest.mark.parametrize("seed", range(300, 310))
def test_a_workers_death_at_any_moment_is_made_good(
    seed: int, workspace: SweepSpace, whole: dict[str, Any]
) -> None:
    process = kill_workers(workspace, random.Random(seed), times=2)
    assert process.wait() == 0, process.stderr
    assert results(workspace.only) == whole


@pytest.mark.parametrize("also_workers", [True, False])
def test_the_death_of_the_fork_server_is_made_good_in_the_same_command(
    also_workers: bool, workspace: SweepSpace, whole: dict[str, Any]
) -> None:
    process = workspace.sweep("--workers", "2")
    process.wait_until(lambda: len(workspace.workers()) == 2)
    workers = workspace.workers()
    servers = {psutil.Process(pid).ppid() for pid in workers} - {process.pid}
    for pid in [*servers, *(workers if also_workers else ())]:
        os.kill(pid, signal.SIGKILL)
    assert process.wait() == 0, process.stderr
    assert len(servers) == 1
    assert ("died; starting them again" in process.stderr) == also_workers
    assert "Traceback" not in process.stderr
    assert results(workspace.only) == whole


@pytest.mark.parametrize(
    ("number", "code", "workers"), [(signal.SIGINT, 130, "0"), (signal.SIGTERM, 143, "2")]
)
def test_a_signal_saves_the_sweep_and_the_command_it_prints_finishes_it(
    number: int, code: int, workers: str, workspace: SweepSpace, whole: dict[str, Any]
) -> None:
    process = workspace.sweep("--workers", workers)
    process.wait_until(lambda: any(workspace.runs.glob("small/*/stacks/*/*.safetensors")))
    busy = workspace.workers()
    for pid in {*busy, process.pid}:  # as a terminal or a service manager does
        assert pid is not None
        os.kill(pid, number)
    assert process.wait() == code, process.stderr
    assert all(is_gone(pid) for pid in busy)
    assert not (workspace.only / "summary.json").exists()
    assert any(workspace.runs.glob("small/*/stacks/*/*.safetensors"))
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    command = shlex.split(process.stderr.strip().rpartition("carry on with: ")[2])
    assert command == ["regrun", "resume", str(workspace.only)]
    assert_carried_on(workspace, whole)


def test_a_sweep_that_is_being_trained_cannot_be_resumed(workspace: SweepSpace) -> None:
    process = workspace.sweep()
    process.wait_until(lambda: workspace.is_planned and (workspace.only / ".lock").exists())
    other = workspace.resume()
    assert other.wait() == 2
    assert f"in use by process {process.pid} on " in other.stderr
    process.kill()
