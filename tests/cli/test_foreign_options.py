"""Words that people bring from other tools are understood, or answered with what to write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import LINEAR


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(LINEAR))
    return path


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["--optimizer.lr=0.1"], "without dashes: optimizer.lr=0.1"),
        (["--optimizer.lr", "0.1"], "without dashes: optimizer.lr=0.1"),
        (["--optimizer.weight-decay=0.1"], "without dashes: optimizer.weight_decay=0.1"),
        (["--lr=0.1"], "without dashes: optimizer.lr=0.1"),
        (["--learning-rate", "0.1"], "without dashes: optimizer.lr=0.1"),
        (["--max_epochs", "5"], "without dashes: training.epochs=5"),
        (["--batch-size=8"], "without dashes: training.batch_size=8"),
        (["--seed", "3"], "without dashes: seed=3"),
        (["-m", "optimizer.lr=0.1,1"], "regrun sweep"),
        (["--multirun"], "regrun sweep"),
        (["--gpus", "1"], "write --device cuda"),
    ],
)
def test_options_of_other_tools_are_answered(
    invoke: Any, config: Path, words: list[str], advice: str
) -> None:
    result = invoke("train", config, *words)
    assert result.exit_code == 2
    assert advice in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("option", ["--config", "-c", "--config-file"])
def test_the_config_is_an_argument(invoke: Any, config: Path, option: str) -> None:
    result = invoke("train", option, config)
    assert result.exit_code == 2
    assert f"regrun train {config}" in result.stderr


def test_an_option_that_means_nothing_is_refused_as_ever(invoke: Any, config: Path) -> None:
    result = invoke("train", config, "--frobnicate")
    assert result.exit_code == 2
    assert "No such option: --frobnicate" in result.stderr


def test_what_was_dropped_is_noted_and_kept(invoke: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        json.dumps({**LINEAR, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}})
    )
    runs = tmp_path / "runs"
    result = invoke("train", path, "optimizer.name=adam", "--runs-dir", runs)
    assert result.exit_code == 0
    assert "note: optimizer: adam has no momentum" in result.stderr
    (summary,) = runs.glob("*/*/summary.json")
    assert "adam has no momentum" in summary.read_text()
    result = invoke("sweep", path, "optimizer.name=sgd,adam", "--runs-dir", runs)
    assert result.exit_code == 0, result.stderr
    assert "note: optimizer: adam has no momentum" in result.stderr


def test_a_grid_over_keys_of_some_kinds_is_answered_with_cells(invoke: Any, config: Path) -> None:
    result = invoke("sweep", config, "optimizer.name=sgd,adam", "optimizer.momentum=0,0.9")
    assert result.exit_code == 2
    block = result.stderr[result.stderr.index("sweep:") :]
    path = config.with_name("cells.yaml")
    path.write_text(_as_yaml(config) + block)
    result = invoke("sweep", path, "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["cells"] == 3


def _as_yaml(config: Path) -> str:
    import yaml

    text: str = yaml.safe_dump(json.loads(config.read_text()))
    return text
