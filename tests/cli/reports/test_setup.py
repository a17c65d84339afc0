"""How numbers came about: the axes of sweeps, the parts of reproductions, and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import regrun
from regrun.cli.reports.load import load_part
from regrun.cli.reports.parts import Grid, Setup
from regrun.results import ReproductionResult, json_document
from regrun.store.study import ReproductionStudy, write_study

BASE: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "synthetic_linear", "num_train": 12, "num_features": 3},
    "model": {"name": "linear"},
    "penalty": {"type": "l1", "strength": 0.1},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "training": {"epochs": 2},
}
SPACE = {"optimizer.lr": {"log_uniform": [0.001, 0.1]}}


def rows(grid: Grid) -> list[list[str]]:
    return [[field.text for field in row] for row in grid.rows]


def setup_of(directory: Path) -> Setup:
    return load_part(directory, []).setup


def test_a_grid_says_its_values_and_what_the_config_has(tmp_path: Path) -> None:
    axes = {"optimizer.weight_decay": [0.0, 0.5, 1.0], "optimizer.lr": [0.01, 0.02]}
    swept = regrun.sweep(BASE, axes, seeds=1, runs_dir=tmp_path, device="cpu")
    found = setup_of(swept.directory)
    assert rows(found.grids[0]) == [
        ["optimizer.weight_decay", "0, 0.5, 1", "listed values", "its default"],
        ["optimizer.lr", "0.01, 0.02", "listed values", "0.01"],
    ]
    differing, whole = found.configs
    assert "batch_size" not in differing.text
    assert "batch_size: 32" in whole.text
    assert found.settings["training.epochs"] == 2
    assert not {"optimizer.lr", "seed", "name"} & found.settings.keys()
    assert found.versions["device"] == "cpu"


def test_a_search_says_what_it_drew_from(tmp_path: Path) -> None:
    config = {
        **BASE,
        "sweep": {"search": "random", "trials": 14, "space": SPACE, "select_on_test": True},
    }
    swept = regrun.sweep(config, seeds=1, runs_dir=tmp_path, device="cpu")
    part = load_part(swept.directory, [])
    ((key, tried, drawn, base),) = rows(part.setup.grids[0])
    values = [cell.params["optimizer.lr"] for cell in swept.summary.cells]
    assert tried == f"14 values from {min(values):.4g} to {max(values):.4g}"
    assert (key, drawn, base) == ("optimizer.lr", "{log_uniform: [0.001, 0.1]}", "0.01")
    assert "the best of the settings that the search tried: it did not try all" in part.limits


def test_a_path_has_versions_data_and_strengths(tmp_path: Path) -> None:
    result = regrun.path(BASE, number=4, runs_dir=tmp_path, device="cpu")
    found = setup_of(result.directory)
    assert found.versions == result.summary.versions
    assert set(result.summary.versions) == {"regrun", "torch", "python"}
    assert found.card == result.summary.data
    assert found.axes["strength of the penalty"].startswith("4, from ")
    assert "type: l1" in found.configs[0].text


@pytest.mark.parametrize("is_there", [True, False])
def test_a_reproduction_has_the_config_and_data_of_each_part(
    tmp_path: Path, is_there: bool
) -> None:
    directory = tmp_path / "tiny" / "reproduce-aaaaaa"
    directory.mkdir(parents=True)
    axes = {"optimizer.weight_decay": [0.0, 1.0]}
    swept = regrun.sweep(BASE, axes, seeds=2, runs_dir=tmp_path, device="cpu")
    path = regrun.path(BASE, number=4, runs_dir=tmp_path, device="cpu")
    if is_there:
        swept.directory.rename(directory / "1-judged")
        path.directory.rename(directory / "2-path")
    result = ReproductionResult(
        name="tiny", title="Tiny", source="s", budget="b", published_budget="", remark="",
        verdict="agrees", methods=[], claims=[], seconds=1, runs=4, completed=4, diverged=0,
        failed=0, runs_in=["moved/1-judged", "moved/2-path"],
    )  # fmt: skip
    (directory / "summary.json").write_bytes(json_document(result))
    write_study(directory, ReproductionStudy(verb="reproduce", name="tiny", seeds=2, device="cpu"))
    part = load_part(directory, [])
    (grid,) = part.setup.grids
    if not is_there:
        assert [row[1] for row in rows(grid)] == ["not there any more"] * 2
        assert part.setup == Setup(configs=[], grids=[grid])
        return
    data = "synthetic_linear: regression of y from 3 features; 12 train, 100 test"
    assert rows(grid) == [
        ["1-judged", "4 runs in 2 cells", data],
        ["2-path", "a path of 4 strengths", data],
    ]
    assert [each.heading for each in part.setup.configs] == [
        "1-judged: what differs from the defaults",
        "2-path: what differs from the defaults",
    ]
    assert part.setup.card is not None
    assert part.setup.versions == {**path.summary.versions, "device": "cpu"}
    assert f"regrun report {directory / '1-judged'}" in part.commands
