"""Cells: what shares one, what differs between them, and their metrics."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrun.analysis.cells import Cell, differing_keys, group_by_setting, metric_values
from regrun.analysis.statistics import mean_interval
from regrun.analysis.sweeps import SweptRun, best_cells
from regrun.metrics import Metric
from regrun.results import DataCard, InputCard, Norms, RunSummary, Status, WeightNorms
from regrun.settings import flatten
from regrun.store.run_dir import RunDir


def a_run(seed: int, decay: float, test: float | None, status: Status = "completed") -> SweptRun:
    config = {
        "name": "toy",
        "seed": seed,
        "optimizer": {"name": "sgd", "weight_decay": decay},
        "penalty": [],
    }
    metrics = {"train/loss": 0.5, "test/loss": test}
    return SweptRun(
        RunDir(Path("toy")), config, RunSummary(run_dir="toy", status=status, metrics=metrics)
    )


def test_runs_that_differ_only_in_the_seed_are_one_cell() -> None:
    runs = [a_run(1, 0.0, 4.0), a_run(0, 0.0, 2.0), a_run(0, 3.0, 1.0)]
    first, second = group_by_setting(runs)
    assert (first.seeds, second.seeds) == (2, 1)
    assert first.values("test/loss") == {(0, 0): 2.0, (1, 0): 4.0}
    assert [run.config["seed"] for run in first.runs] == [0, 1]


def test_params_are_the_keys_that_differ_and_no_others() -> None:
    cells = group_by_setting([a_run(0, 0.0, 4.0), a_run(1, 3.0, 2.0)])
    assert [cell.params for cell in cells] == [
        {"optimizer.weight_decay": 0.0},
        {"optimizer.weight_decay": 3.0},
    ]


def test_the_same_run_twice_counts_once() -> None:
    (cell,) = group_by_setting([a_run(0, 0.0, 4.0), a_run(0, 0.0, 5.0)])
    assert cell.seeds == 1
    assert cell.values("test/loss") == {(0, 0): 5.0}


def test_a_cell_as_json_has_mean_interval_and_values() -> None:
    cell, _ = group_by_setting([a_run(0, 0.0, 1.0), a_run(1, 0.0, 3.0), a_run(0, 1.0, 1.0)])
    document = json.loads(json.dumps(cell.summarize().to_dict(), allow_nan=False))
    assert document["params"] == {"optimizer.weight_decay": 0.0}
    assert document["seeds"] == 2
    loss = document["metrics"]["test/loss"]
    assert loss["scale"] == "log"
    assert loss["mean"] == pytest.approx(math.sqrt(3))
    assert loss["arithmetic_mean"] == 2.0
    assert loss["values"] == [1.0, 3.0]
    # Of the logarithms: s = ln 3 / sqrt(2), n = 2, t(1, 0.975) = 12.7062
    assert loss["high"] == pytest.approx(math.sqrt(3) * 3 ** (12.7062 / 2), rel=1e-4)
    assert document["metrics"]["gap/loss"]["scale"] == "linear"
    assert document["metrics"]["gap/loss"]["values"] == [0.5, 2.5]


def test_one_seed_has_null_bounds_in_json() -> None:
    (cell,) = group_by_setting([a_run(0, 0.0, 1.0)])
    assert cell.summarize().to_dict()["metrics"]["test/loss"] == {
        "mean": 1.0,
        "low": None,
        "high": None,
        "scale": "log",
        "arithmetic_mean": 1.0,
        "values": [1.0],
    }


@pytest.mark.parametrize("lost", [None, float("nan"), float("inf"), 0.01])
def test_a_diverged_run_counts_as_a_run_but_gives_no_value(lost: float | None) -> None:
    (cell,) = group_by_setting([a_run(0, 0.0, 1.0), a_run(1, 0.0, lost, status="diverged")])
    assert cell.seeds == 2
    assert cell.values("test/loss") == {(0, 0): 1.0}
    assert cell.count("diverged") == 1


def test_weights_and_penalties_are_metrics_too_but_lists_are_not() -> None:
    summary = RunSummary(
        run_dir="toy",
        status="completed",
        metrics={"test/accuracy": 0.5, "train/accuracy": 0.75},
        weights=WeightNorms(l2=3.0, sparsity=0.0, per_layer={"hidden.0": Norms(l2=1.0)}),
        penalty={"l1": 0.25},
    )
    assert metric_values(summary) == {
        "test/accuracy": 0.5,
        "train/accuracy": 0.75,
        "weights/l2": 3.0,
        "weights/sparsity": 0.0,
        "penalty/l1": 0.25,
        "gap/accuracy": -0.25,
    }


def test_flatten_enters_sections_and_lists_of_sections() -> None:
    config = {
        "model": {"hidden": [256, 128]},
        "penalty": [{"type": "l1", "strength": 0.1}],
        "constraints": [{"type": "max_norm"}, {"type": "unit_norm"}],
        "sweep": None,
    }
    assert flatten(config) == {
        "model.hidden": [256, 128],
        "penalty.0.type": "l1",
        "penalty.0.strength": 0.1,
        "constraints.0.type": "max_norm",
        "constraints.1.type": "unit_norm",
        "sweep": None,
    }


def test_a_key_that_only_one_config_has_differs() -> None:
    with_penalty = {"penalty": [{"type": "l1"}], "seed": 0}
    without = {"penalty": [], "seed": 0}
    assert differing_keys([with_penalty, without]) == [{"penalty.0.type": "l1"}, {"penalty": []}]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0.0, 1.0, 2.0])), min_size=1),
    st.randoms(use_true_random=False),
)
def test_the_order_of_runs_does_not_change_the_cells(pairs: list[Any], random: Any) -> None:
    def content(order: list[Any]) -> dict[str, Any]:
        cells = group_by_setting([a_run(seed, decay, seed + decay) for seed, decay in order])
        return {str(dict(cell.params)): cell.values("test/loss") for cell in cells}

    shuffled = list(pairs)
    random.shuffle(shuffled)
    assert content(shuffled) == content(pairs)


def test_no_winner_is_named_between_cells_that_overlap() -> None:
    losses = {0.0: [9.0, 9.1, 9.2], 1.0: [1.0, 1.2, 1.1], 3.0: [1.1, 1.1, 1.15]}
    runs = [
        a_run(seed, decay, value)
        for decay, values in losses.items()
        for seed, value in enumerate(values)
    ]
    best = best_cells(group_by_setting(runs), Metric("test", "loss"))
    assert [cell.params["optimizer.weight_decay"] for cell in best] == [1.0, 3.0]


def a_card(**changes: Any) -> DataCard:
    return DataCard(
        dataset="toy",
        task="regression",
        sizes={"train": 60, "validation": 20, "test": 20},
        drawn=["train", "validation", "test"],
        pool=100,
        input=InputCard(shape=[3], dtype="float64"),
    ).model_copy(update=changes)


def over_splits(card: DataCard, seeds: list[int], data_seeds: list[int]) -> Cell:
    runs = []
    for seed, data_seed in zip(seeds, data_seeds, strict=True):
        summary = RunSummary(
            run_dir="toy",
            status="completed",
            metrics={"train/loss": 0.5, "test/loss": 1.0 + seed + 0.1 * data_seed},
            data=card,
        )
        runs.append(
            SweptRun(RunDir(Path("toy")), {"seed": seed, "dataset.seed": data_seed}, summary)
        )
    return Cell({}, runs)


@pytest.mark.parametrize(
    ("metric", "changes", "overlap"),
    [
        ("test/loss", {}, 0.25),
        ("gap/loss", {}, 0.25),
        ("ema/test/loss", {}, 0.25),
        ("val/accuracy", {"sizes": {"train": 60, "validation": 40, "test": 20}}, 40 / 60),
        ("train/loss", {}, 0.0),
        ("weights/l2", {}, 0.0),
        ("test/loss", {"generated": True}, 0.0),
        ("test/loss", {"drawn": ["train", "validation"]}, 0.0),
    ],
)
def test_splits_of_one_dataset_overlap_where_the_part_is_cut_from_it(
    metric: str, changes: dict[str, Any], overlap: float
) -> None:
    cell = over_splits(a_card(**changes), [0, 1], [0, 1])
    assert cell.overlap(metric) == pytest.approx(overlap)


def test_on_one_split_nothing_overlaps() -> None:
    assert over_splits(a_card(), [0, 1], [0, 0]).overlap("test/loss") == 0


def test_the_interval_over_splits_allows_for_what_they_share() -> None:
    cell = over_splits(a_card(), [0, 1, 2], [0, 1, 2])
    values = [1.0, 2.1, 3.2]
    found = cell.interval("test/loss")
    assert found == mean_interval(values, "log", overlap=0.25)
    assert list(cell.values("test/loss")) == [(0, 0), (1, 1), (2, 2)]


def test_runs_on_several_splits_are_one_cell() -> None:
    runs = [
        replace(run, config={**run.config, "dataset": {"name": "toy", "seed": seed}})
        for seed in (0, 1)
        for run in (a_run(seed, 0.0, 1.0 + seed), a_run(seed, 1.0, 2.0 + seed))
    ]
    first, second = group_by_setting(runs)
    assert first.replicates == second.replicates == [(0, 0), (1, 1)]


def test_a_linear_scale_can_be_chosen() -> None:
    runs = [a_run(0, 0.0, 1.0), a_run(1, 0.0, 3.0)]
    found = Cell({}, runs, "linear").interval("test/loss")
    assert found == mean_interval([1.0, 3.0])
