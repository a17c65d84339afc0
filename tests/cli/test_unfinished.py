"""Advice about runs that have not ended is right: what it says can be done, and is enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from regrun.store.lock import exclusive
from regrun.store.study import PathStudy, write_study

CONFIG = """\
name: little
dataset: {name: synthetic_linear, num_features: 6, num_train: 10, num_test: 15}
model: {name: linear}
optimizer: {name: sgd, lr: 0.01}
training: {epochs: 2, batch_size: 5}
"""


@pytest.fixture
def sweep(invoke: Any, tmp_path: Path) -> Path:
    """A sweep of 6 runs that was stopped: the last 4 have no summary."""
    config = tmp_path / "little.yaml"
    config.write_text(CONFIG)
    invoke(
        "sweep",
        config,
        "optimizer.lr=0.01,0.02,0.03",
        "--seeds",
        2,
        "--runs-dir",
        tmp_path / "runs",
    )
    (directory,) = (tmp_path / "runs").glob("*/sweep-*")
    for path in [directory / "summary.json", *directory.glob("000[12]*/summary.json")]:
        path.unlink()
    return directory


def test_members_of_a_sweep_point_to_the_sweep_in_one_line(invoke: Any, sweep: Path) -> None:
    shown = invoke("compare", sweep.parent)
    assert shown.exit_code == 0
    assert shown.stderr.splitlines() == [
        f"left out: {sweep}: 4 runs interrupted; to finish it: regrun resume {sweep}"
    ]


def test_what_runs_is_not_to_be_resumed(invoke: Any, make_run: Any, sweep: Path) -> None:
    alone = make_run("alone", finished=False)
    with exclusive(alone), exclusive(sweep):
        shown = invoke("compare", sweep.parent, alone)
    assert "resume" not in shown.stderr
    assert f"left out: {alone}: running" in shown.stderr
    assert f"left out: {sweep}: 4 runs running" in shown.stderr


def test_resume_of_a_folder_names_what_is_unfinished_below(
    invoke: Any, make_run: Any, sweep: Path
) -> None:
    alone = make_run("alone", name="little", finished=False)
    shown = invoke("resume", sweep.parent)
    assert shown.exit_code == 2
    assert f"regrun resume {sweep}\n" in shown.stderr
    assert f"regrun resume {alone}\n" in shown.stderr
    assert "0001" not in shown.stderr
    done = invoke("resume", sweep.parent.parent.parent)
    assert done.exit_code == 2


def test_the_advice_can_be_followed(invoke: Any, sweep: Path) -> None:
    command = invoke("compare", sweep.parent).stderr.rpartition("regrun ")[2].split()
    assert invoke(*command).exit_code == 0
    assert invoke("compare", sweep.parent).stderr == ""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path that was stopped."""
    directory = tmp_path / "runs" / "little" / "path-abcdef"
    directory.mkdir(parents=True)
    study = PathStudy(
        verb="path", number=5, ratio=0.1, folds=2, device="cpu", stack_size=1, data=""
    )
    write_study(directory, study)
    return directory


def test_resume_of_a_folder_names_the_paths_below(invoke: Any, path: Path) -> None:
    shown = invoke("resume", path.parent)
    assert shown.exit_code == 2
    assert f"{path}: path interrupted; to finish it: regrun resume {path}" in shown.stderr
    with exclusive(path):
        running = invoke("resume", path.parent)
    assert f"{path}: path running" in running.stderr
    assert "regrun resume" not in running.stderr


@pytest.mark.parametrize("verb", ["compare", "view", "plot", "report"])
def test_what_finds_no_run_in_a_folder_names_the_path_in_it(
    invoke: Any, path: Path, verb: str
) -> None:
    shown = invoke(verb, path.parent)
    assert shown.exit_code == 2
    assert f"{path.parent} has no finished run, but path-abcdef" in shown.stderr
    assert f"regrun resume {path}" in shown.stderr
