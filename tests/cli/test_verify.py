"""`regrun verify` finds what is damaged, and --repair rebuilds what can be rebuilt."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import regrun
from regrun.store.study import ReproductionStudy, write_study
from tests.support.tampering import age

CONFIG: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "synthetic_linear", "num_train": 12, "num_features": 5},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "training": {"epochs": 3, "ema": 0.9, "test_examples": True, "histograms_every": 1},
}
GRID: dict[str, Any] = {**CONFIG, "sweep": {"grid": {"optimizer.lr": [0.01, 0.02]}, "seeds": 2}}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("original") / "runs"
    regrun.train(CONFIG, runs_dir=runs, device="cpu")
    regrun.sweep(GRID, runs_dir=runs, device="cpu")
    return runs


@pytest.fixture
def runs(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "runs")
    return tmp_path / "runs"


def a_run(runs: Path) -> Path:
    return next(runs.glob("small/seed*"))


def a_sweep(runs: Path) -> Path:
    return next(runs.glob("small/sweep*"))


def events(directory: Path) -> Path:
    return next(directory.glob("events*"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def verified(invoke: Any, runs: Path, *options: str) -> tuple[int, list[dict[str, Any]]]:
    ended = invoke("verify", runs, "--json", *options)
    return ended.exit_code, json.loads(ended.stdout)["damage"]


def test_what_was_left_alone_is_as_it_was_left(invoke: Any, runs: Path) -> None:
    ended = invoke("verify", runs)
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == "5 runs, 1 sweep: all as they were left\n"


def test_a_run_that_diverged_before_its_first_evaluation_is_as_it_was_left(
    invoke: Any, tmp_path: Path
) -> None:
    lost = {**CONFIG, "optimizer": {"name": "sgd", "lr": 1e30}}
    for every, name in ((0, "without"), (1, "with")):
        training = {"epochs": 4, "evaluate_every": 4, "histograms_every": every}
        run = regrun.train({**lost, "training": training}, runs_dir=tmp_path / name)
        assert run.summary.status == "diverged"
        assert run.metrics.empty
        assert verified(invoke, tmp_path / name) == (0, [])


DAMAGED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a config": (lambda runs: a_run(runs) / "config.yaml", "flip"),
    "metrics": (lambda runs: a_run(runs) / "metrics.jsonl", "flip"),
    "no metrics": (lambda runs: a_run(runs) / "metrics.jsonl", "unlink"),
    "histograms": (lambda runs: a_run(runs) / "histograms.jsonl", "flip"),
    "no histograms": (lambda runs: a_run(runs) / "histograms.jsonl", "unlink"),
    "weights": (lambda runs: a_run(runs) / "weights.safetensors", "flip"),
    "an average": (lambda runs: a_run(runs) / "weights_ema.safetensors", "unlink"),
    "test examples": (lambda runs: a_run(runs) / "test_examples.safetensors", "flip"),
    "a data card": (lambda runs: a_run(runs) / "data.json", "flip"),
    "preprocessing": (lambda runs: a_run(runs) / "preprocessing.json", "cut"),
    "a sweep's config": (lambda runs: a_sweep(runs) / "sweep.yaml", "cut"),
    "a plan": (lambda runs: a_sweep(runs) / "plan.jsonl", "flip"),
    "a member": (lambda runs: next(a_sweep(runs).glob("*/metrics.jsonl")), "flip"),
    "a link": (lambda runs: a_run(runs) / "metrics.jsonl", "link"),
    "a pipe": (lambda runs: a_run(runs) / "log.txt", "pipe"),
    "a linked folder": (lambda runs: a_run(runs) / "train" / "more", "link"),
}
REBUILT: dict[str, tuple[Callable[[Path], Path], str]] = {
    "event files": (lambda runs: events(a_run(runs) / "train"), "flip"),
    "event files cut": (lambda runs: events(a_run(runs)), "cut"),
    "no event files": (lambda runs: events(a_run(runs) / "test"), "unlink"),
    "a summary": (lambda runs: a_run(runs) / "summary.json", "flip"),
    "a summary cut": (lambda runs: a_run(runs) / "summary.json", "cut"),
    "a sweep's summary": (lambda runs: a_sweep(runs) / "summary.json", "flip"),
    "a member's summary": (lambda runs: next(a_sweep(runs).glob("*/summary.json")), "flip"),
    "no summary of a member": (lambda runs: next(a_sweep(runs).glob("*/summary.json")), "unlink"),
    "a member's events": (lambda runs: events(next(a_sweep(runs).glob("0001*"))), "unlink"),
}


def damage(runs: Path, find: Callable[[Path], Path], how: str) -> Path:
    path = find(runs)
    if how == "flip":
        flip(path)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        path.unlink(missing_ok=True)
    if how == "link":
        path.symlink_to(runs)
    elif how == "pipe":
        os.mkfifo(path)
    return path


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_that_cannot_be_mended_is_named_and_stays(
    invoke: Any, runs: Path, case: str
) -> None:
    path = damage(runs, *DAMAGED[case])
    for options in ((), ("--repair",)):
        code, found = verified(invoke, runs, *options)
        assert code == 5
        assert str(path) in [each["path"] for each in found]
        assert not any(each.get("repaired") for each in found)


@pytest.mark.parametrize("case", REBUILT)
def test_what_can_be_rebuilt_is_rebuilt(invoke: Any, runs: Path, case: str) -> None:
    path = damage(runs, *REBUILT[case])
    code, found = verified(invoke, runs)
    assert code == 5
    assert {each["path"] for each in found} <= {str(path), *map(str, path.parents)}
    code, found = verified(invoke, runs, "--repair")
    assert code == 0
    assert all(each["repaired"] for each in found)
    assert verified(invoke, runs) == (0, [])


def test_a_rebuilt_summary_has_the_numbers_of_the_lost_one(
    invoke: Any, original: Path, runs: Path
) -> None:
    (a_run(runs) / "summary.json").write_text("{")
    assert verified(invoke, runs, "--repair")[0] == 0
    lost, rebuilt = (regrun.load_run(a_run(each)).summary for each in (original, runs))
    unknown = {"run_dir", "seconds", "versions"}
    assert rebuilt.model_dump(exclude=unknown) == lost.model_dump(exclude=unknown)


def test_an_early_stopped_run_keeps_its_damage(invoke: Any, tmp_path: Path) -> None:
    stopping = {"metric": "train/loss", "patience": 1}
    training = {"epochs": 3, "early_stopping": stopping}
    runs = tmp_path / "runs"
    run = regrun.train({**CONFIG, "training": training}, runs_dir=runs, device="cpu")
    flip(run.directory / "summary.json")
    ended = invoke("verify", runs, "--repair")
    assert ended.exit_code == 5
    assert "which evaluation early stopping chose is not known" in ended.stderr


def test_runs_of_versions_without_checksums_are_checked_as_far_as_possible(
    invoke: Any, runs: Path
) -> None:
    age(a_run(runs))
    assert verified(invoke, runs) == (0, [])
    metrics = a_run(runs) / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"step":', '"stap":', 1))
    code, found = verified(invoke, runs)
    assert (code, [each["path"] for each in found]) == (5, [str(metrics)])


def test_a_damaged_run_is_named_and_left_out_of_the_table(invoke: Any, runs: Path) -> None:
    sweep = a_sweep(runs)
    path = next(sweep.glob("0001*/summary.json"))
    flip(path)
    for place in (sweep, runs):
        ended = invoke("compare", place, "--csv")
        assert ended.exit_code == 5
        assert f"{path}: damaged" in ended.stderr
        assert "1 damaged, left out" in ended.stderr
        assert len(ended.stdout.splitlines()) > 2


def test_a_list_names_what_is_damaged_and_shows_the_rest(invoke: Any, runs: Path) -> None:
    flip(a_run(runs) / "summary.json")
    ended = invoke("list", "runs", "--runs-dir", runs)
    assert ended.exit_code == 5
    assert f"{a_run(runs) / 'summary.json'}: damaged" in ended.stderr
    assert str(a_sweep(runs)) in ended.stdout
    flip(a_sweep(runs) / "summary.json")
    ended = invoke("list", "runs", "--runs-dir", runs, "--json")
    assert ended.exit_code == 5
    assert len(json.loads(ended.stdout)) == 4  # the runs of the sweep


def test_a_sweep_whose_plan_is_damaged_is_left_out_of_a_table_of_all(
    invoke: Any, runs: Path
) -> None:
    flip(a_sweep(runs) / "plan.jsonl")
    ended = invoke("compare", runs, "--json")
    assert ended.exit_code == 5
    assert f"{a_sweep(runs) / 'plan.jsonl'}: damaged" in ended.stderr
    (cell,) = json.loads(ended.stdout)
    assert [run["run_dir"] for run in cell["runs"]] == [cell["runs"][0]["run_dir"]]
    assert Path(cell["runs"][0]["run_dir"]).name == a_run(runs).name


def test_a_lost_line_of_a_plan_is_noticed_by_all_that_read_it(invoke: Any, runs: Path) -> None:
    plan = a_sweep(runs) / "plan.jsonl"
    plan.write_bytes(b"")
    for verb in ("compare", "resume", "verify"):
        ended = invoke(verb, a_sweep(runs))
        assert ended.exit_code == 5, ended.output
        assert str(plan) in ended.output


PATH: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "synthetic_linear", "num_train": 12, "num_features": 3},
    "model": {"name": "linear"},
    "penalty": {"type": "l1", "strength": 0.1},
    "optimizer": {"name": "sgd", "lr": 0.01},
}


@pytest.mark.parametrize("name", ["study.json", "path.yaml", "summary.json"])
def test_a_path_is_checked_too(invoke: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "path.yaml").write_text(json.dumps(PATH))
    runs = tmp_path / "runs"
    ended = invoke("path", tmp_path / "path.yaml", "--runs-dir", runs, "--number", 4)
    assert ended.exit_code == 0, ended.output
    assert invoke("verify", runs).stdout == "0 runs, 0 sweeps, 1 study: all as they were left\n"
    file = next(runs.glob(f"small/path-*/{name}"))
    flip(file)
    code, found = verified(invoke, runs)
    assert (code, [each["path"] for each in found]) == (5, [str(file)])


@pytest.mark.parametrize("below", ["", "small", "small/reproduce-aaaaaa"])
def test_a_path_in_the_directory_of_a_reproduction_is_checked_too(
    invoke: Any, tmp_path: Path, below: str
) -> None:
    (tmp_path / "path.yaml").write_text(json.dumps(PATH))
    ended = invoke("path", tmp_path / "path.yaml", "--runs-dir", tmp_path, "--number", 4)
    assert ended.exit_code == 0, ended.output
    runs = tmp_path / "runs"
    held = runs / "small" / "reproduce-aaaaaa"
    held.parent.mkdir(parents=True)
    held.mkdir()
    write_study(held, ReproductionStudy(verb="reproduce", name="tiny", seeds=1, device="cpu"))
    next(tmp_path.glob("small/path-*")).rename(held / "path")
    said = invoke("verify", runs / below, held, runs / below)
    assert said.stdout == "0 runs, 0 sweeps, 2 studies: all as they were left\n"
    listed = json.loads(invoke("list", "runs", "--runs-dir", runs, "--json").stdout)
    assert [each["study"] for each in listed] == ["reproduce"]
    flip(held / "path" / "summary.json")
    code, found = verified(invoke, runs / below)
    assert (code, [each["path"] for each in found]) == (5, [str(held / "path" / "summary.json")])


def test_the_effects_of_an_ablation_are_rebuilt_too(invoke: Any, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(json.dumps({**PATH, "training": {"epochs": 2}}))
    runs = tmp_path / "runs"
    ended = invoke("ablate", tmp_path / "small.yaml", "--seeds", 3, "--runs-dir", runs)
    assert ended.exit_code == 0, ended.output
    summary = a_sweep(runs) / "summary.json"
    lost = json.loads(summary.read_bytes())
    flip(summary)
    assert verified(invoke, runs, "--repair")[0] == 0
    rebuilt = json.loads(summary.read_bytes())
    assert rebuilt["effects"] == lost["effects"]
    assert {key for key in lost if lost[key] != rebuilt[key]} <= {"seconds", "checksum"}
