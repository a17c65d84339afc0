"""A validation set that comes with the user's own arrays leads as one that is held out does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regrun
from regrun.config.load import config_from_mapping
from regrun.errors import ConfigError
from regrun.sweeps.run import plan_sweep
from tests.support.runs import rows_in

STOPPING = {"training.early_stopping": {"metric": "val/loss", "patience": 3}}
PRUNED = {"sweep": {"grid": {"optimizer.lr": [0.01, 0.02]}, "pruner": "median"}}


@pytest.fixture
def arrays(tmp_path: Path) -> Any:
    """The config of an archive that is written here: with its own validation set, or without."""

    def write(*, validation: bool, **sections: Any) -> dict[str, Any]:
        random = np.random.default_rng(0)
        parts = {"train": 20, "test": 10} | ({"val": 8} if validation else {})
        content: dict[str, Any] = {}
        for part, count in parts.items():
            content[f"x_{part}"] = random.normal(size=(count, 3))
            content[f"y_{part}"] = content[f"x_{part}"].sum(1) + random.normal(size=count)
        path = tmp_path / f"own-{validation}.npz"
        np.savez(path, **content)
        return {
            "dataset": {"name": "npz", "path": str(path)},
            "model": {"name": "linear"},
            "optimizer": {"name": "sgd", "lr": 0.01},
            "training": {"epochs": 20, "batch_size": 5},
            **sections,
        }

    return write


def test_early_stopping_follows_the_validation_set_of_the_file(train: Any, arrays: Any) -> None:
    run = train(arrays(validation=True), {**STOPPING, "optimizer.lr": 0.3})
    losses = [row["val/loss"] for row in rows_in(run.directory)]
    assert run.summary.best.metric == "val/loss"
    assert run.summary.best.value == min(losses) == losses[-4], "it stopped, 3 too late"


def test_without_one_the_metric_is_refused_where_it_stands_before_anything_is_written(
    invoke: Any, arrays: Any, tmp_path: Path
) -> None:
    config = arrays(validation=False)
    config["training"]["early_stopping"] = {"metric": "val/loss"}
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(config, indent=1))
    line = 1 + path.read_text().splitlines().index('   "metric": "val/loss"')
    result = invoke("train", path, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 2
    assert f"own.yaml:{line}:14: training.early_stopping.metric: val/loss needs" in result.stderr
    assert "there are no x_val and y_val; give dataset.validation" in result.stderr
    assert not list((tmp_path / "runs").glob("*"))
    held = invoke("train", path, "dataset.validation=5", "--runs-dir", tmp_path / "runs")
    assert held.exit_code == 0, held.stderr


@pytest.mark.parametrize("metric", ["val/loss", None])
def test_a_sweep_chooses_by_the_validation_set_of_the_file(
    arrays: Any, tmp_path: Path, metric: str | None
) -> None:
    config = arrays(validation=True, sweep={**PRUNED["sweep"], "metric": metric})
    found = regrun.sweep(config, runs_dir=tmp_path / "runs", device="cpu").summary
    assert found.best
    assert found.best.selected_on == "val"
    low = {cell.metrics["val/loss"].mean: cell.params for cell in found.cells}
    assert found.best.params == low[min(low)]


@pytest.mark.parametrize(
    ("validation", "sweep", "message"),
    [
        (False, {"metric": "val/loss"}, "val/loss needs a validation set, and npz has none"),
        (False, {}, "median chooses by the validation set and there is none"),
        (True, {"metric": "val/accuracy"}, "val/accuracy needs classes, and npz has numbers"),
    ],
)
def test_a_sweep_that_cannot_be_led_so_is_refused_at_its_metric(
    arrays: Any, validation: bool, sweep: dict[str, Any], message: str
) -> None:
    loaded = config_from_mapping(arrays(validation=validation, sweep={**PRUNED["sweep"], **sweep}))
    with pytest.raises(ConfigError, match=message) as error:
        plan_sweep(loaded)
    assert error.value.problems[0].path == ("sweep", "metric")


def test_every_dataset_of_an_axis_needs_one(arrays: Any) -> None:
    both = [arrays(validation=own)["dataset"]["path"] for own in (True, False)]
    section = {"grid": {"dataset.path": both}, "metric": "val/loss"}
    config = arrays(validation=True, sweep=section)
    with pytest.raises(ConfigError, match="val/loss needs a validation set"):
        plan_sweep(config_from_mapping(config))
    section["grid"] = {"dataset.path": both, "dataset.validation": [4]}
    assert plan_sweep(config_from_mapping(config)).cells == 2
    digits = {"name": "digits"}
    config = arrays(validation=True, sweep={"grid": {"dataset": [digits]}, "metric": "val/loss"})
    with pytest.raises(ConfigError, match="and digits has none here; give"):
        plan_sweep(config_from_mapping(config))


def test_a_damaged_archive_is_named_before_its_validation_set_is_looked_for(
    invoke: Any, arrays: Any, tmp_path: Path
) -> None:
    config = arrays(validation=True, **PRUNED)
    Path(config["dataset"]["path"]).write_bytes(b"PK\x03\x04 and no more")
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(config))
    result = invoke("sweep", path, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 5
    assert f"{config['dataset']['path']}: is no archive" in result.stderr
