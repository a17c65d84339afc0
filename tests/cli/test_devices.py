"""`--device` of every command: lists where sweeps are trained, and answers to what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import regrun
from regrun.cli.completion import complete_device, complete_devices
from regrun.config.load import config_from_mapping
from regrun.errors import PluginError, UsageError
from regrun.execution.stack_run import StackRun
from regrun.execution.train import train_run
from regrun.store.run_dir import RunDir
from tests.support.fake_gpus import Current, fake_gpus
from tests.support.runs import FISTA, run_dirs
from tests.support.sweeps import LINEAR, summary_of

REGULARIZED = {**LINEAR, "optimizer": {"name": "sgd", "lr": 0.01, "weight_decay": 0.1}}

OF_SWEEPS: dict[str, list[str]] = {
    "sweep": ["sweep", "c.yaml", "--seeds", "2"],
    "a dry run": ["sweep", "c.yaml", "--seeds", "2", "--dry-run"],
    "ablate": ["ablate", "c.yaml"],
    "reproduce": ["reproduce", "adamw_digits"],
}
OF_ONE: dict[str, list[str]] = {
    "train": ["train", "c.yaml"],
    "path": ["path", "path.yaml"],
    "inspect": ["inspect", "c.yaml"],
    "predict": ["predict", "run", "x.csv"],
}
EVERY = {**OF_SWEEPS, **OF_ONE, "resume": ["resume", "run"]}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with configs, of a machine without GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(json.dumps(REGULARIZED))
    (tmp_path / "path.yaml").write_text(json.dumps(FISTA))
    return tmp_path


def refused(invoke: Any, words: list[str], device: str) -> str:
    """What is said on stderr. Nothing else is, and nothing is written."""
    ended = invoke(*words, "--device", device)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert not list(Path("runs").rglob("*"))
    stderr: str = ended.stderr
    return stderr


@pytest.mark.parametrize("verb", EVERY)
@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda:1,", "write cuda:0 for the first GPU, or cuda:0,1 for the first two"),
        ("cuda:0,0", "GPU 0 twice; write --device cuda:0"),
        ("cpu:0,1", "CPUs have no numbers; write --device cpu"),
        ("mps", "regrun does not train on Apple GPUs; use cpu"),
        ("tpu", "not one of auto, cpu, cuda, cuda:N, cuda:N,M"),
    ],
)
def test_a_name_that_means_nothing_is_answered_in_a_line(
    invoke: Any, place: Path, verb: str, device: str, message: str
) -> None:
    assert refused(invoke, EVERY[verb], device) == f"--device {device}: {message}\n"


@pytest.mark.parametrize("verb", OF_ONE)
def test_what_is_no_sweep_takes_no_list(invoke: Any, place: Path, verb: str) -> None:
    said = refused(invoke, OF_ONE[verb], "cuda:1,0")
    assert said == "--device cuda:1,0: only sweeps are spread over GPUs; write --device cuda:1\n"


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cuda:0,1"])
@pytest.mark.parametrize("verb", [*OF_SWEEPS, "path", "train", "inspect"])
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_written(
    invoke: Any, place: Path, verb: str, device: str
) -> None:
    if verb in OF_SWEEPS or "," not in device:
        message = f"--device {device}: this machine has 0 CUDA device(s); write --device cpu\n"
        assert refused(invoke, EVERY[verb], device).endswith(message)


@pytest.mark.parametrize("ended", [True, False])
def test_a_run_and_a_path_are_resumed_on_one_device(
    invoke: Any, place: Path, ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = regrun.train(LINEAR, runs_dir="a").directory
    path = regrun.path(FISTA, number=2, folds=2, runs_dir="b").directory
    fake_gpus(monkeypatch)
    for directory in (run, path):
        if not ended:
            (directory / "summary.json").unlink()
        before = {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}
        said = refused(invoke, ["resume", str(directory)], "cuda:0,1")
        assert "only sweeps are spread over GPUs; write --device cuda:0" in said
        assert "cuda:7: this machine has 2" in refused(invoke, ["resume", str(directory)], "cuda:7")
        after = {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}
        assert after == before


def test_a_failed_run_stays_one_where_its_gpu_is_not_there(
    invoke: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: StackRun, should_stop: object) -> bool:
        self.save()
        raise PluginError("it broke", "where")

    with monkeypatch.context() as patch:
        fake_gpus(patch)
        patch.setattr(StackRun, "run", fails)
        summary = train_run(config_from_mapping(LINEAR), runs_dir=place / "a", device="cuda:1")
    directory = Path(summary.run_dir)
    ended = invoke("resume", directory)
    assert ended.exit_code == 2
    assert "--device cuda:1: this machine has 0 CUDA device(s); write --device cpu" in ended.stderr
    assert summary_of(directory)["status"] == "failed"
    assert invoke("resume", directory, "--device", "cpu", "--json").exit_code == 0
    assert summary_of(directory)["status"] == "completed"


def test_python_refuses_the_same(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus(monkeypatch)
    with pytest.raises(UsageError, match="only sweeps are spread over GPUs"):
        regrun.train(LINEAR, runs_dir="runs", device="cuda:0,1")
    with pytest.raises(UsageError, match="only sweeps are spread over GPUs"):
        regrun.path(FISTA, runs_dir="runs", device="cuda:0,1")
    with pytest.raises(UsageError, match="only sweeps are spread over GPUs"):
        regrun.inspect(LINEAR, device="cuda:0,1")
    with pytest.raises(UsageError, match=r"--workers 0 gives fewer; .*in Python workers=2"):
        regrun.sweep(LINEAR, seeds=2, runs_dir="runs", device="cuda:0,1")
    with pytest.raises(UsageError, match="GPU 1 twice"):
        regrun.ablate(REGULARIZED, runs_dir="runs", device="cuda:1,1")
    assert not Path("runs").exists()


@pytest.mark.parametrize(("device", "gpu"), [("cuda:1", 1), ("cuda", 0), ("auto", 0)])
def test_a_run_is_trained_on_its_gpu_as_the_current_one_and_leaves_it_as_it_was(
    place: Path, monkeypatch: pytest.MonkeyPatch, device: str, gpu: int
) -> None:
    on_cpu = train_run(config_from_mapping(LINEAR), runs_dir=place / "cpu", device="cpu")
    fake_gpus(monkeypatch)
    summary = train_run(config_from_mapping(LINEAR), runs_dir=place / "gpu", device=device)
    assert summary.device == f"cuda:{gpu}"
    assert Current.index is None
    weights = [RunDir(Path(each.run_dir)).weights.path.read_bytes() for each in (on_cpu, summary)]
    assert weights[0] == weights[1]
    (run,) = run_dirs(place / "gpu")
    assert summary_of(run)["device"] == f"cuda:{gpu}"


def test_a_path_is_solved_on_its_gpu_as_the_current_one(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch)
    found = regrun.path(FISTA, number=2, folds=2, runs_dir="runs", device="cuda:1")
    assert found.summary.converged
    assert Current.index is None


def test_completion_offers_a_list_where_there_are_sweeps() -> None:
    assert complete_device("cuda:") == ["cuda:0"]
    assert complete_devices("cuda:") == ["cuda:0", "cuda:0,1"]
    assert complete_devices("") == ["auto", "cpu", "cuda", "cuda:0", "cuda:0,1"]
