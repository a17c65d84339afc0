"""Sweeps on two GPUs, which are none: see `tests.support.fake_gpus`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from regrun.config.load import config_from_mapping
from regrun.errors import ConfigError, UsageError
from regrun.execution.observer import Observer, Start
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps.executor import OnRay
from regrun.sweeps.run import Options, plan_sweep, resume_sweep, run_sweep
from tests.support.fake_gpus import ROOM, DeadlyStack, Training, fake_gpus, trainings
from tests.support.sweeps import DIGITS, LINEAR, planned, results, stacks, summary_of, with_keys

LRS = {"optimizer.lr": [0.01, 0.02, 0.03, 0.04]}
FOUR = with_keys(DIGITS, sweep={"grid": LRS, "seeds": 1})
SMALL = with_keys(LINEAR, sweep={"grid": LRS, "seeds": 1})


class Watcher(Observer):
    """Keeps what is said. stops: as a signal would, once the first stack is done."""

    def __init__(self) -> None:
        self.starts: list[Start] = []
        self.messages: list[str] = []

    def on_start(self, start: Start) -> None:
        self.starts.append(start)

    def on_message(self, text: str) -> None:
        self.messages.append(text)


def swept(config: dict[str, Any], runs: Path, options: Options, watcher: Watcher) -> Path:
    loaded = config_from_mapping(config)
    return Path(run_sweep(loaded, runs_dir=runs, options=options, observer=watcher).sweep_dir)


def sizes(sweep: Path) -> list[int]:
    return [len(members) for members in stacks(sweep)]


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0,1"])
def test_two_gpus_train_a_sweep_in_two_processes_to_the_results_of_the_cpu(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("regrun.sweeps.planning.WORTH_WORKERS", 0)
        patch.setattr("regrun.sweeps.run.cores", lambda: 2)
        on_cpu = swept(FOUR, tmp_path / "cpu", Options("cpu", workers=0), Watcher())
    fake_gpus(monkeypatch)
    watcher = Watcher()
    sweep = swept(FOUR, tmp_path / "gpus", Options(device), watcher)
    assert stacks(sweep) == stacks(on_cpu)
    assert sizes(sweep) == [2, 2]
    log = sorted(trainings(sweep), key=lambda each: each.stack)
    assert [(each.stack, each.gpu) for each in log] == [(0, 0), (1, 1)]
    assert len({os.getpid(), *(each.process for each in log)}) == 3
    assert results(sweep) == results(on_cpu)
    on = [{summary_of(sweep / run)["device"] for run in members} for members in stacks(sweep)]
    assert on == [{"cuda:0"}, {"cuda:1"}]
    (start,) = watcher.starts
    assert (start.device, start.stacks, start.workers) == ("cuda:0, cuda:1", 2, 2)


def test_gpus_get_the_next_stack_when_they_are_done_until_each_was_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch)
    single = with_keys(SMALL, sweep={"grid": LRS, "seeds": 2, "stack_size": 1})
    sweep = swept(single, tmp_path, Options("cuda"), Watcher())
    log = trainings(sweep)
    assert sorted(each.stack for each in log) == [*range(8)]
    assert {each.gpu for each in log} == {0, 1}
    assert len({(each.gpu, each.process) for each in log}) == 2  # a process has one of them


def test_a_gpu_whose_worker_died_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch, stack=DeadlyStack)
    watcher = Watcher()
    sweep = swept(SMALL, tmp_path, Options("cuda:0,1"), watcher)
    assert watcher.messages == ["the worker of 2 run(s) died; starting them again"]
    first, again = (each for each in trainings(sweep) if each.stack == 1)
    assert first.process != again.process
    assert {run[-2] for run in results(sweep).values()} == {"completed"}
    assert Counter(each.gpu for each in trainings(sweep)).keys() == {0, 1}


@pytest.mark.parametrize(
    ("device", "config", "expected"),
    [
        ("cuda:1,0", SMALL, [1, 0]),
        ("cuda:0,1", SMALL, [0, 1]),
        ("cuda:1", SMALL, [1]),
        ("cuda:1,0", with_keys(SMALL, sweep={"grid": {"optimizer.lr": [0.1]}}), [1]),
        ("cuda:2,0,1", with_keys(SMALL, sweep={"grid": {"optimizer.lr": [0.1, 0.2]}}), [2, 0]),
        ("cuda:2,1", with_keys(DIGITS, sweep={"seeds": 3, "pruner": "median"}), [2]),
    ],
)
def test_gpus_are_used_in_the_order_in_which_they_are_named(
    device: str,
    config: dict[str, Any],
    expected: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_gpus(monkeypatch, [ROOM, ROOM, ROOM])
    watcher = Watcher()
    sweep = swept(config, tmp_path, Options(device), watcher)
    log = sorted(trainings(sweep), key=lambda each: each.stack)
    assert [each.gpu for each in log] == expected
    alone = len(expected) == 1
    assert [each.process == os.getpid() for each in log] == [alone] * len(expected)
    assert {each.device for each in watcher.starts} == {
        ", ".join(f"cuda:{number}" for number in expected)
    }


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("device", "gpu"), [("cuda", 0), ("auto", 0), ("cuda:1", 1)])
def test_in_one_process_a_sweep_is_one_stack_on_one_gpu(
    device: str, gpu: int, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch, [ROOM, 10**9])
    sweep = swept(SMALL, tmp_path, Options(device, workers=workers), Watcher())
    assert trainings(sweep) == [Training(0, gpu, os.getpid())]


def test_more_workers_than_gpus_share_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus(monkeypatch)
    single = with_keys(SMALL, sweep={"grid": LRS, "seeds": 1, "stack_size": 1})
    watcher = Watcher()
    sweep = swept(single, tmp_path, Options("cuda", workers=4), watcher)
    log = trainings(sweep)
    assert sorted(each.stack for each in log) == [0, 1, 2, 3]
    assert {each.gpu for each in log} == {0, 1}
    assert watcher.starts[0].workers == 4


def test_work_that_is_done_soon_stays_together_on_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch)
    for module in ("run", "planning"):
        monkeypatch.setattr(f"regrun.sweeps.{module}.WORTH_WORKERS", 10**6)
    sweep = swept(SMALL, tmp_path, Options("cuda:1,0"), Watcher())
    assert sizes(sweep) == [4]
    assert trainings(sweep) == [Training(0, 1, os.getpid())]


def planned_stacks(seeds: int, device: str) -> list[tuple[int, int]]:
    """Members and bytes of the stacks that are planned."""
    loaded = config_from_mapping(with_keys(DIGITS, sweep={"seeds": seeds, "vary": ["seed"]}))
    return [
        (each.members, each.memory_bytes) for each in plan_sweep(loaded, Options(device)).stacks
    ]


@pytest.mark.parametrize(
    ("device", "members"),
    [
        ("cuda:0", [16]),
        ("cuda:1", [4, 4, 4, 4]),
        ("cuda", [4, 4, 4, 4]),
        ("cuda:0,1", [4, 4, 4, 4]),
        ("cuda:1,0", [4, 4, 4, 4]),
    ],
)
def test_stacks_fit_the_gpu_with_the_least_free_memory(
    device: str, members: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch, [ROOM])
    ((_, one),), ((_, two),) = (planned_stacks(seeds, "cuda:0") for seeds in (1, 2))
    twice_four = 2 * (one + 3 * (two - one))  # half of it is used
    fake_gpus(monkeypatch, [ROOM, twice_four])
    assert [count for count, _ in planned_stacks(16, device)] == members


def test_a_gpu_without_room_for_one_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch, [ROOM, 10**6])
    with pytest.raises(ConfigError, match=r"parameters need .* but cuda:1 has 1\.0 MB free"):
        swept(SMALL, tmp_path / "runs", Options("cuda"), Watcher())
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("began", "asked", "expected"),
    [
        ("cuda:1", "auto", {1}),
        ("cuda:0,1", "auto", {0, 1}),
        ("cuda:0,1", "cuda:2,1", {1, 2}),
        ("cuda:0,1", "cuda:2", {2}),
        ("cpu", "cuda:0,2", {0, 2}),
        ("cuda:0,1", "cpu", {None}),
        ("cuda", "auto", {0, 1, 2}),
    ],
)
def test_a_sweep_goes_on_with_its_stacks_on_other_gpus(
    began: str,
    asked: str,
    expected: set[int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_gpus(monkeypatch, [ROOM, ROOM, ROOM])
    single = with_keys(SMALL, sweep={"grid": LRS, "seeds": 1, "stack_size": 1})
    sweep = swept(single, tmp_path, Options(began), Watcher())
    whole, before = results(sweep), stacks(sweep)
    SweepDir(sweep).summary.unlink()
    for run in before[1] + before[2] + before[3]:
        (sweep / run / "summary.json").unlink()
    Path(f"{sweep}.log").unlink()
    resume_sweep(sweep, options=Options(asked))
    assert stacks(sweep) == before
    assert results(sweep) == whole
    log = trainings(sweep)
    assert sorted(each.stack for each in log) == [1, 2, 3]
    assert {each.gpu for each in log} == expected


def test_a_plan_for_a_list_is_carried_on_in_this_process_by_its_first_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch)
    sweep = swept(SMALL, tmp_path, Options("cuda:1,0"), Watcher())
    SweepDir(sweep).summary.unlink()
    for run in stacks(sweep)[1]:
        (sweep / run / "summary.json").unlink()
    Path(f"{sweep}.log").unlink()
    resume_sweep(sweep, options=Options(workers=0))
    assert trainings(sweep) == [Training(1, 1, os.getpid())]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            Options("cuda:0,1", workers=0),
            "--workers 0 gives fewer; write --workers 2 .*, or name fewer GPUs",
        ),
        (Options("cuda:0,1", workers=1), "--workers 1 gives fewer"),
        (Options("cuda:2"), "--device cuda:2: this machine has 2 CUDA"),
        (Options("cuda:0,2"), "--device cuda:0,2: this machine has 2 CUDA"),
        (Options("cuda:0,0"), "GPU 0 twice; write --device cuda:0"),
        (Options("cuda:1", ray=OnRay()), "gets a GPU from Ray; write --device cuda$"),
        (Options("cuda:0,1", ray=OnRay()), "gets a GPU from Ray; write --device cuda$"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    options: Options, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch)
    sweep = swept(SMALL, tmp_path / "runs", Options("cuda:0"), Watcher())
    with pytest.raises(UsageError, match=message):
        run_sweep(config_from_mapping(SMALL), runs_dir=tmp_path / "new", options=options)
    assert not (tmp_path / "new").exists()
    with pytest.raises(UsageError, match=message):
        resume_sweep(sweep, options=options)


@pytest.mark.parametrize(("device", "gpu"), [("cuda:1", 1), ("cuda:0,1", 1), ("cuda:0", 0)])
def test_sizes_are_measured_on_the_gpu_with_the_least_memory_as_the_current_one(
    device: str, gpu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch, [2 * ROOM, ROOM])
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr("regrun.sweeps.stack_speed.WORTH_STEPS", 1)
    plan_sweep(config_from_mapping(SMALL), Options(device))
    assert {each.index for each in waited} == {gpu}


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two GPUs here")
def test_two_real_gpus_train_a_sweep_to_the_results_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("run", "planning"):
        monkeypatch.setattr(f"regrun.sweeps.{module}.WORTH_WORKERS", 0)
    config = with_keys(FOUR, model={"dropout": 0.0})  # whose numbers are others on a GPU
    sweeps = [
        swept(config, tmp_path / device, Options(device), Watcher())
        for device in ("cpu", "cuda:1,0")
    ]
    devices = [
        {summary_of(sweeps[1] / run)["device"] for run in each} for each in stacks(sweeps[1])
    ]
    assert devices == [{"cuda:1"}, {"cuda:0"}]
    found = [
        [summary_of(sweep / run.directory)["metrics"] for run in planned(sweep)] for sweep in sweeps
    ]
    for one, other in zip(*found, strict=True):
        assert other == pytest.approx(one, rel=1e-9)
