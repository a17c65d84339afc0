"""Sizes far beyond any machine: refused with the figure, the limit and what allows it, at once."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import program

LINEAR = """\
dataset: {name: synthetic_linear, num_features: 6, num_train: 10, num_test: 15}
model: {name: linear}
optimizer: {name: sgd, lr: 0.01}
training: {epochs: 1}
"""
CLASSES = """\
dataset: {name: digits, num_train: 60}
model: {name: mlp, hidden: [4]}
penalty: {type: l2, strength: 0.1}
optimizer: {lr: 0.1}
training: {epochs: 1}
"""
PATH = """\
dataset: {name: diabetes}
model: {name: linear}
penalty: {type: l1, strength: 1}
optimizer: {lr: 0.1}
"""
LARGE = "(or --allow-large to try)"

MOST_BYTES = 150_000_000
"""The modules of a verb, on its first call, and a config."""


class Case(NamedTuple):
    verb: str
    config: str
    words: tuple[str, ...]
    said: str
    """What the message has."""
    way_out: str = LARGE


def searching(search: str, trials: int) -> str:
    axis = "optimizer.lr: {log_uniform: [1e-3, 1]}, optimizer.weight_decay: {uniform: [0, 1]}"
    return f"sweep={{search: {search}, trials: {trials}, space: {{{axis}}}, seeds: 4}}"


def layers(count: int) -> str:
    return f"model.hidden=[{','.join(['2'] * count)}]"


BILLION = 10**9
WIDE = [f"{key}=1..100" for key in ("optimizer.lr", "optimizer.weight_decay", "dataset.num_test")]
CASES = {
    "epochs": Case(
        "train", LINEAR, ("training.epochs=1000000000",), "1,000,000,000 evaluations in all"
    ),
    "epochs beyond the schema": Case(
        "train", LINEAR, ("training.epochs=1000000000000",), "is above 1000000000", ""
    ),
    "steps": Case(
        "train",
        LINEAR,
        ("training.epochs=1000000000", "training.batch_size=1", "training.evaluate_every=1000000"),
        "10,000,000,000 optimizer steps in all, more than 1,000,000,000",
    ),
    "histograms": Case(
        "train",
        LINEAR,
        ("training.epochs=1000000", "training.evaluate_every=1000", "training.histograms_every=1"),
        "the histograms of a run take about 1.8 GB, more than 1.0 GB",
    ),
    "epochs of inspect": Case(
        "inspect", LINEAR, ("training.epochs=1000000000",), "1,000,000,000 evaluations in all"
    ),
    "seeds": Case("sweep", LINEAR, ("--seeds", "1000000000"), "1,000,000,000 runs (1 cell, "),
    "seeds of a dry run": Case(
        "sweep", LINEAR, ("--seeds", "1000000000", "--dry-run"), "more than 100,000"
    ),
    "seeds beyond the schema": Case(
        "sweep", LINEAR, ("--seeds", "1000000000000"), "is above 2147483647", ""
    ),
    "seeds of inspect": Case(
        "inspect", LINEAR, ("sweep.seeds=1000000000",), "1,000,000,000 runs (1 cell, "
    ),
    "seeds of an ablation": Case(
        "ablate", CLASSES, ("--seeds", "1000000000"), "2,000,000,000 runs (2 cells, "
    ),
    "grid of a million": Case(
        "sweep", LINEAR, tuple(WIDE), "1,000,000 runs (1,000,000 cells, 1 seed each)"
    ),
    "grid of 10^8": Case(
        "sweep",
        LINEAR,
        ("optimizer.lr=1..10000", "optimizer.weight_decay=1..10000"),
        "sweep.grid: 100,000,000 runs (100,000,000 cells, 1 seed each), more than 100,000",
    ),
    "grid of 10^8 in the file": Case(
        "sweep",
        LINEAR + "sweep: {grid: {optimizer.lr: 1..10000, optimizer.weight_decay: 1..10000}}\n",
        (),
        "config.yaml:5:15: sweep.grid: 100,000,000 runs",
    ),
    "range": Case("sweep", LINEAR, ("optimizer.lr=1..1000000000",), "more than 10,000 values", ""),
    "range of numbers": Case(
        "sweep", LINEAR, ("optimizer.lr=0..1:1000000000",), "needs 2 to 10,000 values", ""
    ),
    "range of many digits": Case(
        "sweep", LINEAR, ("optimizer.lr=0..1:" + "9" * 5000,), "needs 2 to 10,000 values", ""
    ),
    "range as Python writes it": Case(
        "sweep", LINEAR, (f"optimizer.lr=range({10**30})",), "write optimizer.lr=0..9999", ""
    ),
    "trials": Case(
        "sweep", LINEAR, (searching("random", BILLION),), "4,000,000,000 runs (1,000,000,000 cells"
    ),
    "trials of tpe": Case("sweep", LINEAR, (searching("tpe", BILLION),), "use fewer trials"),
    "trials of qmc": Case("sweep", LINEAR, (searching("qmc", BILLION),), "use fewer trials"),
    "trials of cmaes": Case("sweep", LINEAR, (searching("cmaes", BILLION),), "use fewer trials"),
    "trials of a race": Case("sweep", LINEAR, (searching("race", BILLION),), "use fewer trials"),
    "confirmation": Case(
        "sweep",
        LINEAR,
        ("--seeds", "3", "--confirm", "1000000000"),
        "1,000,000,000 replicates of each finalist, more than 100,000",
    ),
    "workers": Case(
        "sweep",
        LINEAR,
        ("--seeds", "2000", "sweep.stack_size=1", "sweep.vary=[seed]", "--workers", "1000000000"),
        "--workers 1000000000: 2,000 processes take 60.0 GB or more, and 20.0 GB of memory are",
    ),
    "values on the command line": Case(
        "sweep",
        LINEAR,
        (f"optimizer.lr={','.join(str(1 + i) for i in range(20_000))}",),
        "the config has more than 10,000 values",
        "",
    ),
    "penalties": Case(
        "train",
        LINEAR + f"penalty: [{', '.join(['{type: l2, strength: 1}'] * 1500)}]\n",
        (),
        "keys and values with all defaults, more than 10,000",
        "",
    ),
    "layers": Case("train", CLASSES, (layers(9_000),), "9,000 layers, more than 1,000"),
    "layers of inspect": Case("inspect", CLASSES, (layers(9_000),), "9,000 layers"),
    "layers of a sweep": Case(
        "sweep", CLASSES, (layers(9_000), "--seeds", "2"), "9,000 layers, more than 1,000"
    ),
    "units": Case(
        "train", CLASSES, ("model.hidden=[1000000000]",), "75,000,000,010 parameters need about"
    ),
    "units beyond all addresses": Case(
        "train", CLASSES, ("model.hidden=[2147483647,2147483647]",), "2147483647, 2147483647", ""
    ),
    "units of a sweep": Case(
        "sweep", CLASSES, ("model.hidden=[1000000000]", "--seeds", "2"), "parameters need about"
    ),
    "units of inspect": Case(
        "inspect", CLASSES, ("model.hidden=[1000000000]",), "parameters need about"
    ),
    "features": Case(
        "train", LINEAR, ("dataset.num_features=2000000000",), "the examples take 400.0 GB"
    ),
    "examples": Case(
        "train", LINEAR, ("dataset.num_train=2000000000",), "the examples take 112.0 GB"
    ),
    "test examples": Case(
        "train", LINEAR, ("dataset.num_test=2000000000",), "the examples take 112.0 GB"
    ),
    "examples beyond the schema": Case(
        "train", LINEAR, ("dataset.num_train=1000000000000",), "is above 2147483647", ""
    ),
    "examples of a path": Case(
        "path",
        PATH,
        ("dataset={name: synthetic_linear, num_train: 2000000000}",),
        "the examples take 3.2 TB",
    ),
    "examples of an ablation": Case(
        "ablate",
        CLASSES,
        ("dataset={name: synthetic_linear, num_train: 2000000000}",),
        "the examples take 3.2 TB",
    ),
    "examples to look at": Case(
        "inspect", LINEAR, ("--data", "dataset.num_train=2000000000"), "the examples take 112.0 GB"
    ),
    "strengths": Case("path", PATH, ("--number", "1000000000"), "6,000,000,000 models to fit"),
    "folds": Case("path", PATH, ("--folds", "1000000000"), "100,000,000,100 models to fit"),
    "dots": Case("train", LINEAR, ("a." * 1000 + "a=1",), "nested more than 50 deep", ""),
    "dots of an axis": Case(
        "sweep", LINEAR, ("optimizer." * 1000 + "lr=1,2",), "nested more than 50 deep", ""
    ),
    "brackets": Case(
        "train", LINEAR, ("optimizer.lr=" + "[" * 1000 + "]" * 1000,), "nested more than 50", ""
    ),
    "nesting": Case("train", LINEAR + "a: " + "{a: " * 1000, (), "nested more than 50 deep", ""),
}


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 GB are free, on every machine."""
    monkeypatch.setattr("regrun.execution.budget.available_bytes", lambda _: 20 * 10**9)
    monkeypatch.setattr("regrun.sweeps.run.free_bytes", lambda: 20 * 10**9)


def refused(case: Case, folder: Path) -> Any:
    """Call regrun; memory must have stayed small, and nothing may have been made."""
    path = folder / "config.yaml"
    path.write_text(case.config)
    place = [] if case.verb == "inspect" else ["--runs-dir", folder / "runs"]
    tracemalloc.start()
    try:
        ended = program.invoke(case.verb, path, *case.words, *place)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES
    assert not list(folder.glob("runs/*"))
    return ended


@pytest.mark.parametrize("name", CASES)
def test_what_is_too_large_is_refused_with_its_figure(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    ended = refused(case, tmp_path)
    assert ended.exit_code == 2
    assert case.said in ended.stderr
    assert case.way_out in ended.stderr
    assert len(ended.stderr) < 3_000


def test_a_refused_reproduction_has_trained_nothing(tmp_path: Path) -> None:
    words = ("--seeds", "1000000000", "--runs-dir", tmp_path)
    ended = program.invoke("reproduce", "weight_decay", *words)
    assert ended.exit_code == 2
    assert "--seeds 1000000000: " in ended.stderr
    assert LARGE in ended.stderr
    assert not list(tmp_path.iterdir())


SENSIBLE = {
    "a million epochs": ("inspect", "training.epochs=1000000"),
    "ten thousand cells": (
        "sweep", "optimizer.lr=1..100", "optimizer.weight_decay=1..10", "sweep.seeds=10",
    ),
    "a thousand seeds": ("sweep", "sweep.seeds=1000", "sweep.vary=[seed]"),
    "wide layers": ("inspect", "model={name: mlp, hidden: [5000, 5000]}"),
    "a hundred layers": ("inspect", "model={name: mlp, hidden: [" + "8," * 99 + "8]}"),
}  # fmt: skip


@pytest.mark.parametrize("name", SENSIBLE)
def test_what_is_sensible_is_allowed(name: str, tmp_path: Path) -> None:
    verb, *words = SENSIBLE[name]
    path = tmp_path / "config.yaml"
    path.write_text(LINEAR)
    ended = program.invoke(verb, path, *words, *(["--dry-run"] if verb == "sweep" else []))
    assert ended.exit_code == 0, ended.stderr


def test_a_finished_run_does_not_grow_beyond_all_bounds(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LINEAR)
    program.invoke("train", path, "--runs-dir", tmp_path / "runs")
    (run,) = (tmp_path / "runs").glob("*/*")
    before = {each.name: each.read_bytes() for each in run.iterdir() if each.is_file()}
    ended = program.invoke("resume", run, "training.epochs=1000000000")
    assert ended.exit_code == 2
    assert "1,000,000,000 evaluations in all" in ended.stderr
    assert {each.name: each.read_bytes() for each in run.iterdir() if each.is_file()} == before


def test_a_finished_sweep_does_not_grow_beyond_all_bounds(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LINEAR)
    program.invoke("sweep", path, "--seeds", "2", "--runs-dir", tmp_path / "runs")
    (sweep,) = (tmp_path / "runs").glob("*/*")
    ended = program.invoke("resume", sweep, "--seeds", "1000000000")
    assert ended.exit_code == 2
    assert "1,000,000,000 runs (1 cell, 1,000,000,000 seeds each), more than" in ended.stderr
    assert len(list(sweep.glob("*/config.yaml"))) == 2


ASKS = {
    "train": ("model.hidden=[200000,200000]",),
    "inspect": ("model.hidden=[200000,200000]",),
    "sweep": ("model.hidden=[200000,200000]", "--seeds", "2"),
    "path": ("dataset={name: synthetic_linear, num_features: 2000000000, num_train: 2000}",),
}


@pytest.mark.parametrize("verb", ASKS)
def test_memory_that_was_allowed_and_is_not_there_is_named(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(PATH)
    place = [] if verb == "inspect" else ["--runs-dir", tmp_path / "runs"]
    model = [] if verb == "path" else ["model={name: mlp}", "penalty=null"]
    ended = program.invoke(verb, path, *model, *ASKS[verb], "--allow-large", *place)
    assert ended.exit_code == 4
    assert re.search(r"out of memory: \d+\.\d [TGM]B were asked for at once; ", ended.stderr)
    assert "use fewer or smaller examples" in ended.stderr
