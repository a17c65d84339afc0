"""The finalists of a sweep, trained again on replicates that took no part in the choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import regrun
from regrun.analysis.sweeps import StoredSweep, best_cells
from regrun.config.load import config_from_mapping
from regrun.errors import ConfigError
from regrun.metrics import Metric
from regrun.store.sweep_dir import SweepDir
from regrun.stored import Sweep
from regrun.sweeps.run import Options, resume_sweep, run_sweep
from tests.support.program import invoke
from tests.support.sweeps import DIGITS, LINEAR, ended, planned, results, summary_of, with_keys
from tests.sweeps.test_run import StopAfter, assert_equals_runs_alone

RATES = {"optimizer.lr": [0.01, 0.011, 0.012, 1e-9]}
CONFIRMED = with_keys(DIGITS, sweep={"grid": RATES, "seeds": 3, "confirm": 2})


def confirming(sweep: Path) -> set[tuple[int, int, int | None]]:
    """(cell, seed, data_seed) of the runs of confirmations."""
    rounds = SweepDir(sweep).read_rounds()
    return {
        (run.cell, run.seed, run.data_seed)
        for each in rounds
        if each.purpose == "confirmation"
        for run in each.runs
    }


def grown(directory: Path, **changes: Any) -> Sweep:
    found = regrun.resume(directory, {f"sweep.{k}": v for k, v in changes.items()}, device="cpu")
    assert isinstance(found, Sweep)
    return found


def test_the_finalists_are_trained_on_fresh_seeds_and_draws_and_reported_alone(sweep: Any) -> None:
    plain = sweep(with_keys(CONFIRMED, sweep={"confirm": 0}))
    done = sweep(CONFIRMED)
    assert done.summary.cells == plain.summary.cells  # they enter no mean
    assert done.summary.best == plain.summary.best
    assert plain.summary.confirmation is None
    best = done.summary.best
    finalists = [best.params, *best.not_distinguishable]
    assert len(finalists) > 1
    confirmed = done.summary.confirmation
    assert [cell.params for cell in confirmed] == finalists
    assert [cell.seeds for cell in confirmed] == [2] * len(finalists)
    fresh = confirming(done.directory)
    assert {(seed, data) for _, seed, data in fresh} == {
        (1_000_000, 1_000_000), (1_000_001, 1_000_001),
    }  # fmt: skip
    assert done.summary.runs == done.summary.completed == 12 + len(fresh)
    assert summary_of(done.directory)["confirmation"] == [each.to_dict() for each in confirmed]
    assert_equals_runs_alone(done.directory, {**CONFIRMED, "sweep": None})


def test_there_are_ten_finalists_at_most(sweep: Any) -> None:
    rates = [0.01 + 1e-6 * k for k in range(13)]
    done = sweep(with_keys(LINEAR, sweep={"grid": {"optimizer.lr": rates}, "confirm": 1}))
    assert len(done.summary.best.not_distinguishable) == 12
    assert len(done.summary.confirmation) == 10


def test_a_confirmation_that_was_killed_goes_on(sweep: Any, tmp_path: Path) -> None:
    whole = sweep(CONFIRMED)
    for rounds in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            run_sweep(
                config_from_mapping(CONFIRMED),
                runs_dir=tmp_path / str(rounds),
                options=Options("cpu", workers=0),
                observer=StopAfter(rounds),
            )
        ((half,),) = [list(each.iterdir()) for each in (tmp_path / str(rounds)).iterdir()]
        before = ended(half)
        assert len(before) == 12 * rounds
        done = resume_sweep(half, options=Options("cpu", workers=0))
        assert done.confirmation == whole.summary.confirmation
        assert results(half) == results(whole.directory)
        assert {name: ended(half)[name] for name in before} == before


def test_a_finished_sweep_is_confirmed_and_gets_more_of_it(sweep: Any) -> None:
    directory = sweep(with_keys(CONFIRMED, sweep={"confirm": 0})).directory
    before = ended(directory)
    process = invoke("resume", directory, "--confirm", 1)
    assert process.exit_code == 0, process.stderr
    assert "trained again once, which had no part in the choice" in process.stdout
    assert "--confirm 5" not in process.stdout
    more = grown(directory, confirm=3)
    assert {cell.seeds for cell in more.summary.confirmation or []} == {3}
    assert {seed for _, seed, _ in confirming(directory)} == {1_000_000, 1_000_001, 1_000_002}
    assert {name: ended(directory)[name] for name in before} == before
    with pytest.raises(ConfigError, match="1 would remove some of the 3 replicates"):
        grown(directory, confirm=1)


def test_a_sweep_that_grew_is_confirmed_anew_on_fresh_replicates(sweep: Any) -> None:
    directory = sweep(CONFIRMED).directory
    old = confirming(directory)
    done = grown(directory, seeds=4)
    assert [cell.seeds for cell in done.summary.cells] == [4] * 4
    new = confirming(directory) - old
    assert {seed for _, seed, _ in new} == {1_000_002, 1_000_003}
    confirmed = StoredSweep(SweepDir(directory)).confirmed
    assert {seed.seed for cell in confirmed for seed in cell.replicates} == {1_000_002, 1_000_003}


def test_a_confirmation_is_not_pruned(sweep: Any) -> None:
    config = with_keys(
        CONFIRMED,
        training={"epochs": 8},
        sweep={"grid": {"optimizer.lr": [1e-9, 1e-8, 1e-7, 0.01]}, "pruner": "asha"},
    )
    done = sweep(config)
    assert done.summary.pruned > 0
    (confirmed,) = done.summary.confirmation
    assert confirmed.params == {"optimizer.lr": 0.01}
    runs = [run for run in planned(done.directory) if run.seed >= 1_000_000]
    assert [summary_of(done.directory / run.directory)["epochs"] for run in runs] == [8, 8]


def test_a_search_is_confirmed_without_learning_from_it(sweep: Any) -> None:
    section = {
        "search": "tpe",
        "trials": 14,
        "space": {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}},
        "select_on_test": True,
    }
    plain = sweep(with_keys(LINEAR, sweep=section))
    done = sweep(with_keys(LINEAR, sweep={**section, "confirm": 2}))
    assert done.summary.cells == plain.summary.cells
    assert done.summary.confirmation[0].params == done.summary.best.params


def test_a_folder_of_sweeps_is_compared_without_the_runs_of_confirmations(sweep: Any) -> None:
    done = sweep(CONFIRMED)
    cells = json.loads(invoke("compare", done.directory.parent, "--json").stdout)
    assert [cell["seeds"] for cell in cells] == [3] * 4


def test_the_plan_says_how_many_runs_a_confirmation_may_add(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(CONFIRMED))
    process = invoke("sweep", file, "--confirm", 5, "--dry-run")
    assert "confirm    up to 20 runs more" in process.stdout
    assert json.loads(invoke("sweep", file, "--dry-run", "--json").stdout)["confirmation"] == 8


def test_the_best_cell_alone_is_confirmed_where_it_is_distinguishable(sweep: Any) -> None:
    section = {"grid": {"optimizer.lr": [1e-9, 0.05]}, "seeds": 6, "vary": ["seed"]}
    done = sweep(with_keys(CONFIRMED, training={"epochs": 12}, sweep=section))
    cells = StoredSweep(SweepDir(done.directory)).cells
    assert len(best_cells(cells, Metric("val", "loss"))) == 1
    assert [cell.params for cell in done.summary.confirmation] == [{"optimizer.lr": 0.05}]
