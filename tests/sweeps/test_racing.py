"""Races: replicates in rounds, and no more of them for cells that are out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import regrun
from regrun.analysis.racing import alpha_of_look, race_survivors
from regrun.analysis.sweeps import StoredSweep
from regrun.config.load import config_from_mapping
from regrun.errors import ConfigError
from regrun.store.sweep_dir import SweepDir
from regrun.stored import Sweep
from regrun.sweeps.run import Options, resume_sweep, run_sweep
from tests.support.program import invoke
from tests.support.sweeps import (
    DIGITS,
    ended,
    planned,
    results,
    rows_by_setting,
    summary_of,
    with_keys,
)
from tests.sweeps.test_run import StopAfter, assert_same_rows

RATES = {"optimizer.lr": [1e-9, 0.02, 2e-9, 0.021]}
GRID: dict[str, Any] = with_keys(
    DIGITS, training={"epochs": 8}, sweep={"grid": RATES, "seeds": 8, "vary": ["seed"]}
)
RACE = with_keys(GRID, sweep={"search": "race"})


def rounds_of(sweep: Path) -> list[list[tuple[int, int]]]:
    return [[(run.cell, run.seed) for run in each.runs] for each in SweepDir(sweep).read_rounds()]


def by_hand(whole: Sweep, seeds: int) -> list[list[tuple[int, int]]]:
    """The rounds of the race, from the runs of the sweep that trained everything."""
    cells = StoredSweep(SweepDir(whole.directory)).cells
    left, first, rounds = list(range(len(cells))), 0, []
    for end in (3, 5, 7, 8):
        rounds.append([(cell, seed) for cell in left for seed in range(first, min(end, seeds))])
        values = [
            {key: each for key, each in cells[cell].values("val/loss").items() if key.seed < end}
            for cell in left
        ]
        kept = race_survivors(values, alpha=alpha_of_look(len(rounds)), scale="log")
        left, first = [left[each] for each in kept], end
    return rounds


def test_a_race_trains_what_its_rule_says_and_the_runs_are_those_of_the_whole_sweep(
    sweep: Any,
) -> None:
    whole, race = sweep(GRID), sweep(RACE)
    expected = by_hand(whole, 8)
    assert rounds_of(race.directory) == expected
    assert {cell for cell, _ in expected[-1]} == {1, 3}
    rows = rows_by_setting(race.directory)
    assert_same_rows(rows, {key: rows_by_setting(whole.directory)[key] for key in rows})
    assert race.summary.saved == 32 - len(planned(race.directory)) > 0
    assert race.summary.runs == race.summary.completed == len(planned(race.directory))
    seeds = Counter(cell for each in expected for cell, _ in each)
    assert [cell.seeds for cell in race.summary.cells] == [seeds[cell] for cell in range(4)]
    assert race.summary.best == whole.summary.best
    assert whole.summary.saved is None


def test_a_cell_that_is_out_cannot_be_the_best(sweep: Any) -> None:
    race = sweep(RACE)
    out = [cell for cell in StoredSweep(SweepDir(race.directory)).cells if cell.is_out]
    assert [cell.params["optimizer.lr"] for cell in out] == [1e-9, 2e-9]
    best = race.summary.best
    assert not {1e-9, 2e-9} & {
        params["optimizer.lr"] for params in [best.params, *best.not_distinguishable]
    }


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_race_that_was_killed_goes_on_as_if_nothing_had_been(
    sweep: Any, tmp_path: Path, rounds: int
) -> None:
    whole = sweep(RACE)
    options = Options("cpu", workers=0)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(
            config_from_mapping(RACE),
            runs_dir=tmp_path / "half",
            options=options,
            observer=StopAfter(rounds),
        )
    ((half,),) = [list(each.iterdir()) for each in (tmp_path / "half").iterdir()]
    before = ended(half)
    done = resume_sweep(half, options=options)
    assert rounds_of(half) == rounds_of(whole.directory)
    assert results(half) == results(whole.directory)
    assert done.saved == whole.summary.saved
    assert {name: ended(half)[name] for name in before} == before


def test_more_seeds_are_for_the_cells_that_are_left(sweep: Any) -> None:
    race = sweep(RACE)
    before = ended(race.directory)
    more = regrun.resume(race.directory, seeds=10, device="cpu")
    assert isinstance(more, Sweep)
    seeds = {cell.params["optimizer.lr"]: cell.seeds for cell in more.summary.cells}
    assert seeds[0.02] == seeds[0.021] == 10
    assert seeds[1e-9] == race.summary.cells[0].seeds
    assert {name: ended(race.directory)[name] for name in before} == before


@pytest.mark.parametrize(
    "section",
    [
        {"cells": [{"optimizer.lr": 1e-9}, {"optimizer.lr": 0.02}, {"optimizer.lr": 0.021}]},
        {"space": {"optimizer.lr": {"choice": [1e-9, 0.02, 0.021]}}, "trials": 12},
    ],
)
def test_cells_and_draws_from_a_space_race_too(sweep: Any, section: dict[str, Any]) -> None:
    config = with_keys(GRID, sweep={**section, "grid": {}, "search": "race", "confirm": 2})
    race = sweep(config)
    seeds = {cell.params["optimizer.lr"]: cell.seeds for cell in race.summary.cells}
    assert seeds[1e-9] < seeds[0.02] == seeds[0.021] == 8
    assert {cell.seeds for cell in race.summary.confirmation} == {2}


def test_draws_of_the_data_race_in_stacks_of_their_own(sweep: Any) -> None:
    race = sweep(with_keys(RACE, sweep={"vary": None, "seeds": 4}))
    first = SweepDir(race.directory).read_rounds()[0]
    draws = [{first.runs[index].data_seed for index in members} for members in first.stacks]
    assert draws == [{0}, {1}, {2}]


def test_the_report_says_what_was_saved(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(RACE))
    plan = json.loads(invoke("sweep", file, "--dry-run", "--json").stdout)
    assert (plan["runs"], plan["cells"]) == (32, 4)
    process = invoke("sweep", file, "--runs-dir", tmp_path / "runs")
    (directory,) = (tmp_path / "runs" / "small").iterdir()
    saved = summary_of(directory)["saved"]
    assert f"saved      {saved} runs, by the race" in process.stdout
    assert "the race gave 2 of 4 cells no more seeds: worse (5%)" in process.stdout


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"seeds": 3}, r"sweep\.seeds: 3: a race looks at its cells after 3 replicates first"),
        ({"grid": {}}, r"search: race needs a grid, cells or a space"),
        ({"pruner": "asha"}, r"sweep\.pruner: asha stops runs, a race stops cells"),
        ({"metric": "test/loss"}, r"race would choose by the test set \(test/loss\)"),
    ],
)
def test_what_cannot_race_is_refused(section: dict[str, Any], message: str, sweep: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep(with_keys(RACE, sweep=section))


@pytest.mark.parametrize(
    "changes", [{"sweep.grid.optimizer.lr": [*RATES["optimizer.lr"], 1.0]}, {"sweep.trials": 60}]
)
def test_no_cell_joins_a_race_that_has_begun(sweep: Any, changes: dict[str, Any]) -> None:
    race = sweep(RACE)
    with pytest.raises(ConfigError, match="the cells of a race start together"):
        regrun.resume(race.directory, changes, device="cpu")
