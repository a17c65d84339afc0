"""Axes, cells and their seeds."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrun.config.load import Loaded, config_from_mapping, load_config
from regrun.config.sweeps import Distribution
from regrun.errors import ConfigError
from regrun.sweeps.space import (
    MOST_CORNERS,
    SHOWN,
    PlannedCell,
    cell_label,
    corner_cells,
    grid_cells,
    identity,
    validate_cells,
)

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("abc,[]{}'\" :#é", max_size=6),
)
VALUES = st.one_of(
    LEAVES, st.lists(LEAVES, max_size=3), st.dictionaries(st.text("abc"), LEAVES, max_size=2)
)


def loaded(sweep: dict[str, Any] | None = None) -> Loaded:
    config: dict[str, Any] = {
        "dataset": {"name": "synthetic_linear"},
        "model": {"name": "mlp", "hidden": [3, 4]},
        "optimizer": {"name": "sgd", "lr": 0.1},
    }
    return config_from_mapping(config | ({"sweep": sweep} if sweep else {}))


def test_the_first_axis_of_a_grid_is_the_slowest() -> None:
    cells = grid_cells({"a": [1, 2], "b.c": ["x", "y", [0, 0]]})
    expected = list(itertools.product([1, 2], ["x", "y", [0, 0]]))
    assert [(cell.params["a"], cell.params["b.c"]) for cell in cells] == expected
    assert [cell.index for cell in cells] == list(range(6))
    assert list(cells[0].params) == ["a", "b.c"]


def test_an_empty_grid_is_one_cell() -> None:
    assert grid_cells({}) == [PlannedCell(0, {})]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.1, 0.2, 0.1], "sweep.grid.optimizer.lr.2: 0.1 appears twice on this axis"),
        ([1, 1.0], "sweep.grid.optimizer.lr.1: 1 appears twice on this axis"),
        ([[0, 0.5], (0.0, 0.5)], "sweep.grid.optimizer.lr.1: [0, 0.5] appears twice on this axis"),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], "{b: 2, a: 1} appears twice on this axis"),
    ],
)
def test_a_value_that_stands_twice_on_an_axis_is_refused(values: list[Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        grid_cells({"optimizer.lr": values})
    assert message in str(caught.value)


def test_true_is_not_one_and_a_text_is_not_its_number() -> None:
    assert len(grid_cells({"a": [1, True, "1", [1], [True], None]})) == 6


def test_a_duplicate_is_located_where_the_file_holds_it(tmp_path: Any) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "dataset: {name: digits}\nmodel: {name: linear}\noptimizer: {name: sgd, lr: 1}\n"
        "sweep: {grid: {optimizer.lr: [1, 2, 1]}}\n"
    )
    config = load_config(path)
    assert config.config.sweep is not None
    with pytest.raises(ConfigError) as caught:
        grid_cells(config.config.sweep.grid)
    assert f"{path}:4:37: " in str(config.source.locate(caught.value))


def test_axes_of_the_command_line_become_the_grid_of_the_loaded_config(tmp_path: Any) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "dataset: {name: digits}\nmodel: {name: mlp, hidden: [3, 4]}\n"
        "optimizer: {name: sgd, lr: 1}\nsweep: {grid: {optimizer.lr: [1, 2]}, seeds: 3}\n"
    )
    overrides = ["model.dropout=[0,0],[0.2,0.5]", "seed=3", "optimizer.lr=5,6"]
    sweep = load_config(path, overrides, axes=True).config.sweep
    assert sweep is not None
    assert sweep.grid == {"optimizer.lr": (5, 6), "model.dropout": ([0, 0], [0.2, 0.5])}
    assert sweep.seeds == 3
    with pytest.raises(ConfigError, match=r"^override 2: optimizer\.lrr=1,2: unknown key"):
        load_config(path, ["seed=1", "optimizer.lrr=1,2"], axes=True)
    in_python = config_from_mapping(
        path, {"seed": 3}, axes={"optimizer.lr": (5, 6), "model.dropout": [[0, 0], [0.2, 0.5]]}
    )
    assert in_python.config.sweep == sweep
    with pytest.raises(ConfigError, match=r"^override 1: optimizer\.lrr=\[1, 2\]: unknown key"):
        config_from_mapping(path, axes={"optimizer.lrr": [1, 2]})


def test_valid_cells_give_their_configs_in_order() -> None:
    cells = grid_cells({"optimizer.lr": [0.1, 0.2], "model.dropout": [0.0, [0.5, 0.1]]})
    configs = [cell.config for cell in validate_cells(loaded(), cells)]
    assert [config.optimizer.lr for config in configs] == [0.1, 0.1, 0.2, 0.2]
    assert all(config.sweep is None for config in configs)


def test_everything_wrong_with_the_cells_is_reported_once() -> None:
    grid: dict[str, list[Any]] = {
        "optimizer.lr": [-1.0, 0.1, -2.0],
        "model.dropout": [7.0, 0.5],
        "seed": [0, 1],
    }
    base = loaded({"grid": grid})
    with pytest.raises(ConfigError) as caught:
        validate_cells(base, grid_cells(grid))
    message = str(caught.value)
    for value in ("-1.0", "-2.0", "7.0"):
        assert message.count(f"{value} is not") == 1
    assert message.splitlines()[-1] == "3 errors in the cells of the config"
    assert len(caught.value.problems) == 3


def test_only_so_many_errors_are_printed_and_the_rest_is_counted() -> None:
    cells = grid_cells({"optimizer.lr": [-float(value) for value in range(1, 51)]})
    with pytest.raises(ConfigError) as caught:
        validate_cells(loaded(), cells)
    lines = str(caught.value).splitlines()
    assert sum("is not above 0" in line for line in lines) == SHOWN
    assert lines[-2:] == [f"… and {50 - SHOWN} more", "50 errors in the cells of the config"]
    assert len(caught.value.problems) == 50


def test_the_corners_of_a_space_hold_every_bound_and_choice() -> None:
    space = {
        "optimizer.lr": Distribution(log_uniform=(1e-4, 1.0)),
        "model.dropout": Distribution(uniform=(0.0, 1.5)),
        "training.epochs": Distribution(int=(1, 9)),
        "penalty": Distribution(choice=("none", {"type": "l1", "strength": 1})),
    }
    cells = corner_cells(space)
    assert len(cells) == 16
    with pytest.raises(ConfigError, match=r"1\.5 is not in \[0, 1\]"):
        validate_cells(loaded(), cells)


def test_of_a_large_space_each_bound_is_tried_and_not_every_combination() -> None:
    space = {f"k{i}": Distribution(uniform=(0.0, float(i + 1))) for i in range(12)}
    space["c"] = Distribution(choice=tuple(range(30)))
    cells = corner_cells(space)
    assert len(cells) == 30 < MOST_CORNERS
    assert {cell.params["k3"] for cell in cells} == {0.0, 4.0}
    assert {cell.params["c"] for cell in cells} == set(range(30))


@pytest.mark.parametrize(
    ("params", "label"),
    [
        ({"optimizer.weight_decay": 3, "model.dropout": 0.5}, "weight_decay=3,dropout=0.5"),
        ({"penalty.0.strength": 1, "penalty.1.strength": 2}, "0.strength=1,1.strength=2"),
        ({"lr": 1, "optimizer.lr": 2}, "lr=1,optimizer.lr=2"),
        ({"model.dropout": [0.2, 0.5], "penalty": None}, "dropout=[0.2,0.5],penalty=null"),
        ({"optimizer.lr": 0.00012345678}, "lr=0.000123457"),
        ({"optimizer.lr": 0.12345}, "lr=0.12345"),
        ({"optimizer.lr": 1e-05, "m": 3.0, "b": True}, "lr=1e-05,m=3,b=true"),
        ({"penalty": {"type": "l1", "strength": 0.1}}, "penalty={type:l1,strength:0.1}"),
        ({}, ""),
    ],
)
def test_labels_are_short_and_keep_keys_apart(params: dict[str, Any], label: str) -> None:
    assert cell_label(params) == label


@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join), unique=True)
)
def test_no_two_keys_of_a_label_read_the_same(keys: list[str]) -> None:
    label = cell_label(dict.fromkeys(keys, 0))
    names = [part.partition("=")[0] for part in label.split(",")] if keys else []
    assert len(set(names)) == len(keys)
    assert all(key.endswith(name) for key, name in zip(keys, names, strict=True))


@given(VALUES, VALUES)
def test_values_are_identical_when_their_json_is(left: Any, right: Any) -> None:
    if identity(left) != identity(right):
        assert json.dumps(left, sort_keys=True) != json.dumps(right, sort_keys=True)
    copied = json.loads(json.dumps(left))
    assert identity(copied) == identity(left)


def test_what_two_cells_have_in_common_is_reported_once_next_to_what_is_wrong_with_one() -> None:
    grid: dict[str, list[Any]] = {"optimizer.name": ["sgd", "foo"], "penalty.strength": [1.0, 2.0]}
    base = loaded({"grid": {"optimizer.name": ["sgd"]}})
    with pytest.raises(ConfigError) as caught:
        validate_cells(base, grid_cells(grid))
    lines = str(caught.value).splitlines()
    assert [line.count('missing key "type"') for line in lines] == [1, 0, 0]
    assert lines[1].startswith("optimizer.name=foo: ")
    assert lines[2] == "2 errors in the cells of the config"
