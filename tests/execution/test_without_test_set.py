"""Runs and sweeps whose data have no test set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import regrun
from regrun.errors import ConfigError
from tests.execution.conftest import Train

DIGITS: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 60, "test": 0},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 2},
}


def test_a_run_measures_what_there_is(train: Train) -> None:
    with pytest.warns(regrun.errors.DataWarning, match="there is no test set"):
        run = train(DIGITS)
    assert set(run.summary.metrics) == {"train/loss", "train/accuracy", "objective"}
    assert run.summary.best is not None
    assert run.summary.best.metric == "train/loss"
    assert run.summary.data is not None
    assert run.summary.data.sizes == {"train": 60}


def test_a_validation_set_chooses(train: Train) -> None:
    run = train(DIGITS, {"dataset.validation": 50})
    assert run.summary.best is not None
    assert run.summary.best.metric == "val/loss"


@pytest.mark.parametrize("validation", [0, 50])
def test_a_sweep_orders_its_cells(tmp_path: Path, validation: int) -> None:
    config = {**DIGITS, "dataset": {**DIGITS["dataset"], "validation": validation}}
    sweep = regrun.sweep(
        config, {"optimizer.lr": [0.1, 0.01]}, seeds=2, runs_dir=tmp_path, device="cpu"
    )
    assert sweep.summary.best is not None
    assert sweep.summary.best.selected_on == ("val" if validation else "train")


def test_a_metric_of_the_test_set_is_refused(tmp_path: Path) -> None:
    stopping = {"early_stopping": {"metric": "test/loss"}}
    config = {**DIGITS, "training": {**DIGITS["training"], **stopping}}
    with pytest.raises(ConfigError, match=r"test/loss needs a test set, and dataset\.test is 0"):
        regrun.train(config, runs_dir=tmp_path)


def test_the_program_prints_its_reports(invoke: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps({**DIGITS, "name": "none"}))
    for words in (
        ("train", path, "--runs-dir", tmp_path / "runs"),
        ("sweep", path, "optimizer.lr=0.1,0.01", "--runs-dir", tmp_path / "runs"),
        ("compare", tmp_path / "runs" / "none"),
        ("inspect", path),
        ("inspect", "--data", path),
    ):
        result = invoke(*words)
        assert result.exit_code == 0, result.stderr
        assert "train" in result.stdout
