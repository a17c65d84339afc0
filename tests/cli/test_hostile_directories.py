"""Run and sweep directories that somebody else prepared: nothing outside of them is touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import regrun
from tests.support.tampering import relist, write_lines

CONFIG: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "synthetic_linear", "num_train": 12, "num_features": 5},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "training": {
        "epochs": 4,
        "checkpoint_every": 0,
        "test_examples": True,
        "histograms_every": 1,
    },
}
GRID: dict[str, Any] = {**CONFIG, "sweep": {"grid": {"optimizer.lr": [0.01, 0.02]}, "seeds": 2}}
VERBS = ("resume", "compare", "verify", "verify --repair", "predict", "list runs", "export")
CODES = {0, 2, 4, 5}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished and an unfinished run, a finished and an unfinished sweep."""
    runs = tmp_path_factory.mktemp("original") / "runs"
    for name in ("finished", "unfinished"):
        run = regrun.train(CONFIG, runs_dir=runs, device="cpu").directory
        sweep = regrun.sweep(GRID, runs_dir=runs, device="cpu").directory
        run.rename(runs / "small" / f"run-{name}")
        sweep.rename(runs / "small" / f"sweep-{name}")
    _take_back(runs / "small" / "run-unfinished")
    sweep = runs / "small" / "sweep-unfinished"
    (sweep / "summary.json").unlink()
    for run in sweep.glob("0*"):
        _take_back(run)
    return runs


def _take_back(run: Path) -> None:
    for name in ("summary.json", "weights.safetensors", "test_examples.safetensors"):
        (run / name).unlink()


@pytest.fixture
def small(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "runs")
    return tmp_path / "runs" / "small"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Files of the user's own, named as those of runs are."""
    folder = tmp_path / "outside"
    (folder / "train").mkdir(parents=True)
    for name in ("own.txt", "metrics.jsonl", "events.out.tfevents.1", "00000001-x.safetensors"):
        for place in (folder, folder / "train"):
            (place / name).write_text("precious\n")
    return folder


def contents(folder: Path) -> dict[str, bytes | str]:
    """All that a folder holds, with the targets of links."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
    }


def link(path: Path, target: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def link_events(run: Path, outside: Path) -> None:
    for path in run.rglob("events.out.tfevents*"):
        link(path, outside / "own.txt")


def edit_plan(sweep: Path, change: Callable[[dict[str, Any]], None]) -> None:
    plan = sweep / "plan.jsonl"
    rounds = [json.loads(line) for line in plan.read_text().splitlines()]
    change(rounds[0])
    write_lines(plan, rounds)
    if (sweep / "summary.json").exists():
        relist(sweep)


def in_first_run(**changes: Any) -> Callable[[Path, Path], None]:
    def edit(sweep: Path, outside: Path) -> None:
        values = {
            key: each.format(outside=outside) if isinstance(each, str) else each
            for key, each in changes.items()
        }
        edit_plan(sweep, lambda first: first["runs"][0].update(values))

    return edit


def in_round(**changes: Any) -> Callable[[Path, Path], None]:
    return lambda sweep, outside: edit_plan(sweep, lambda first: first.update(changes))


RUNS: dict[str, Callable[[Path, Path], None]] = {
    "the lock": lambda run, outside: link(run / ".lock", outside / "own.txt"),
    "the lock, dangling": lambda run, outside: link(run / ".lock", outside / "new.txt"),
    "a folder of events": lambda run, outside: link(run / "train", outside / "train"),
    "event files": link_events,
    "checkpoints": lambda run, outside: link(run / "checkpoints", outside),
    "metrics": lambda run, outside: link(run / "metrics.jsonl", outside / "metrics.jsonl"),
    "histograms": lambda run, outside: link(run / "histograms.jsonl", outside / "own.txt"),
    "a summary": lambda run, outside: link(run / "summary.json", outside / "own.txt"),
    "a config": lambda run, outside: link(run / "config.yaml", outside / "own.txt"),
    "weights": lambda run, outside: link(run / "weights.safetensors", outside / "own.txt"),
    "examples": lambda run, outside: link(run / "test_examples.safetensors", outside / "own.txt"),
    "a data card": lambda run, outside: link(run / "data.json", outside / "own.txt"),
    "preprocessing": lambda run, outside: link(run / "preprocessing.json", outside / "own.txt"),
    "a hard link": lambda run, outside: _hard_link(run / "metrics.jsonl", outside / "own.txt"),
    "a hard-linked lock": lambda run, outside: _hard_link(run / ".lock", outside / "own.txt"),
    "a pipe": lambda run, outside: _pipe(run / "metrics.jsonl"),
    "a pipe as histograms": lambda run, outside: _pipe(run / "histograms.jsonl"),
    "a pipe as config": lambda run, outside: _pipe(run / "config.yaml"),
    "a pipe as summary": lambda run, outside: _pipe(run / "summary.json"),
    "a pipe as lock": lambda run, outside: _pipe(run / ".lock"),
    "a pipe of events": lambda run, outside: _pipe(run / "train" / "events.out.tfevents.9.x"),
    "a folder as summary": lambda run, outside: _folder(run / "summary.json"),
    "a folder as metrics": lambda run, outside: _folder(run / "metrics.jsonl"),
}
SWEEPS: dict[str, Callable[[Path, Path], None]] = {
    "a run": lambda sweep, outside: link(next(sweep.glob("0*")), outside),
    "the stacks": lambda sweep, outside: link(sweep / "stacks", outside),
    "a stack": lambda sweep, outside: _stack(sweep, outside),
    "the plan": lambda sweep, outside: link(sweep / "plan.jsonl", outside / "own.txt"),
    "the config": lambda sweep, outside: link(sweep / "sweep.yaml", outside / "own.txt"),
    "a pipe as plan": lambda sweep, outside: _pipe(sweep / "plan.jsonl"),
    "a pipe as histograms": lambda run, outside: _pipe(run / "histograms.jsonl"),
    "a pipe as config": lambda sweep, outside: _pipe(sweep / "sweep.yaml"),
    "a directory above": in_first_run(directory="../../../outside"),
    "an absolute directory": in_first_run(directory="{outside}"),
    "a nested directory": in_first_run(directory="a/b"),
    "the sweep itself": in_first_run(directory="."),
    "no directory": in_first_run(directory=""),
    "a NUL": in_first_run(directory="a\0b"),
    "a number": in_first_run(directory=7),
    "a negative seed": in_first_run(seed=-1),
    "a huge seed": in_first_run(seed=2**63),
    "a fraction": in_first_run(cell=0.5),
    "params that are no mapping": in_first_run(params=[1]),
    "params that are no settings": in_first_run(params={"optimizer": {"lr": "x"}}),
    "params of no config": in_first_run(params={"a" * 1000: None, "": 1}),
    "a stack of no run": in_round(stacks=[[0, 1, 2, 99]]),
    "a run in two stacks": in_round(stacks=[[0, 1], [1, 2, 3]]),
    "negative indices": in_round(stacks=[[0, 1, 2, -1]]),
    "no stacks": in_round(stacks=[]),
    "data that are no text": in_round(data=[1]),
    "a device": in_round(device="cuda:99999"),
    "no device": in_round(device="../x"),
    "places that are no text": in_round(begun_in=[1]),
    "a purpose": in_round(purpose="harm"),
    "runs that are no list": in_round(runs={"a": 1}),
}


def _hard_link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.hardlink_to(target)


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _stack(sweep: Path, outside: Path) -> None:
    (sweep / "stacks").mkdir(exist_ok=True)
    link(sweep / "stacks" / "0", outside)


def call(invoke: Any, verb: str, directory: Path, scratch: Path) -> int:
    """The exit code of a verb on the directory; its errors are no tracebacks."""
    if verb == "list runs":
        ended = invoke("list", "runs", "--runs-dir", directory.parent)
    elif verb == "predict":
        (scratch / "new.csv").write_text("x0,x1,x2,x3,x4\n1,2,3,4,5\n")
        ended = invoke("predict", directory, scratch / "new.csv")
    elif verb == "export":
        ended = invoke("export", directory, scratch / "table.csv")
    else:
        first, *rest = verb.split()
        ended = invoke(first, directory, *rest)
    assert "Traceback" not in ended.output
    return int(ended.exit_code)


def tried(
    invoke: Any, small: Path, outside: Path, name: str, harm: Callable[[Path, Path], None]
) -> None:
    before = contents(outside)
    for verb in VERBS:
        directory = small / f"{name}-{verb.replace(' ', '')}"
        shutil.copytree(small / name, directory)
        harm(directory, outside)
        code = call(invoke, verb, directory, small.parent.parent)
        assert code in CODES, (verb, code)
        assert contents(outside) == before, verb
        shutil.rmtree(directory)


@pytest.mark.parametrize("state", ["finished", "unfinished"])
@pytest.mark.parametrize("case", RUNS)
def test_no_run_directory_leads_outside(
    invoke: Any, small: Path, outside: Path, case: str, state: str
) -> None:
    tried(invoke, small, outside, f"run-{state}", RUNS[case])


@pytest.mark.parametrize("state", ["finished", "unfinished"])
@pytest.mark.parametrize("case", SWEEPS)
def test_no_sweep_directory_leads_outside(
    invoke: Any, small: Path, outside: Path, case: str, state: str
) -> None:
    tried(invoke, small, outside, f"sweep-{state}", SWEEPS[case])


def test_the_directory_itself_may_be_a_link_of_the_users_own(invoke: Any, small: Path) -> None:
    link(small / "latest", small / "run-unfinished")
    assert invoke("resume", small / "latest").exit_code == 0
    assert (small / "run-unfinished" / "summary.json").is_file()
    assert invoke("compare", small / "latest").exit_code == 0
