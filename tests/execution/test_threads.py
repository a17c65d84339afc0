"""`--threads`: the number that was asked for is used, kept by `resume`, and checked."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import regrun
from regrun.config.load import config_from_mapping
from regrun.errors import Interrupted, UsageError
from regrun.execution import computing
from regrun.execution.computing import MOST_THREADS, check_threads, notes_on_threads
from regrun.execution.observer import Observer, Start
from regrun.execution.origin import load_stack
from regrun.execution.train import resume_run, train_run
from regrun.results import RunSummary
from regrun.store.checkpoint import CheckpointStore
from regrun.store.run_dir import RunDir
from regrun.store.study import PathStudy, ReproductionStudy, read_study
from regrun.store.sweep_dir import SweepDir
from regrun.studies.reproductions.claims import LassoPath, Reproduction
from regrun.studies.reproductions.run import reproduce, resume_reproduction
from regrun.sweeps import run as sweeps
from regrun.sweeps.run import Options, plan_sweep, resume_sweep, run_sweep
from tests.support.runs import DIGITS, FISTA, LINEAR, run_dirs
from tests.support.stopping import StopsRun

LONG: dict[str, Any] = {**LINEAR, "training": {"epochs": 100_000, "batch_size": 5}}
TWO = {"grid": {"optimizer.lr": [0.01, 0.02]}, "stack_size": 1}


class Counting(Observer):
    """Notes the threads of the process when a run, or a fit of a path, ends."""

    def __init__(self) -> None:
        self.counts: set[int] = set()

    def on_end(self, summary: RunSummary) -> None:
        self.counts.add(torch.get_num_threads())


class Stops(StopsRun):
    """Asks a run to stop at its first evaluation, and notes its threads."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: set[int] = set()

    def on_evaluation(self, row: Mapping[str, float]) -> None:
        self.counts.add(torch.get_num_threads())
        super().on_evaluation(row)


class StopsWhenBegun(Observer):
    """Asks a sweep to stop once a step was taken."""

    _asked = False

    def on_progress(self, step: int, total_steps: int) -> None:
        if step and not self._asked:
            self._asked = True
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_run_trains_with_as_many_as_it_is_given(threads: int, tmp_path: Path) -> None:
    counting, before = Counting(), torch.get_num_threads()
    loaded = config_from_mapping(DIGITS)
    train_run(loaded, runs_dir=tmp_path, device="cpu", threads=threads, observer=counting)
    assert counting.counts == {threads}
    assert torch.get_num_threads() == before


def test_a_resumed_run_goes_on_with_its_number_unless_asked_otherwise(tmp_path: Path) -> None:
    loaded = config_from_mapping(LONG)
    with pytest.raises(Interrupted):
        train_run(loaded, runs_dir=tmp_path, device="cpu", threads=3, observer=StopsRun())
    (directory,) = run_dirs(tmp_path)
    found = []
    for threads in (None, 2, None):
        stops = Stops()
        with pytest.raises(Interrupted):
            resume_run(directory, threads=threads, observer=stops)
        found.append(stops.counts)
    assert found == [{3}, {2}, {2}]


class Dies(Observer):
    """Is killed as training begins, once its threads are noted."""

    threads = 0

    def on_start(self, start: Start) -> None:
        self.threads = torch.get_num_threads()
        raise KeyboardInterrupt


def test_a_run_that_is_killed_before_its_first_step_goes_on_with_its_number(
    tmp_path: Path,
) -> None:
    loaded, dies = config_from_mapping(DIGITS), Dies()
    with pytest.raises(KeyboardInterrupt):
        train_run(loaded, runs_dir=tmp_path, device="cpu", threads=3, observer=dies)
    (directory,) = run_dirs(tmp_path)
    found = [dies.threads]
    for threads in (None, 2, None):
        with pytest.raises(KeyboardInterrupt):
            resume_run(directory, threads=threads, observer=dies)
        found.append(dies.threads)
    assert found == [3, 3, 2, 2]
    resumed = resume_run(directory)
    whole = train_run(loaded, runs_dir=tmp_path / "whole", device="cpu", threads=2)
    weights = [RunDir(Path(each.run_dir)).weights.path.read_bytes() for each in (resumed, whole)]
    assert weights[0] == weights[1]


def checkpointed(directory: Path) -> set[int | None]:
    """The threads that the stacks of a sweep were computed with, as their checkpoints say."""
    files = SweepDir(directory)
    saved = [load_stack(CheckpointStore(files.stack(number))) for number in range(2)]
    return {each.state.threads for each in saved if each is not None}


@pytest.mark.parametrize("workers", [0, 2])
def test_every_worker_of_a_sweep_has_as_many_also_after_resuming(
    workers: int, tmp_path: Path
) -> None:
    loaded = config_from_mapping({**LONG, "sweep": TWO})
    options = Options("cpu", workers=workers, threads=3)
    with pytest.raises(Interrupted):
        run_sweep(loaded, runs_dir=tmp_path, options=options, observer=StopsWhenBegun())
    (directory,) = (path.parent for path in tmp_path.glob("*/*/sweep.yaml"))
    assert checkpointed(directory) == {3}
    for asked, expected in ((None, 3), (2, 2), (None, 2)):
        options = Options(workers=workers, threads=asked)
        with pytest.raises(Interrupted):
            resume_sweep(directory, options=options, observer=StopsWhenBegun())
        assert checkpointed(directory) == {expected}
        assert {each.threads for each in SweepDir(directory).read_rounds()} == {
            3 if expected == 3 else 2
        }


def test_a_stack_goes_on_with_the_threads_of_its_worker_where_no_number_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    monkeypatch.setattr(computing, "PAYS_A_THREAD", 1)
    loaded = config_from_mapping({**LONG, "sweep": TWO})
    try:
        with pytest.raises(Interrupted):
            options = Options("cpu", workers=0)
            run_sweep(loaded, runs_dir=tmp_path, options=options, observer=StopsWhenBegun())
        (directory,) = (path.parent for path in tmp_path.glob("*/*/sweep.yaml"))
        assert checkpointed(directory) == {4}
        torch.set_num_threads(1)  # as a worker process has it
        with pytest.raises(Interrupted):
            resume_sweep(directory, options=Options(workers=0), observer=StopsWhenBegun())
        assert checkpointed(directory) == {4}
    finally:
        torch.set_num_threads(before)


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "cores", lambda: 8)
    assert [Options(threads=each).places for each in (None, 1, 2, 3, 8, 9)] == [8, 8, 4, 2, 1, 1]
    monkeypatch.setattr("regrun.sweeps.planning.WORTH_WORKERS", 0)
    loaded = config_from_mapping({**LINEAR, "sweep": {"seeds": 1, "grid": {"seed": [*range(16)]}}})
    stacks = [len(plan_sweep(loaded, Options("cpu", threads=each)).stacks) for each in (None, 4)]
    assert stacks == [8, 2]


def test_the_same_number_gives_the_same_bits(tmp_path: Path) -> None:
    weights = []
    for runs in ("a", "b"):
        run = regrun.train(DIGITS, runs_dir=tmp_path / runs, device="cpu", threads=2)
        weights.append((run.directory / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_path_is_solved_with_as_many_as_pay_or_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    real = computing.computing

    def noting(*arguments: Any) -> Any:
        found.append(arguments[2:])
        return real(*arguments)

    monkeypatch.setattr("regrun.studies.path.computing", noting)
    for threads in (None, 2):
        path = regrun.path(FISTA, number=3, folds=2, runs_dir=tmp_path, threads=threads)
        study = read_study(path.directory)
        assert isinstance(study, PathStudy)
        assert study.threads == threads
        (path.directory / "summary.json").unlink()
        regrun.resume(path.directory)
    assert found == [(9, None), (9, None), (9, 2), (9, 2)]


def test_a_path_goes_on_with_the_number_that_it_was_resumed_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = regrun.path(FISTA, number=3, folds=2, runs_dir=tmp_path, device="cpu", threads=3)
    found = []
    real = computing.computing

    def noting(*arguments: Any) -> Any:
        found.append(arguments[3])
        return real(*arguments)

    monkeypatch.setattr("regrun.studies.path.computing", noting)
    for threads in (None, 2, None):
        (path.directory / "summary.json").unlink()
        regrun.resume(path.directory, threads=threads)
    assert found == [3, 2, 2]


def test_a_reproduction_goes_on_with_the_number_that_it_was_resumed_with(tmp_path: Path) -> None:
    tiny = Reproduction(
        title="A path",
        reference="nowhere",
        parts=(LassoPath("reproduce/lasso_path_diabetes.yaml", "path", 3, 0.5, shares=()),),
        claims=(),
        budget="none",
        published_budget="none",
        takes="no time",
    )
    options = Options("cpu", threads=3)
    result = reproduce("tiny", tiny, runs_dir=tmp_path, options=options)
    directory = Path(result.runs_in[0]).parent
    found = []
    for threads in (None, 2, None):
        (directory / "summary.json").unlink()
        study = read_study(directory)
        assert isinstance(study, ReproductionStudy)
        resume_reproduction(directory, study, tiny, threads=threads)
        stored = read_study(directory)
        assert isinstance(stored, ReproductionStudy)
        found.append(stored.threads)
    assert found == [3, 2, 2]


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "2", MOST_THREADS + 1])
def test_what_is_no_number_of_threads_is_refused(threads: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--threads .*: not a whole number from 1 to 1,024"):
        check_threads(threads)
    calls: list[Callable[[], object]] = [
        lambda: regrun.train(LINEAR, runs_dir=tmp_path, threads=threads),
        lambda: regrun.sweep(LINEAR, seeds=2, runs_dir=tmp_path, threads=threads),
        lambda: regrun.ablate(DIGITS, runs_dir=tmp_path, threads=threads),
        lambda: regrun.path(FISTA, runs_dir=tmp_path, threads=threads),
        lambda: regrun.reproduce("lasso_path_diabetes", runs_dir=tmp_path, threads=threads),
        lambda: regrun.resume(tmp_path, threads=threads),
    ]
    for call in calls:
        with pytest.raises(UsageError):
            call()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("verb", ["train", "sweep", "ablate", "path"])
@pytest.mark.parametrize("threads", ["0", "-2", "two", "1.5", "5000"])
def test_wrong_numbers_end_with_2(verb: str, threads: str, invoke: Any, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    tree = FISTA if verb == "path" else {**DIGITS, "sweep": {"seeds": 2}}
    config.write_text(yaml.safe_dump(tree))
    ended = invoke(verb, config, "--threads", threads, "--runs-dir", tmp_path / "runs")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "--threads" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not run_dirs(tmp_path / "runs")


def test_more_threads_than_cores_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "cores", lambda: 2)
    assert [bool(notes_on_threads(each)) for each in (None, 1, 2, 3)] == [False, False, False, True]
    (note,) = notes_on_threads(3)
    assert note == "--threads 3: there are 2 cores, so threads wait for each other"


@pytest.mark.parametrize(("examples", "expected"), [(10, 1), (99, 1), (100, 2), (5_000, 4)])
def test_predictions_are_made_with_as_many_as_a_batch_pays(
    examples: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"name": "mlp", "hidden": [8]}
    run = regrun.train({**DIGITS, "model": model}, runs_dir=tmp_path, device="cpu")
    predictor = regrun.load_predictor(run.directory, device="cpu")
    found = []
    (network,) = predictor.networks
    network.register_forward_pre_hook(
        lambda _, inputs: found.append((len(inputs[0]), torch.get_num_threads()))
    )
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    monkeypatch.setattr(computing, "PAYS_A_THREAD", 50 * 64 * 8)
    try:
        predictor.predict(np.zeros((examples, 64)))
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert {threads for batch, threads in found if batch > 1} == {expected}
