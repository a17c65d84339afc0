"""Several directories side by side: the keys in which they differ, and the limits of that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import regrun
from regrun.cli.reports.comparison import comparison_of
from regrun.cli.reports.load import load_part
from regrun.cli.reports.parts import Grid, ReportPart

BASE: dict[str, Any] = {
    "name": "first",
    "dataset": {"name": "synthetic_linear", "num_train": 12, "num_features": 3},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "training": {"epochs": 2},
}


def part_of(runs: Path, changes: dict[str, Any], axes: dict[str, list[Any]]) -> ReportPart:
    config = {**BASE, **changes}
    swept = regrun.sweep(config, axes, seeds=2, runs_dir=runs, device="cpu")
    return load_part(swept.directory, [])


def rows(grid: Grid) -> list[list[str]]:
    return [[field.text for field in row] for row in grid.rows]


DECAY = {"optimizer.weight_decay": [0.0, 1.0]}
CASES: dict[str, tuple[dict[str, Any], dict[str, list[Any]], list[list[str]]]] = {
    "axes": ({"name": "other"}, DECAY, [["none", "", ""]]),
    "a value": ({"training": {"epochs": 3}}, DECAY, [["training.epochs", "2", "3"]]),
    "a default": ({"loss": "half_mse"}, DECAY, [["loss", "auto", "half_mse"]]),
    "an axis": (
        {"optimizer": {"name": "sgd", "lr": 0.01, "weight_decay": 2.0}},
        {"optimizer.lr": [0.01, 0.02]},
        [["optimizer.lr", "0.01", "an axis"], ["optimizer.weight_decay", "an axis", "2"]],
    ),
    "a key of another kind": (
        {"optimizer": {"name": "adam", "lr": 0.01, "betas": [0.8, 0.9]}},
        DECAY,
        [["optimizer.name", "sgd", "adam"], ["optimizer.betas", "–", "[0.8, 0.9]"]],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_keys_that_differ_are_those_that_a_config_says(tmp_path: Path, case: str) -> None:
    changes, axes, expected = CASES[case]
    first = part_of(tmp_path, {}, DECAY)
    second = part_of(tmp_path, changes, axes)
    found = comparison_of([first, second])
    assert found is not None
    answers, differing = found.grids
    assert rows(differing) == expected
    assert differing.headers == ["key", str(first.directory), str(second.directory)]
    said = {row[0]: row[1:] for row in rows(answers)}
    assert said["answer"] == [first.answer, second.answer]
    assert said["axes"][0] == "optimizer.weight_decay: 0, 1"
    assert said["runs"] == ["4 completed", "4 completed"]


def test_different_test_sets_and_metrics_are_said(tmp_path: Path) -> None:
    data = {"dataset": {**BASE["dataset"], "seed": 3, "validation": 0.25}}
    parts = [part_of(tmp_path, changes, DECAY) for changes in ({}, data)]
    alike = comparison_of([parts[0], parts[0]])
    found = comparison_of(parts)
    assert found is not None
    assert alike is not None
    assert [line.partition(":")[0] for line in found.limits if line not in alike.limits] == [
        "the directories were measured on different test sets",
        "the directories were not selected on the same metric",
    ]
    assert len(alike.limits) == 1


def test_one_directory_is_compared_with_nothing(tmp_path: Path) -> None:
    assert comparison_of([part_of(tmp_path, {}, DECAY)]) is None
