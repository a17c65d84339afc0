"""Data that changed between a run or a sweep and its resumption are noticed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regrun.config.load import config_from_mapping
from regrun.data.assemble import moments
from regrun.errors import CorruptInputError, Interrupted
from regrun.execution.train import resume_run, train_run
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps.planned_stack import PlannedStack, Report, train_stack
from regrun.sweeps.run import Options, resume_sweep, run_sweep
from tests.support.program import run_python
from tests.support.stopping import StopsRun, StopsSweep


@pytest.fixture
def table(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    path = tmp_path / "table.csv"
    lines = [",".join(f"{cell:.3f}" for cell in row) for row in random.normal(size=(40, 3))]
    path.write_text("\n".join(["a,b,y", *lines]) + "\n")
    return path


def config_of(table: Path, **sections: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "csv", "path": str(table), "target": "y"},
        "model": {"name": "linear"},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "training": {"epochs": 30, "batch_size": 5},
        **sections,
    }


def edit(table: Path) -> None:
    """A little more in every cell of the target."""
    header, *lines = table.read_text().split()
    table.write_text("\n".join([header, *(f"{line}5" for line in lines)]) + "\n")


def stopped_run(table: Path, runs: Path) -> Path:
    loaded = config_from_mapping(config_of(table))
    with pytest.raises(Interrupted):
        train_run(loaded, runs_dir=runs, device="cpu", observer=StopsRun())
    (directory,) = runs.glob("run/*")
    return directory


def test_a_run_is_not_carried_on_with_other_examples(table: Path, tmp_path: Path) -> None:
    directory = stopped_run(table, tmp_path / "runs")
    before = table.read_bytes()
    edit(table)
    with pytest.raises(CorruptInputError) as error:
        resume_run(directory)
    assert str(table) in str(error.value)
    assert "not those that training began with; put them back" in str(error.value)
    table.write_bytes(before)
    resumed = resume_run(directory)
    assert (
        resumed.metrics
        == train_run(
            config_from_mapping(config_of(table)), runs_dir=tmp_path / "whole", device="cpu"
        ).metrics
    )


def test_another_file_with_the_same_examples_is_the_same_data(table: Path, tmp_path: Path) -> None:
    directory = stopped_run(table, tmp_path / "runs")
    table.write_text(table.read_text().replace("\n", "\r\n"))
    assert resume_run(directory).status == "completed"


SWEEP = {"grid": {"optimizer.lr": [0.01, 0.02, 0.03]}, "stack_size": 1}


def stopped_sweep(config: dict[str, Any], runs: Path) -> Path:
    with pytest.raises(Interrupted):
        run_sweep(
            config_from_mapping(config),
            runs_dir=runs,
            options=Options("cpu", workers=0),
            observer=StopsSweep(),
        )
    (directory,) = runs.glob("run/*")
    return directory


def test_a_sweep_is_not_carried_on_with_other_examples_even_in_stacks_not_begun(
    table: Path, tmp_path: Path
) -> None:
    directory = stopped_sweep(config_of(table, sweep=SWEEP), tmp_path / "runs")
    shutil.rmtree(SweepDir(directory).stacks.path)  # not even a checkpoint is left
    before = table.read_bytes()
    edit(table)
    ended = {path.name for path in directory.glob("*/summary.json")}
    with pytest.raises(CorruptInputError, match=f"{table}: the examples are not those"):
        resume_sweep(directory, options=Options(workers=0))
    assert {path.name for path in directory.glob("*/summary.json")} == ended, "something was run"
    table.write_bytes(before)
    assert resume_sweep(directory, options=Options(workers=0)).completed == 3


def test_of_an_axis_over_files_the_one_that_changed_is_named(table: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    shutil.copy(table, other)
    edit(other)
    grid = {"dataset.path": [str(table), str(other)], "dataset.num_train": [10, 20]}
    config = config_of(table, sweep={"grid": grid})
    directory = stopped_sweep(config, tmp_path / "runs")
    (planned,) = SweepDir(directory).read_rounds()
    assert len(set(planned.data)) == len(planned.stacks) == 4
    before = other.read_bytes()
    other.write_bytes(table.read_bytes())
    with pytest.raises(CorruptInputError, match=f"^{other}: the examples"):
        resume_sweep(directory, options=Options(workers=0))
    other.write_bytes(before)
    assert resume_sweep(directory, options=Options(workers=0)).completed == 4


def test_data_that_change_while_a_sweep_runs_are_noticed_by_the_next_stack(
    table: Path, tmp_path: Path
) -> None:
    directory = stopped_sweep(config_of(table, sweep=SWEEP), tmp_path / "runs")
    (planned,) = SweepDir(directory).read_rounds()
    last = PlannedStack(directory, 2, (planned.runs[2],), planned.data[2])
    edit(table)
    with pytest.raises(CorruptInputError, match=str(table)):
        train_stack(last, "cpu", lambda: False, Report())
    assert last.unfinished()


@pytest.mark.parametrize("shape", [(70_000, 1), (70_000, 3), (2_000, 1, 6, 6)])
def test_moments_do_not_depend_on_the_number_of_threads(shape: tuple[int, ...]) -> None:
    inputs = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(torch.cat([part.flatten() for part in moments(inputs)]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    flat = inputs.transpose(0, 1).reshape(shape[1], -1)
    expected = torch.cat([flat.mean(1), flat.std(1, correction=0)])
    torch.testing.assert_close(found[0], expected, rtol=1e-12, atol=1e-14)


def test_a_fingerprint_is_the_same_in_every_process(table: Path) -> None:
    def section(**keys: Any) -> Any:
        tree = config_of(table)
        return config_from_mapping({**tree, "dataset": {**tree["dataset"], **keys}}).config.dataset

    here = section().load().fingerprint()
    code = (
        "import torch; torch.set_num_threads(3)\n"
        "from regrun.config.load import config_from_mapping\n"
        f"print(config_from_mapping({config_of(table)!r}).config.dataset.load()"
        ".fingerprint())"
    )
    there = run_python(code, env={"PYTHONHASHSEED": "7"})
    assert there.stdout.strip() == here
    changes: list[dict[str, Any]] = [
        {"test": 9}, {"validation": 4}, {"standardize": False}, {"seed": 1}, {"ignore": ["a"]},
    ]  # fmt: skip
    others = {section(**keys).load().fingerprint() for keys in changes}
    assert len(others | {here}) == len(changes) + 1
