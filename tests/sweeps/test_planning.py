"""From cells to runs with names, in stacks, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from regrun.config import load
from regrun.config import validate as validation
from regrun.config.load import Loaded, config_from_mapping
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.execution.prepare import load_data
from regrun.metrics import Metric
from regrun.store.sweep_dir import Round
from regrun.sweeps import planning
from regrun.sweeps.planning import Planner
from regrun.sweeps.run import Options, plan_sweep, run_sweep
from regrun.sweeps.space import grid_cells
from tests.support.sweeps import DIGITS, LINEAR, with_keys

CPU = torch.device("cpu")


def planner_of(config: dict[str, Any], **options: Any) -> tuple[Planner, Loaded]:
    loaded = config_from_mapping(config)
    keys = {"metric": Metric("test", "loss"), "allow_large": False, "places": 4, **options}
    return Planner(loaded, [CPU], **keys), loaded


def planned(config: dict[str, Any]) -> Round:
    planner, loaded = planner_of(config)
    assert loaded.config.sweep is not None
    return planner.round(grid_cells(loaded.config.sweep.grid))


GRID = with_keys(
    DIGITS,
    seed=5,
    sweep={
        "grid": {"model.hidden": [[8], [6]], "optimizer.lr": [0.1, 0.2]},
        "seeds": 3,
        "vary": ["seed"],
    },
)


def test_every_cell_is_planned_with_every_seed_under_a_name_of_its_own() -> None:
    plan = planned(GRID)
    assert len(plan.runs) == 12
    assert len({run.directory for run in plan.runs}) == 12
    assert sorted(index for members in plan.stacks for index in members) == list(range(12))
    assert [run.seed for run in plan.runs[:4]] == [5, 6, 7, 5]
    assert plan.runs[0].directory == "0000-hidden=-8-,lr=0.1-seed=5"
    assert [run.cell for run in plan.runs] == [cell for cell in range(4) for _ in range(3)]


def test_names_stay_apart_and_harmless_however_long_the_values() -> None:
    names = ["../" * 40 + "a", "../" * 40 + "b"]
    config = with_keys(LINEAR, sweep={"grid": {"optimizer.decay_on": ["weight", "all", ["bias"]]}})
    plan = planned(config)
    assert len({run.directory for run in plan.runs}) == 3
    axis = {"penalty": [{"type": "l1", "strength": 1, "apply_to": name} for name in names]}
    with pytest.raises(ConfigError):  # no such parameters
        planned(with_keys(LINEAR, sweep={"grid": axis}))
    assert all("/" not in run.directory for run in plan.runs)


def test_the_same_cells_give_the_same_round() -> None:
    assert planned(GRID) == planned(GRID)


def test_work_that_is_worth_it_is_spread_over_the_cores(monkeypatch: Any) -> None:
    config = with_keys(LINEAR, sweep={"grid": {"optimizer.lr": [0.01 * (k + 1) for k in range(8)]}})
    assert len(planned(config).stacks) == 1
    monkeypatch.setattr(planning, "WORTH_WORKERS", 0.0)
    assert [len(members) for members in planned(config).stacks] == [2, 2, 2, 2]
    together = with_keys(config, sweep={"pruner": "asha", "select_on_test": True})
    assert len(planned(together).stacks) == 1  # pruning compares the members of a stack


def test_a_cell_is_validated_once_whatever_its_seeds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    validated: list[tuple[Any, ...]] = []
    real = validation.validate

    def validate(tree: Mapping[str, Any]) -> Any:
        validated.append((tree["optimizer"]["lr"], tree["model"]["hidden"], "sweep" in tree))
        return real(tree)

    monkeypatch.setattr(load, "validate", validate)
    loaded = config_from_mapping(GRID)
    whole = (0.01, [8, 6], True)
    cells = [(lr, hidden, False) for hidden in ([8], [6]) for lr in (0.1, 0.2)]
    plan = plan_sweep(loaded, Options("cpu"))
    assert len(plan.stacks) == 2
    assert validated == [whole, *cells]
    validated.clear()
    run_sweep(loaded, runs_dir=tmp_path, options=Options("cpu", workers=0))
    # The planner, then each stack: its config, and its cells.
    assert validated == [*cells, whole, *cells[:2], whole, *cells[2:]]


@pytest.mark.parametrize(
    "sweep",
    [
        {"grid": {"dataset.seed": [0, 1, 2, 3, 4, 5]}, "vary": ["seed"]},
        {"grid": {"model.init": ["default", "normal"]}, "seeds": 6, "vary": ["data"]},
    ],
)
def test_a_sweep_over_data_loads_each_draw_once_and_does_not_hold_them_all(
    sweep: dict[str, Any], monkeypatch: Any
) -> None:
    import gc
    import weakref

    alive: list[Any] = []
    most = 0
    real = Dataset.to

    def to(*arguments: Any) -> Dataset:
        nonlocal most
        gc.collect()
        most = max(most, sum(each() is not None for each in alive))
        data = real(*arguments)
        alive.append(weakref.ref(data))
        return data

    monkeypatch.setattr(Dataset, "to", to)
    planned(with_keys(LINEAR, sweep=sweep))
    assert len(alive) == 6
    assert most <= 1


def test_the_data_of_one_kind_of_run_are_loaded_once(monkeypatch: Any) -> None:
    loads: list[Any] = []

    def load(*arguments: Any, **options: Any) -> Any:
        loads.append(arguments)
        return load_data(*arguments, **options)

    monkeypatch.setattr(planning, "load_data", load)
    planned(GRID)
    assert len(loads) == 1


def test_what_the_machine_cannot_hold_is_refused_with_the_cell_that_asks_for_it() -> None:
    config = with_keys(DIGITS, sweep={"grid": {"model.hidden": [[8], [10_000_000, 10_000_000]]}})
    with pytest.raises(ConfigError, match=r"parameters need about .* --allow-large"):
        planned(config)


@pytest.mark.parametrize(
    ("sweep", "runs", "cells"),
    [
        ({"grid": {"optimizer.lr": [0.1, 0.2, 0.3]}, "seeds": 4}, 12, 3),
        ({"seeds": 4}, 4, 1),
        (
            {
                "search": "tpe",
                "trials": 30,
                "seeds": 2,
                "space": {"optimizer.lr": {"log_uniform": [0.001, 0.1]}},
            },
            60,
            30,
        ),
    ],
)
def test_a_plan_counts_runs_stacks_memory_and_time(
    tmp_path: Path, sweep: Any, runs: int, cells: int
) -> None:
    loaded = config_from_mapping(with_keys(DIGITS, sweep=sweep))
    plan = plan_sweep(loaded, Options("cpu"))
    assert (plan.runs, plan.cells) == (runs, cells)
    assert plan.seconds > 0
    for stack in plan.stacks:
        assert stack.steps == 3 * 4  # 60 examples in batches of 16
        assert stack.memory_bytes > 0
    assert not list(tmp_path.iterdir())


def test_a_stack_needs_memory_for_each_member() -> None:
    def memory(seeds: int) -> int:
        loaded = config_from_mapping(with_keys(DIGITS, sweep={"seeds": seeds, "vary": ["seed"]}))
        (stack,) = plan_sweep(loaded, Options("cpu")).stacks
        return stack.memory_bytes

    one, two, three = memory(1), memory(2), memory(3)
    assert three - two == two - one > 0


@pytest.mark.parametrize(
    ("fills", "sweep", "stacks"),
    [
        (1, {}, [[0], [1], [2]]),
        (10**12, {}, [[0, 1, 2]]),
        (1, {"pruner": "median"}, [[0, 1, 2]]),
        (1, {"stack_size": 2}, [[0, 1], [2]]),
    ],
)
def test_networks_that_fill_a_gpu_alone_are_no_stacks_there(
    fills: int, sweep: dict[str, Any], stacks: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regrun.execution.budget.FILLS_A_GPU", fills)
    keys = {"seeds": 3, "vary": ["seed"], **sweep}
    planner, _ = planner_of(with_keys(DIGITS, sweep=keys))
    cells = grid_cells({})
    on_cpu = planner.round(cells)
    assert on_cpu.stacks == ([[0, 1, 2]] if "stack_size" not in sweep else stacks)
    monkeypatch.setattr(planner, "_device", torch.device("cuda"))
    monkeypatch.setattr(planning, "available_bytes", lambda _: 10**12)
    assert planner.round(cells).stacks == stacks
