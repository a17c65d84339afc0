"""The promises of a sweep: what it is made of does not show in its results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import gmean

import regrun
from regrun.analysis.sweeps import StoredSweep, best_cells
from regrun.config.load import config_from_mapping, load_config
from regrun.errors import ConfigError, UsageError
from regrun.execution.observer import Observer, Start
from regrun.metrics import Metric
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps.run import Options, resume_sweep, run_sweep
from tests.support.runs import rows_in
from tests.support.sweeps import (
    DIGITS,
    LINEAR,
    planned,
    results,
    rows_by_setting,
    stacks,
    summary_of,
    with_keys,
)

L1 = {"type": "l1", "strength": 1e-3}
AXES: dict[str, Sequence[Any]] = {
    "optimizer.lr": [0.003, 0.01],
    "penalty": ["none", L1],
}


def assert_same_rows(
    mine: Mapping[str, list[dict[str, Any]]], other: Mapping[str, list[dict[str, Any]]]
) -> None:
    assert mine.keys() == other.keys()
    for key, rows in mine.items():
        assert len(rows) == len(other[key]) > 0
        for row, expected in zip(rows, other[key], strict=True):
            assert row == pytest.approx(expected, rel=1e-9, abs=1e-11), key


def assert_equals_runs_alone(sweep: Path, config: Mapping[str, Any]) -> None:
    for run in planned(sweep):
        values = {**run.params, "seed": run.seed}
        if run.data_seed is not None:
            values["dataset.seed"] = run.data_seed
        alone = regrun.train(config, values, runs_dir=sweep / "alone", device="cpu")
        mine = rows_in(sweep / run.directory)
        assert_same_rows({run.directory: mine}, {run.directory: rows_in(alone.directory)})
        stored, expected = summary_of(sweep / run.directory), alone.summary
        assert stored["status"] == expected.status == "completed"
        assert stored["weights"]["l2"] == pytest.approx(expected.weights.l2, rel=1e-9)


def test_a_sweeps_runs_are_the_same_configs_trained_alone(sweep: Any) -> None:
    done = sweep(with_keys(DIGITS, sweep={"vary": ["seed"]}), AXES, seeds=2)
    assert len(stacks(done.directory)) == 1  # no penalty next to l1, too
    assert_equals_runs_alone(done.directory, DIGITS)


@pytest.mark.parametrize(
    ("axis", "values", "count"),
    [
        ("model.hidden", [[8], [5, 4]], 2),
        ("optimizer.name", ["sgd", "adam", "rmsprop"], 3),
        ("dataset.num_train", [40, 50], 2),
        ("penalty.type", ["l1", "l2", "none"], 1),
        ("training.batch_size", [16, "full"], 2),
        ("dataset.seed", [0, 1], 2),
    ],
)
def test_structural_axes_are_packed_apart_and_right(
    sweep: Any, axis: str, values: list[Any], count: int
) -> None:
    config = with_keys(DIGITS, penalty=L1)
    done = sweep(with_keys(config, sweep={"vary": ["seed"]}), {axis: values}, seeds=2)
    assert len(stacks(done.directory)) == count
    assert_equals_runs_alone(done.directory, config)


def test_stack_size_order_and_company_do_not_show(sweep: Any) -> None:
    one = sweep(DIGITS, AXES, seeds=2)
    small = sweep(with_keys(DIGITS, sweep={"stack_size": 3}), AXES, seeds=2)
    permuted = sweep(
        DIGITS,
        {"penalty": [L1, "none"], "optimizer.lr": [0.01, 0.1, 0.003]},
        seeds=2,
    )
    assert [len(stack) for stack in stacks(small.directory)] == [2, 2, 2, 2]
    expected = rows_by_setting(one.directory)
    assert_same_rows(rows_by_setting(small.directory), expected)
    some = rows_by_setting(permuted.directory)
    assert_same_rows({key: some[key] for key in expected}, expected)


def test_the_number_of_workers_does_not_show(sweep: Any) -> None:
    config = with_keys(DIGITS, sweep={"stack_size": 2})
    here = sweep(config, AXES)
    there = sweep(config, AXES, workers=2)
    assert len(stacks(here.directory)) == 2
    assert results(here.directory) == results(there.directory)


def diverging(sweep: Any, members: int, lr: float) -> Any:
    axis = [0.05] * members
    axis[members // 3] = lr
    cells = [{"optimizer.lr": each, "seed": seed} for seed, each in enumerate(axis)]
    config = with_keys(
        DIGITS,
        optimizer={"name": "sgd"},
        model={"dropout": 0.0},
        sweep={"cells": cells},
    )
    return sweep(config)


def test_a_member_that_diverges_is_counted_and_the_others_are_bit_equal(sweep: Any) -> None:
    clean, bad = diverging(sweep, 64, 0.05), diverging(sweep, 64, 1e200)
    assert len(stacks(bad.directory)) == 1
    mine, expected = results(bad.directory), results(clean.directory)
    assert bad.summary.diverged == 1
    assert bad.summary.completed == len(mine) - 1 == 63
    changed = [
        (one, other)
        for one, other in zip(mine.items(), expected.items(), strict=True)
        if one[1] != other[1]
    ]
    ((_, ended), (_, before)) = changed[0]
    assert len(changed) == 1
    assert (ended[-2], before[-2]) == ("diverged", "completed")
    assert ended[2] is None  # no weights


def test_a_sweep_leaves_what_the_contract_says(sweep: Any) -> None:
    done = sweep(LINEAR, {"optimizer.weight_decay": [0, 1]}, seeds=3)
    summary = done.summary.to_dict()
    assert summary == summary_of(done.directory)
    assert summary["runs"] == summary["completed"] == 6
    assert (summary["diverged"], summary["failed"], summary["pruned"]) == (0, 0, 0)
    assert [cell["params"] for cell in summary["cells"]] == [
        {"optimizer.weight_decay": 0},
        {"optimizer.weight_decay": 1},
    ]
    for cell in summary["cells"]:
        loss = cell["metrics"]["test/loss"]
        assert cell["seeds"] == len(loss["values"]) == 3
        assert loss["low"] < loss["mean"] < loss["high"]
    assert summary["best"]["metric"] == "test/loss"
    assert summary["best"]["selected_on"] == "test"
    assert not (done.directory / "stacks").exists()
    assert not list(done.directory.rglob("*.tmp"))
    for run in planned(done.directory):
        again = load_config(done.directory / run.directory / "config.yaml").config
        assert again.seed == run.seed
        assert again.optimizer.weight_decay == run.params["optimizer.weight_decay"]
        assert again.sweep is None


def test_python_gives_cells_and_runs_as_tables(sweep: Any) -> None:
    done = sweep(LINEAR, {"optimizer.weight_decay": [0, 1]}, seeds=2)
    cells, runs = done.cells, done.runs
    assert list(cells["optimizer.weight_decay"]) == [0, 1]
    assert list(cells["seeds"]) == [2, 2]
    assert len(runs) == 4
    assert list(runs["seed"]) == [0, 1, 0, 1]
    assert set(runs["status"]) == {"completed"}
    means = runs.groupby("optimizer.weight_decay")["test/loss"].agg(gmean)
    assert list(cells["test/loss"]) == pytest.approx(list(means))
    assert (cells["test/loss/low"] < cells["test/loss"]).all()
    assert (cells["test/loss"] < cells["test/loss/high"]).all()
    assert all(Path(path).is_dir() for path in runs["run_dir"])


def test_the_axes_of_a_config_file_are_swept_from_python(sweep: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        json.dumps({**LINEAR, "sweep": {"grid": {"optimizer.lr": [0.01, 0.02]}, "seeds": 2}})
    )
    assert len(sweep(path, {"optimizer.momentum": [0, 0.5]}).runs) == 8


def test_nothing_to_sweep_is_refused(sweep: Any) -> None:
    with pytest.raises(UsageError, match="nothing to sweep"):
        sweep(LINEAR)


def test_wrong_cells_are_refused_at_once_and_before_anything_is_written(
    sweep: Any, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        sweep(LINEAR, {"optimizer.lr": [0.1, -1, "fast"], "optimizer.momentum": [0, 2]})
    for part in ("-1", "fast", "2", "3 errors"):
        assert part in str(error.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"dataset.num_train": [5, 100_000_000_000]}, "dataset.num_train=100000000000"),
        ({"penalty.apply_to": ["weight", "nope"]}, "penalty.apply_to=nope"),
        ({"optimizer.lr": [0.1, 0.1]}, "appears twice"),
    ],
)
def test_what_does_not_fit_data_or_network_is_refused_before_anything_is_written(
    sweep: Any, tmp_path: Path, axes: Any, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        sweep(with_keys(LINEAR, penalty=L1), axes)
    assert message in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_a_sweep_too_long_to_be_read_again_is_refused(sweep: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="more than 10,000 values"):
        sweep(LINEAR, {"optimizer.lr": [1e-6 * (k + 1) for k in range(10_001)]})
    assert not (tmp_path / "runs").exists()


def test_resume_of_a_finished_sweep_changes_nothing(sweep: Any, tmp_path: Path) -> None:
    done = sweep(LINEAR, {"optimizer.lr": [0.01, 0.02]})
    before = {path: path.stat().st_mtime_ns for path in done.directory.rglob("*")}
    moved = done.directory.rename(tmp_path / "moved")
    again = resume_sweep(moved)
    assert again.to_dict() == {**done.summary.to_dict(), "sweep_dir": str(moved)}
    after = {path: path.stat().st_mtime_ns for path in moved.rglob("*")}
    assert list(after.values()) == list(before.values())


def test_what_is_no_sweep_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sweep here"):
        resume_sweep(tmp_path)


class StopAfter(Observer):
    """Ends the first rounds of a search as a kill would."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds

    def on_start(self, start: Start) -> None:
        if self.rounds == 0:
            raise KeyboardInterrupt
        self.rounds -= 1


SEARCH: dict[str, Any] = with_keys(
    LINEAR,
    dataset={"validation": 4},
    sweep={
        "search": "tpe",
        "trials": 26,
        "space": {
            "optimizer.lr": {"log_uniform": [1e-3, 0.1]},
            "optimizer.weight_decay": {"uniform": [0, 2]},
        },
        "seeds": 2,
    },
)


def proposals(sweep: Path) -> list[Any]:
    return [[run.params for run in each.runs] for each in SweepDir(sweep).read_rounds()]


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_search_resumed_in_its_middle_proposes_what_it_would_have(
    sweep: Any, tmp_path: Path, rounds: int
) -> None:
    whole, again = sweep(SEARCH), sweep(SEARCH)
    expected = proposals(whole.directory)
    assert [len(each) for each in expected] == [24, 24, 4]
    assert proposals(again.directory) == expected
    loaded = regrun.config.load.config_from_mapping(SEARCH)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(
            loaded, runs_dir=tmp_path / "half", options=Options("cpu"), observer=StopAfter(rounds)
        )
    (half,) = (tmp_path / "half" / "linear").iterdir()
    assert len(proposals(half)) == rounds + 1
    document = resume_sweep(half)
    assert proposals(half) == expected
    assert results(half) == results(whole.directory)
    assert document.best == whole.summary.best


def asha(cells: int, epochs: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same grid with and without pruning."""
    rates = [round(1e-4 * 1.15**k, 8) for k in range(cells)]
    full = with_keys(
        DIGITS,
        dataset={"num_train": 200, "num_test": None, "validation": 0.3},
        model={"hidden": [32], "dropout": 0.0},
        training={"epochs": epochs, "batch_size": 32, "precision": "float32"},
        sweep={"grid": {"optimizer.lr": rates}, "seeds": 3},
    )
    return full, with_keys(full, sweep={"pruner": "asha"})


def assert_asha_finds_the_best(sweep: Any, cells: int, epochs: int) -> None:
    full, pruning = asha(cells, epochs)
    whole, pruned = sweep(full), sweep(pruning)
    spent = int(pruned.runs["epochs"].sum())
    print(f"asha: {spent} of {cells * 3 * epochs} epochs")
    assert 3 * spent <= cells * 3 * epochs
    assert pruned.summary.pruned > 0
    chosen = pruned.summary.best.params
    alike = best_cells(StoredSweep(SweepDir(whole.directory)).cells, Metric("val", "loss"))
    assert chosen in [dict(cell.params) for cell in alike]


def test_asha_spends_a_third_and_finds_a_cell_like_the_best(sweep: Any) -> None:
    assert_asha_finds_the_best(sweep, cells=16, epochs=16)


@pytest.mark.long
def test_asha_on_64_members_spends_a_third_and_finds_a_cell_like_the_best(sweep: Any) -> None:
    assert_asha_finds_the_best(sweep, cells=64, epochs=60)


def breast_cancer(search: str, trials: int, seeds: int) -> dict[str, Any]:
    return {
        "name": search,
        "dataset": {"name": "breast_cancer", "validation": 0.2},
        "model": {"name": "mlp", "hidden": [16]},
        "optimizer": {"name": "adam", "lr": 0.01},
        "training": {"epochs": 15, "batch_size": 64},
        "sweep": {
            "search": search,
            "trials": trials,
            "seeds": seeds,
            "space": {
                "optimizer.lr": {"log_uniform": [1e-5, 0.1]},
                "optimizer.weight_decay": {"log_uniform": [1e-6, 1.0]},
                "model.dropout": {"uniform": [0, 0.8]},
            },
        },
    }


def assert_tpe_beats_the_median_random_trial(sweep: Any, trials: int, seeds: int) -> None:
    random, tpe = (sweep(breast_cancer(kind, trials, seeds)) for kind in ("random", "tpe"))
    assert len(tpe.runs) == trials * seeds
    best, median = tpe.cells["val/loss"].min(), random.cells["val/loss"].median()
    print(f"val/loss: best of tpe {best:.4f}, median of random {median:.4f}")
    assert tpe.summary.best.selected_on == "val"
    assert best < median
    again = sweep(breast_cancer("tpe", trials, seeds))
    assert proposals(again.directory) == proposals(tpe.directory)


def test_tpe_beats_the_median_random_trial(sweep: Any) -> None:
    assert_tpe_beats_the_median_random_trial(sweep, trials=18, seeds=1)


@pytest.mark.long
def test_tpe_with_60_trials_beats_the_median_random_trial(sweep: Any) -> None:
    assert_tpe_beats_the_median_random_trial(sweep, trials=60, seeds=3)


def test_a_search_led_by_the_test_set_is_refused(sweep: Any) -> None:
    with pytest.raises(ConfigError, match="validation"):
        sweep(with_keys(SEARCH, dataset={"validation": 0}))


@pytest.mark.parametrize(("pruner", "noted"), [("asha", True), (None, False)])
def test_cells_without_others_to_compare_with_are_reported_as_not_pruned(
    tmp_path: Path, pruner: str | None, noted: bool
) -> None:
    class Notes(Observer):
        def __init__(self) -> None:
            self.kept: list[str] = []

        def on_start(self, start: Start) -> None:
            self.kept += start.notes

    grid = {"model.hidden": [[8], [6]]}
    config = with_keys(DIGITS, sweep={"grid": grid, "pruner": pruner, "seeds": 2})
    watcher = Notes()
    options = Options("cpu", workers=0)
    document = run_sweep(
        config_from_mapping(config), runs_dir=tmp_path, options=options, observer=watcher
    )
    assert document.pruned == 0
    assert len(watcher.kept) == noted
    assert all("asha compares the cells of a stack; 2 of 2 stacks" in note for note in watcher.kept)
