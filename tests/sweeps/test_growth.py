"""Sweeps that get more seeds, values, cells and trials: what exists is not trained again."""

from __future__ import annotations

import json
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

import regrun
from regrun.config.load import config_from_mapping, load_config
from regrun.errors import ConfigError, Interrupted, UsageError
from regrun.results import SweepSummary
from regrun.store.sweep_dir import SweepDir
from regrun.stored import Sweep
from regrun.sweeps.run import Options, resume_sweep, run_sweep
from tests.support.faults import dying, in_child, recorded
from tests.support.program import invoke
from tests.support.stopping import StopsSweep
from tests.support.sweeps import DIGITS, LINEAR, ended, planned, results, rows_by_setting, with_keys
from tests.support.tampering import age

OPTIONS = Options("cpu", workers=0)
RATES: dict[str, Any] = {"grid": {"optimizer.lr": [0.01, 0.02]}, "seeds": 2}
SEARCH: dict[str, Any] = {
    "search": "tpe",
    "trials": 14,
    "space": {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}},
    "select_on_test": True,
    "stack_size": 1,
}
"""Runs alone in their stacks: others in it change the rounding, and so what is proposed."""


def train(tree: dict[str, Any], sweep: dict[str, Any], runs: Path) -> Path:
    loaded = config_from_mapping({**tree, "sweep": sweep})
    return Path(run_sweep(loaded, runs_dir=runs, options=OPTIONS).sweep_dir)


def grow(directory: Path, *overrides: str) -> SweepSummary:
    reload = partial(load_config, overrides=overrides, axes=True)
    return resume_sweep(directory, reload=reload, options=OPTIONS)


def keys_of(directory: Path) -> list[tuple[str, int, int | None]]:
    runs = planned(directory)
    return [(json.dumps(run.params, sort_keys=True), run.seed, run.data_seed) for run in runs]


def assert_grown(directory: Path, before: dict[str, int], whole: Path) -> None:
    """Nothing was trained twice, and every run is that of the sweep that had all from the start."""
    after = ended(directory)
    assert {name: after[name] for name in before} == before
    assert len(set(keys_of(directory))) == len(keys_of(directory)) == len(after)
    assert rows_by_setting(directory) == rows_by_setting(whole)
    assert not (directory / "stacks").exists()


GROWTHS: dict[str, tuple[dict[str, Any], list[str], dict[str, Any]]] = {
    "seeds": (RATES, ["sweep.seeds=4"], {**RATES, "seeds": 4}),
    "values": (
        RATES,
        ["optimizer.lr=0.01,0.02,0.03,0.005"],
        {"grid": {"optimizer.lr": [0.01, 0.02, 0.03, 0.005]}, "seeds": 2},
    ),
    "values in another order and writing": (
        RATES,
        ["sweep.grid.optimizer.lr=[3e-2, 2e-2, 1e-2]"],
        {"grid": {"optimizer.lr": [0.03, 0.02, 0.01]}, "seeds": 2},
    ),
    "values and seeds": (
        RATES,
        ["optimizer.lr=0.01,0.02,0.03", "sweep.seeds=3"],
        {"grid": {"optimizer.lr": [0.01, 0.02, 0.03]}, "seeds": 3},
    ),
    "values of two axes": (
        {"grid": {"optimizer.lr": [0.01], "optimizer.weight_decay": [0, 1]}},
        ["optimizer.lr=0.01,0.02", "optimizer.weight_decay=0,1,2"],
        {"grid": {"optimizer.lr": [0.01, 0.02], "optimizer.weight_decay": [0, 1, 2]}},
    ),
    "seeds on one draw of the data": (
        {**RATES, "vary": ["seed"]},
        ["sweep.seeds=4"],
        {**RATES, "vary": ["seed"], "seeds": 4},
    ),
    "draws of the data": (
        {**RATES, "vary": ["data"]},
        ["sweep.seeds=4"],
        {**RATES, "vary": ["data"], "seeds": 4},
    ),
    "seeds alone": ({"seeds": 2}, ["sweep.seeds=5"], {"seeds": 5}),
    "seeds of cells with a seed of their own": (
        {"cells": [{"seed": 0}, {"seed": 100}], "seeds": 2},
        ["sweep.seeds=3"],
        {"cells": [{"seed": 0}, {"seed": 100}], "seeds": 3},
    ),
    "sections as values": (
        {"grid": {"penalty": [{"type": "l1", "strength": 0.1}, "none"]}},
        ["penalty={type: l1, strength: 0.1},none,[{type: l2, strength: 1}]"],
        {
            "grid": {
                "penalty": [
                    {"type": "l1", "strength": 0.1},
                    "none",
                    [{"type": "l2", "strength": 1}],
                ]
            }
        },
    ),
    "networks": (
        {"grid": {"model.hidden": [[4], [4, 3]]}},
        ["model.hidden=[4],[4,3],[5]"],
        {"grid": {"model.hidden": [[4], [4, 3], [5]]}},
    ),
    "cells": (
        {"cells": [{"optimizer.lr": 0.01}, {}]},
        ["sweep.cells=[{optimizer.lr: 0.01}, {}, {optimizer.lr: 0.02, seed: 7}]"],
        {"cells": [{"optimizer.lr": 0.01}, {}, {"optimizer.lr": 0.02, "seed": 7}]},
    ),
}


@pytest.mark.parametrize("kind", GROWTHS)
def test_a_sweep_that_grew_has_the_runs_of_the_larger_one(kind: str, tmp_path: Path) -> None:
    small, overrides, large = GROWTHS[kind]
    tree = with_keys(DIGITS, training={"epochs": 2})
    directory = train(tree, small, tmp_path / "runs")
    before = ended(directory)
    summary = grow(directory, *overrides)
    whole = train(tree, large, tmp_path / "whole")
    assert_grown(directory, before, whole)
    stored = yaml.safe_load((directory / "sweep.yaml").read_text())["sweep"]
    assert config_from_mapping({**tree, "sweep": stored}).config.sweep == (
        config_from_mapping({**tree, "sweep": large}).config.sweep
    )
    assert summary.completed == summary.runs == len(planned(whole))
    assert json.loads((directory / "summary.json").read_text())["runs"] == summary.runs


def test_the_seeds_of_a_cell_stay_one_cell(tmp_path: Path) -> None:
    directory = train(LINEAR, RATES, tmp_path)
    summary = grow(directory, "sweep.seeds=5", "optimizer.lr=0.01,0.02,0.03")
    assert [(cell.params, cell.seeds) for cell in summary.cells] == [
        ({"optimizer.lr": rate}, 5) for rate in (0.01, 0.02, 0.03)
    ]
    assert all(len(cell.metrics["test/loss"].values) == 5 for cell in summary.cells)


@pytest.mark.parametrize("search", ["tpe", "random", "qmc", "cmaes"])
def test_more_trials_are_those_of_the_longer_search(search: str, tmp_path: Path) -> None:
    space = {**SEARCH["space"], "optimizer.weight_decay": {"uniform": [0, 1]}}
    section = {**SEARCH, "search": search, "space": space}
    directory = train(LINEAR, section, tmp_path / "runs")
    before = ended(directory)
    assert len(before) == 14
    grow(directory, "sweep.trials=27")
    assert len(ended(directory)) == 27
    assert_grown(directory, before, train(LINEAR, {**section, "trials": 27}, tmp_path / "whole"))


def test_seeds_that_a_search_gets_later_propose_no_other_cells(tmp_path: Path) -> None:
    directory = train(LINEAR, SEARCH, tmp_path / "runs")
    cells = {key for key, *_ in keys_of(directory)}
    grow(directory, "sweep.seeds=3")
    assert {key for key, *_ in keys_of(directory)} == cells
    assert len(ended(directory)) == 3 * 14
    grow(directory, "sweep.trials=27")
    longer = train(LINEAR, {**SEARCH, "trials": 27}, tmp_path / "whole")
    # Two batches; the third learns from the cells of the second, which have three seeds each.
    assert {key for key, *_ in keys_of(longer)[:24]} < {key for key, *_ in keys_of(directory)}
    assert len(ended(directory)) == 3 * 27


def test_an_interrupted_sweep_grows(tmp_path: Path) -> None:
    tree = {**DIGITS, "sweep": {**RATES, "stack_size": 1}}
    with pytest.raises(Interrupted):
        run_sweep(
            config_from_mapping(tree), runs_dir=tmp_path, options=OPTIONS, observer=StopsSweep()
        )
    (directory,) = tmp_path.glob("small/*")
    before = ended(directory)
    grow(directory, "sweep.seeds=3", "optimizer.lr=0.01,0.02,0.03")
    large = {"grid": {"optimizer.lr": [0.01, 0.02, 0.03]}, "seeds": 3, "stack_size": 1}
    assert_grown(directory, before, train(DIGITS, large, tmp_path / "whole"))


def test_a_sweep_interrupted_while_it_grows_goes_on(tmp_path: Path) -> None:
    directory = train(DIGITS, RATES, tmp_path / "runs")
    before = ended(directory)
    reload = partial(load_config, overrides=["sweep.seeds=4"], axes=True)
    with pytest.raises(Interrupted):
        resume_sweep(directory, reload=reload, options=OPTIONS, observer=StopsSweep())
    assert not (directory / "summary.json").exists()
    resume_sweep(directory, options=OPTIONS)
    assert_grown(directory, before, train(DIGITS, {**RATES, "seeds": 4}, tmp_path / "whole"))


def files_of(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "fewer seeds": (RATES, "sweep.seeds=1", "1 would remove some of the 2 seeds"),
    "fewer values": (RATES, "optimizer.lr=0.02,0.03", "0.01 would be removed"),
    "one value": (RATES, "optimizer.lr=0.03", "is an axis; give its values and the new ones"),
    "fewer sections": (
        {"grid": {"penalty": [{"type": "l1", "strength": 0.1}, "none"]}},
        "penalty=none,{type: l2, strength: 0.1}",
        "{type: l1, strength: 0.1} would be removed",
    ),
    "a new axis": (
        RATES,
        "optimizer.momentum=0,0.9",
        "is no axis of this sweep (it has optimizer.lr); start a new one: regrun sweep",
    ),
    "another key": (RATES, "training.batch_size=7", "cannot change in a sweep that has begun"),
    "another metric": (RATES, "sweep.metric=test/loss", "cannot change in a sweep"),
    "epochs": (RATES, "training.epochs=9", "the runs of a sweep keep no checkpoints"),
    "trials of a grid": (RATES, "sweep.trials=9", "this sweep has no search"),
    "a wrong value": (RATES, "optimizer.lr=0.01,0.02,-1", "-1"),
    "a value twice": (RATES, "optimizer.lr=0.01,0.02,2e-2", "0.02 appears twice on this axis"),
    "an unknown key": (RATES, "optimizer.lrr=1,2", "optimizer.lrr"),
    "fewer trials": (SEARCH, "sweep.trials=3", "3 would remove some of the 14 trials"),
    "another space": (
        SEARCH,
        "sweep.space={optimizer.lr: {uniform: [0.1, 1]}}",
        "cannot change in a sweep that has begun",
    ),
    "an axis of a search": (SEARCH, "optimizer.lr=0.1,0.2", "not several"),
    "a value of a search": (SEARCH, "optimizer.lr=0.1", "differs between the cells"),
    "seeds of a pruned sweep": (
        {**RATES, "pruner": "median", "select_on_test": True},
        "sweep.seeds=3",
        "median compares cells that train together",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_sweep_cannot_take_is_refused_and_nothing_changes(kind: str, tmp_path: Path) -> None:
    section, override, reason = REFUSED[kind]
    directory = train(LINEAR, section, tmp_path)
    before = files_of(directory)
    process = invoke("resume", directory, override)
    assert process.exit_code == 2, process.stderr
    assert reason in " ".join(process.stderr.split())
    assert "Traceback" not in process.stderr
    assert files_of(directory) == before


def test_the_option_for_seeds_is_the_key(tmp_path: Path) -> None:
    directory = train(LINEAR, RATES, tmp_path)
    process = invoke("resume", directory, "--seeds", 3, "--json")
    assert process.exit_code == 0, process.stderr
    assert json.loads(process.stdout)["runs"] == 6
    assert "adding 2 runs: 1 replicate of 2 cells" in process.stderr
    again = invoke("resume", directory)
    assert "had finished before; nothing to do" in again.stderr
    assert f"for more seeds: regrun resume {directory} --seeds 6" in again.stderr
    run = directory / planned(directory)[0].directory
    process = invoke("resume", run, "--seeds", 3)
    assert process.exit_code == 2
    assert f"--seeds: {run} is no sweep" in process.stderr
    process = invoke("resume", run, "training.epochs=9")
    assert process.exit_code == 2
    assert "the runs of a sweep keep none" in process.stderr


@pytest.mark.parametrize("seeds", [1, 2])
def test_no_more_replicates_than_there_are_is_wrong_usage(seeds: int, tmp_path: Path) -> None:
    directory = train(LINEAR, RATES, tmp_path)
    before = files_of(directory)
    process = invoke("resume", directory, "--seeds", seeds)
    assert process.exit_code == 2
    said = " ".join(process.stderr.split())
    assert f"--seeds {seeds}: every cell of {directory} has 2 replicates" in said
    assert f"regrun resume {directory} --seeds 4" in said
    with pytest.raises(UsageError, match="has 2 replicates"):
        regrun.resume(directory, seeds=seeds, device="cpu")
    assert files_of(directory) == before


def test_the_command_that_was_interrupted_may_be_repeated(tmp_path: Path) -> None:
    directory = train(LINEAR, RATES, tmp_path)
    reload = partial(load_config, overrides=["sweep.seeds=4"], axes=True)
    with pytest.raises(Interrupted):
        resume_sweep(directory, reload=reload, seeds=4, options=OPTIONS, observer=StopsSweep())
    again = regrun.resume(directory, seeds=4, device="cpu")
    assert isinstance(again, Sweep)
    assert again.summary.completed == 8


def test_a_search_gets_replicates_of_the_cells_it_has_and_says_how_many(tmp_path: Path) -> None:
    directory = train(LINEAR, {**SEARCH, "trials": 3}, tmp_path)
    process = invoke("resume", directory, "--seeds", 3)
    assert process.exit_code == 0, process.stderr
    assert "adding 6 runs: 2 replicates of 3 cells" in process.stderr


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(LINEAR, {**RATES, "stack_size": 1}, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    section = {"grid": {"optimizer.lr": [0.01, 0.02, 0.03]}, "seeds": 3, "stack_size": 1}
    return train(LINEAR, section, tmp_path_factory.mktemp("large"))


MORE = ("optimizer.lr=0.01,0.02,0.03", "sweep.seeds=3")


def operations(small: Path, folder: Path) -> int:
    directory = folder / "recorded"
    shutil.copytree(small, directory)
    with recorded() as found:
        grow(directory, *MORE)
    return len(found.names)


def die_and_go_on(small: Path, large: Path, folder: Path, numbers: range) -> None:
    for number in numbers:
        directory = folder / str(number)
        shutil.copytree(small, directory)
        before = ended(directory)

        def work(directory: Path = directory, number: int = number) -> None:
            with dying(number, torn=True):
                grow(directory, *MORE)

        assert in_child(work) == -signal.SIGKILL
        copy = folder / f"{number}-as-it-is"
        shutil.copytree(directory, copy)
        whole = resume_sweep(copy, options=OPTIONS)
        seeds = yaml.safe_load((copy / "sweep.yaml").read_text())["sweep"]["seeds"]
        assert (seeds, whole.runs) in ((2, 4), (3, 9))
        assert whole.completed == whole.runs
        if seeds == 2:
            assert results(copy) == results(small)
        grow(directory, *MORE)
        assert_grown(directory, before, large)


def test_a_sweep_killed_while_it_grows_is_carried_on(
    small: Path, large: Path, tmp_path: Path
) -> None:
    count = operations(small, tmp_path)
    assert count > 100
    die_and_go_on(small, large, tmp_path, range(1, 24, 4))
    die_and_go_on(small, large, tmp_path, range(24, count + 1, 40))


@pytest.mark.long
def test_a_sweep_killed_at_any_operation_while_it_grows_is_carried_on(
    small: Path, large: Path, tmp_path: Path
) -> None:
    count = operations(small, tmp_path)
    die_and_go_on(small, large, tmp_path, range(1, count + 1))


def test_the_plan_of_a_sweep_gets_a_line_for_what_was_added(tmp_path: Path) -> None:
    directory = train(LINEAR, RATES, tmp_path)
    first = SweepDir(directory).plan.path.read_bytes()
    grow(directory, "sweep.seeds=3")
    assert SweepDir(directory).plan.path.read_bytes().startswith(first)
    assert [len(each.runs) for each in SweepDir(directory).read_rounds()] == [4, 2]


def test_in_python_a_sweep_grows(tmp_path: Path) -> None:
    directory = train(LINEAR, RATES, tmp_path)
    found = regrun.resume(directory, axes={"optimizer.lr": [0.01, 0.02, 0.03]}, seeds=3)
    assert isinstance(found, regrun.Sweep)
    assert (len(found.cells), len(found.runs)) == (3, 9)


def test_a_sweep_planned_before_data_could_vary_goes_on_with_one_draw(tmp_path: Path) -> None:
    directory = train(DIGITS, {**RATES, "vary": ["seed"]}, tmp_path)
    files = SweepDir(directory)
    age(directory)
    files.config.path.write_text(files.config.path.read_text().replace("vary", "# "))
    files.plan.path.write_text(files.plan.path.read_text().replace(',"data_seed":null', ""))
    grown = grow(directory, "sweep.seeds=4")
    assert grown.vary == ["seed"]
    assert [(run.seed, run.data_seed) for run in planned(directory)][-2:] == [(2, None), (3, None)]


@pytest.mark.parametrize("vary", ["[seed]", "[data]"])
def test_what_varies_cannot_change_once_a_sweep_has_begun(vary: str, tmp_path: Path) -> None:
    directory = train(LINEAR, RATES, tmp_path)
    with pytest.raises(ConfigError, match=r"sweep\.vary.*cannot change in a sweep that has begun"):
        grow(directory, f"sweep.vary={vary}")
