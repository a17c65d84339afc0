"""The state of an optimizer: what its class says is what a stack allocates and a budget counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regrun.config.schema import Config
from regrun.execution.budget import tensor_copies
from regrun.stack.optimizer import StackedOptimizer

CASES: list[tuple[list[dict[str, Any]], int]] = [
    ([{"name": "sgd"}], 0),
    ([{"name": "sgd", "momentum": 0.5}], 1),
    ([{"name": "sgd"}, {"name": "sgd", "momentum": 0.5}], 1),
    ([{"name": "adam"}], 2),
    ([{"name": "adam", "amsgrad": True}], 3),
    ([{"name": "adamw"}], 2),
    ([{"name": "adamw", "amsgrad": True}], 3),
    ([{"name": "rmsprop"}], 1),
    ([{"name": "rmsprop", "centered": True}, {"name": "rmsprop", "centered": True}], 2),
    ([{"name": "rmsprop", "centered": True, "momentum": 0.5}], 3),
    ([{"name": "adagrad"}], 1),
    ([{"name": "fista"}], 2),
    ([{"name": "fista", "restart": False}], 1),
]


@pytest.mark.parametrize(("members", "count"), CASES)
def test_the_budget_counts_the_state_that_the_stack_holds(
    members: list[dict[str, Any]], count: int
) -> None:
    configs = [
        Config.model_validate(
            {
                "dataset": {"name": "diabetes"},
                "model": {"name": "linear"},
                "optimizer": {"lr": 0.1, **member},
            }
        )
        for member in members
    ]
    sections = [config.optimizer for config in configs]
    parameters = {"weight": torch.zeros(len(members), 3, 4)}
    state = StackedOptimizer(sections, parameters, ()).state_dict()
    slots = {key.partition("/")[0] for key in state if "/" in key}
    assert slots == set(type(sections[0]).slots(sections))
    assert len(slots) == count
    assert tensor_copies(configs) == 2 + count  # weights and gradients
