"""`regrun list runs`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from regrun.store.study import AblatedIngredient, AblationStudy, PathStudy, write_study
from tests.support.stored_sweeps import write_stored_sweep


@pytest.fixture
def runs(make_run: Any, tmp_path: Path) -> Path:
    """Two runs and a sweep of 4 runs without a summary, begun in this order."""
    make_run("one", test=2.5)
    make_run("two", finished=False)
    cells = [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.2}]
    files = write_stored_sweep(
        tmp_path / "runs" / "toy" / "sweep-abcdef", cells, 2, lambda cell, seed: {"test/loss": 1.0}
    )
    for run in files.path.glob("*seed=*"):
        (run / "config.yaml").write_text("name: stored\n")
    folders = [tmp_path / "runs" / "toy" / name for name in ("one", "two")]
    for at, folder in enumerate([*folders, files.path]):
        for path in folder.iterdir():
            if path.is_file():
                os.utime(path, (1e9 + 60 * at, 1e9 + 60 * at))
    return tmp_path / "runs"


@pytest.mark.parametrize("columns", ["40", "80", "300"])
def test_runs_and_sweeps_have_whole_paths_a_date_and_a_status(
    invoke: Any, runs: Path, columns: str
) -> None:
    shown = invoke("list", "runs", "--runs-dir", runs, env={"COLUMNS": columns}).stdout
    places = [shown.index(str(runs / "toy" / name)) for name in ("one", "two", "sweep-abcdef")]
    assert places == sorted(places)
    assert "2001-09-09" in shown
    assert "completed" in shown and "interrupted" in shown
    assert "2.5" in shown
    assert "seed=0" not in shown  # the members stand for themselves only in their sweep


def test_of_a_folder_only_what_is_in_it_is_listed(invoke: Any, runs: Path) -> None:
    alone = invoke("list", "runs", "toy/one", "--runs-dir", runs).stdout
    assert "two" not in alone and str(runs / "toy" / "one") in alone
    members = invoke("list", "runs", runs / "toy" / "sweep-abcdef").stdout
    assert members.count("seed=") == 4
    missing = invoke("list", "runs", "nothing", "--runs-dir", runs)
    assert missing.exit_code == 2
    assert "no such folder" in missing.stderr


def test_of_a_folder_its_studies_are_listed_too(invoke: Any, runs: Path) -> None:
    solved = runs / "toy" / "path-abcdef"
    solved.mkdir()
    write_study(
        solved,
        PathStudy(verb="path", number=5, ratio=0.1, folds=2, device="cpu", stack_size=1, data=""),
    )
    ablated = runs / "toy" / "sweep-abcdef"
    write_study(
        ablated,
        AblationStudy(
            verb="ablate",
            ingredients=[AblatedIngredient(name="decay", key="optimizer.weight_decay")],
        ),
    )
    for folder in (runs / "toy", solved):
        shown = invoke("list", "runs", folder).stdout
        assert f"{solved}" in shown and "path interrupted" in shown
    assert "ablate interrupted" in invoke("list", "runs", runs / "toy").stdout
    assert invoke("list", "runs", ablated).stdout.count("seed=") == 4


def test_as_json_every_run_is_there(invoke: Any, runs: Path) -> None:
    found = json.loads(invoke("list", "runs", "--json", "--runs-dir", runs).stdout)
    assert [run["status"] for run in found].count("completed") == 5
    assert [run["status"] for run in found].count("interrupted") == 1


def test_where_there_are_none_it_says_how_to_make_one(invoke: Any, tmp_path: Path) -> None:
    result = invoke("list", "runs", "--runs-dir", tmp_path / "nowhere")
    assert result.exit_code == 0
    assert "regrun train" in result.stdout
    as_json = invoke("list", "runs", "--json", "--runs-dir", tmp_path / "nowhere")
    assert json.loads(as_json.stdout) == []
