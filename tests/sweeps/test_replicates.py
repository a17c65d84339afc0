"""What the replicates of a cell differ in, and that cells are paired on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import regrun
from regrun.analysis.sweeps import StoredSweep
from regrun.config.load import config_from_mapping
from regrun.errors import ConfigError
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps.replicates import Replication
from tests.support.runs import rows_in
from tests.support.sweeps import DIGITS, LINEAR, planned, stacks, summary_of, with_keys
from tests.sweeps.test_run import assert_equals_runs_alone

RATES = {"optimizer.lr": [0.01, 0.02, 0.03]}
BASE = {"seed": 3, "dataset": {"seed": 10}}
GIVEN = {"name": "digits", "validation": 0, "num_train": None, "num_test": None, "test": 0}
"""Nothing is drawn: all examples are trained on."""


def pairs(directory: Path) -> list[tuple[int, int, int | None]]:
    return [(run.cell, run.seed, run.data_seed) for run in planned(directory)]


@pytest.mark.parametrize(
    ("vary", "expected", "count"),
    [
        (None, [(3, 10), (4, 11)], 2),
        (["seed", "data"], [(3, 10), (4, 11)], 2),
        ("data", [(3, 10), (3, 11)], 2),
        (["seed"], [(3, None), (4, None)], 1),
    ],
)
def test_replicates_are_paired_across_cells_and_are_runs_trained_alone(
    sweep: Any, vary: Any, expected: list[tuple[int, int | None]], count: int
) -> None:
    config = with_keys(DIGITS, **BASE)
    done = sweep(with_keys(config, sweep={"vary": vary}), RATES, seeds=2)
    assert pairs(done.directory) == [(cell, *pair) for cell in range(3) for pair in expected]
    assert len(stacks(done.directory)) == count  # members of a stack share their data
    assert_equals_runs_alone(done.directory, config)
    named = [vary] if isinstance(vary, str) else vary or ["seed", "data"]
    assert done.summary.vary == named == summary_of(done.directory)["vary"]


def test_a_replicates_config_alone_gives_the_same_run(sweep: Any, tmp_path: Path) -> None:
    done = sweep(DIGITS, seeds=2)
    last = done.directory / planned(done.directory)[-1].directory
    assert yaml.safe_load((last / "config.yaml").read_text())["dataset"]["seed"] == 1
    again = regrun.train(last / "config.yaml", runs_dir=tmp_path / "again", device="cpu")
    assert rows_in(again.directory) == rows_in(last)


def test_vary_does_not_change_what_train_does(tmp_path: Path) -> None:
    plain = regrun.train(DIGITS, runs_dir=tmp_path, device="cpu")
    section = {"vary": ["data"], "seeds": 5}
    other = regrun.train({**DIGITS, "sweep": section}, runs_dir=tmp_path, device="cpu")
    assert rows_in(plain.directory) == rows_in(other.directory)


def test_cells_hold_a_value_for_each_draw_and_the_table_of_runs_its_seed(sweep: Any) -> None:
    done = sweep(with_keys(DIGITS, sweep={"vary": ["data"]}), RATES, seeds=4)
    for cell in StoredSweep(SweepDir(done.directory)).cells:
        assert len(set(cell.values("test/loss").values())) == 4
    assert list(done.runs["dataset.seed"]) == [0, 1, 2, 3] * 3
    assert list(done.runs["seed"]) == [0] * 12
    assert done.summary.data.sizes["train"] == 60  # the card of the first draw


@pytest.mark.parametrize(
    ("dataset", "section", "expected"),
    [
        ({}, {}, ("seed", "data")),
        (GIVEN, {}, ("seed",)),
        ({}, {"pruner": "asha"}, ("seed",)),
        ({}, {"vary": ["data"]}, ("data",)),
    ],
)
def test_the_default_is_both_where_regrun_draws_and_no_pruner_compares_members(
    dataset: dict[str, Any], section: dict[str, Any], expected: tuple[str, ...]
) -> None:
    config = config_from_mapping(with_keys(DIGITS, dataset=dataset, sweep=section)).config
    assert config.sweep is not None
    assert Replication(config.sweep).varied(config) == expected


def test_cells_of_several_datasets_vary_what_each_of_them_draws(sweep: Any) -> None:
    config = with_keys(DIGITS, sweep={"metric": "train/loss"})
    done = sweep(config, {"dataset": [GIVEN, {"name": "wine"}]}, seeds=2)
    assert pairs(done.directory) == [(0, 0, None), (0, 1, None), (1, 0, 0), (1, 1, 1)]


def test_the_files_of_a_dataset_are_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regrun.kinds.datasets.npz import NPZ

    x, y = np.ones((6, 2)), np.arange(6.0)
    np.savez(tmp_path / "parts.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    looks: list[NPZ] = []

    def has_own_test(section: NPZ) -> bool:
        looks.append(section)
        return True

    monkeypatch.setattr(NPZ, "has_own_test", has_own_test)
    tree = {**LINEAR, "dataset": {"name": "npz", "path": str(tmp_path / "parts.npz")}}
    loaded = config_from_mapping({**tree, "sweep": {"grid": RATES}})
    assert loaded.config.sweep is not None
    replication = Replication(loaded.config.sweep)
    cells = [loaded.member({"optimizer.lr": each}).config for each in RATES["optimizer.lr"]]
    assert {replication.varied(cell) for cell in cells} == {("seed",)}
    assert len(looks) == 1


@pytest.mark.parametrize(
    ("tree", "axes", "message"),
    [
        (
            with_keys(DIGITS, dataset=GIVEN, sweep={"vary": ["data"], "metric": "train/loss"}),
            {},
            r"sweep\.vary: data: all parts of digits are given, so dataset\.seed draws nothing; "
            r"write sweep\.vary: \[seed\], or let a part be drawn, e\.g\. dataset\.validation",
        ),
        (
            with_keys(DIGITS, sweep={"vary": ["seed", "data"], "pruner": "asha"}),
            {},
            r"sweep\.vary: data: asha compares cells that train together",
        ),
        (
            DIGITS,
            {"dataset.seed": [0, 1, 2]},
            r"dataset\.seed.*: varies between the replicates of a cell \(sweep\.vary: "
            r"\[seed, data\]\); for N replicates write sweep\.seeds: N without this axis, for a "
            r"cell of each value sweep\.vary: \[seed\] with it",
        ),
        (
            DIGITS,
            {"seed": [0, 100]},
            r"seed.*: varies between the replicates of a cell .* sweep\.seeds: 1 with it",
        ),
        (with_keys(DIGITS, sweep={"vary": []}), {}, r"sweep\.vary: the list is empty"),
        (with_keys(DIGITS, sweep={"vary": ["data", "data"]}), {}, r"names one of them twice"),
        (with_keys(DIGITS, sweep={"vary": ["seeds"]}), {}, r'did you mean "?seed'),
    ],
)
def test_what_cannot_vary_is_refused_with_what_to_write(
    sweep: Any, tmp_path: Path, tree: dict[str, Any], axes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep(tree, axes, seeds=2)
    assert not (tmp_path / "runs").exists()


def test_draws_of_the_data_may_be_cells_of_their_own(sweep: Any) -> None:
    done = sweep(with_keys(DIGITS, sweep={"vary": ["seed"]}), {"dataset.seed": [0, 1]}, seeds=2)
    assert pairs(done.directory) == [(0, 0, None), (0, 1, None), (1, 0, None), (1, 1, None)]
    assert done.summary.vary == ["seed"]


def test_an_ensemble_of_draws_applies_the_preprocessing_of_each(sweep: Any) -> None:
    config = {**LINEAR, "dataset": {"name": "wine"}, "loss": "auto"}
    done = sweep(config, seeds=3)
    runs = [done.directory / run.directory for run in planned(done.directory)]
    raw = np.random.default_rng(0).normal(10, 5, size=(7, 13))
    alone = [regrun.load_predictor(run).predict(raw).filter(like="p(") for run in runs]
    together = regrun.load_predictor(done.directory).predict(raw).filter(like="p(")
    mean = sum(np.asarray(each) for each in alone) / 3
    assert np.abs(np.asarray(alone[0]) - np.asarray(alone[1])).max() > 1e-3
    np.testing.assert_allclose(np.asarray(together), mean, rtol=1e-12)
