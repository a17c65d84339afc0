"""`regrun inspect` on a terminal."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import pytest

DOCUMENT: dict[str, Any] = {
    "config": {"name": "toy", "optimizer": {"name": "sgd", "lr": 0.1}},
    "runs": 1,
    "model": {
        "layers": [
            {"name": "hidden.0", "kind": "Linear", "output_shape": [64], "parameters": 50_240},
        ],
        "parameters": 50_240,
    },
    "parameters": [
        {
            "name": "hidden.0.weight",
            "shape": [64, 784],
            "role": "weight",
            "decay": 0.003,
            "penalties": [{"type": "l1", "strength": 1e-4, "method": "gradient"}],
            "reason": "decay_on: weight",
        },
        {
            "name": "hidden.0.bias",
            "shape": [64],
            "role": "bias",
            "decay": 0.0,
            "penalties": [],
            "reason": "a bias is not in [weight]",
        },
    ],
    "update_rule": "w ← w − η (g + λ w)",
    "memory_bytes": 1_234_567,
}


@pytest.fixture(autouse=True)
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    load, describe = ModuleType("regrun.config.load"), ModuleType("regrun.execution.describe")
    load.load_config = lambda path, overrides: "loaded"  # type: ignore[attr-defined]
    describe.describe = lambda loaded, device, allow_large: DOCUMENT  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "regrun.config.load", load)
    monkeypatch.setitem(sys.modules, "regrun.execution.describe", describe)


def test_every_parameter_has_its_group_and_the_reason(invoke: Any) -> None:
    lines = invoke("inspect", "c.yaml").stdout.splitlines()
    (weight,) = [line for line in lines if line.startswith("hidden.0.weight")]
    for text in ("64×784", "weight", "0.003", "l1 0.0001 (gradient)", "decay_on: weight"):
        assert text in weight
    (bias,) = [line for line in lines if line.startswith("hidden.0.bias")]
    assert bias.split()[2:5] == ["bias", "none", "none"]
    assert "a bias is not in [weight]" in bias


def test_config_model_rule_and_size_are_shown(invoke: Any) -> None:
    text = invoke("inspect", "c.yaml").stdout
    for expected in (
        "  lr: 0.1",
        "50,240 parameters",
        "w ← w − η (g + λ w)",
        "1 run, about 1.2 MB of memory",
    ):
        assert expected in text


def test_json_is_the_document(invoke: Any) -> None:
    assert json.loads(invoke("inspect", "c.yaml", "--json").stdout) == DOCUMENT


def test_a_narrow_terminal_works(invoke: Any) -> None:
    assert invoke("inspect", "c.yaml", env={"COLUMNS": "30"}).exit_code == 0
