"""`regrun inspect` on a terminal and as JSON, for a small real config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = """\
name: toy
dataset: {name: digits}
model: {name: mlp, hidden: [8]}
penalty: {type: l1, strength: 1.0e-4}
optimizer: {name: sgd, lr: 0.1, weight_decay: 3.0e-3}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(CONFIG)
    return path


def test_every_parameter_has_its_group_and_the_reason(invoke: Any, config: Path) -> None:
    lines = invoke("inspect", config, "--all").stdout.splitlines()
    weight = next(line for line in lines if line.startswith("hidden.0.linear.weight"))
    for text in ("8×64", "weight", "0.003", "l1 0.0001 (gradient)", "role weight is in decay_on"):
        assert text in weight
    bias = next(line for line in lines if line.startswith("hidden.0.linear.bias"))
    assert bias.split()[2:5] == ["bias", "none", "none"]
    assert "role bias is not in decay_on" in bias


def test_parameters_on_which_the_same_acts_are_one_group(invoke: Any, config: Path) -> None:
    text = invoke("inspect", config).stdout
    weights = "weight  hidden.0.linear.weight, output.weight: 592 numbers\n"
    assert weights + "        weight decay 0.003, penalties l1 0.0001 (gradient)\n" in text
    assert text.count("role weight is in decay_on") == 1


def test_the_model_comes_first_and_the_config_has_only_what_was_chosen(
    invoke: Any, config: Path
) -> None:
    text = invoke("inspect", config).stdout
    places = [text.index(f"{part}\n") for part in ("model", "\nparameters", "\nupdate rule")]
    assert [*places, text.index("\nconfig, without")] == sorted([*places, text.index("\nconfig,")])
    shown = text.partition("\nconfig, without defaults (--all shows every key)\n")[2]
    assert yaml.safe_load(shown.partition("\n\n")[0]) == {
        "name": "toy",
        "dataset": {"name": "digits"},
        "model": {"name": "mlp", "hidden": [8]},
        "penalty": [{"type": "l1", "strength": 1e-4}],
        "optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 3e-3},
    }
    everything = invoke("inspect", config, "--all").stdout
    assert "momentum: 0.0" in everything
    assert "momentum" not in shown.partition("\n\n")[0]


def test_config_model_rule_and_size_are_shown(invoke: Any, config: Path) -> None:
    text = invoke("inspect", config).stdout
    for expected in ("  lr: 0.1", "610 parameters", "w ← w − η_t g", "1 run, about "):
        assert expected in text


def test_json_has_the_keys_of_the_contract(invoke: Any, config: Path) -> None:
    found = json.loads(invoke("inspect", config, "--json").stdout)
    assert found["config"]["optimizer"]["weight_decay"] == 3e-3
    assert found["model"]["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    weight, bias = found["parameters"][:2]
    assert weight["shape"] == [8, 64]
    assert (weight["decay"], bias["decay"]) == (3e-3, 0.0)
    assert weight["penalties"] == [{"type": "l1", "strength": 1e-4, "method": "gradient"}]
    assert bias["penalties"] == []
    assert found["memory_bytes"] > 0
    assert found.keys() == {
        "config", "runs", "model", "parameters", "update_rule", "memory_bytes", "data", "notes",
    }  # fmt: skip


def test_a_narrow_terminal_works(invoke: Any, config: Path) -> None:
    assert invoke("inspect", config, env={"COLUMNS": "30"}).exit_code == 0
