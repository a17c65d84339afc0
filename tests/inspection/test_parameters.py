"""What the plan of the parameters says, and that the optimizer does it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regrun.config.schema import Config
from regrun.errors import ConfigError
from regrun.inspection.parameters import plan_parameters
from regrun.nn.roles import Role, select
from regrun.results import ParameterSummary
from regrun.stack.optimizer import StackedOptimizer
from regrun.stack.penalties import StackedPenalties

ROLES: dict[str, Role] = {
    "hidden.0.weight": "weight",
    "hidden.0.bias": "bias",
    "norm.weight": "norm",
}
SHAPES = {"hidden.0.weight": (3, 4), "hidden.0.bias": (3,), "norm.weight": (3,)}


def config(**keys: Any) -> Config:
    return Config.model_validate(
        {
            "dataset": {"name": "synthetic_linear"},
            "model": {"name": "linear"},
            "optimizer": {"name": "sgd", "lr": 0.1},
            **keys,
        }
    )


def plan(**keys: Any) -> dict[str, ParameterSummary]:
    return {p.name: p for p in plan_parameters(config(**keys), ROLES, SHAPES)}


def test_by_default_weights_decay_and_nothing_else_does() -> None:
    plans = plan(optimizer={"name": "sgd", "lr": 0.1, "weight_decay": 3.0})
    assert {name: p.decay > 0 for name, p in plans.items()} == {
        "hidden.0.weight": True,
        "hidden.0.bias": False,
        "norm.weight": False,
    }
    assert "role weight is in decay_on [weight]" in plans["hidden.0.weight"].reason
    assert "role bias is not in decay_on [weight]" in plans["hidden.0.bias"].reason
    assert plans["hidden.0.weight"].shape == (3, 4)


def test_a_weight_decay_of_zero_is_said_to_be_none() -> None:
    weight = plan()["hidden.0.weight"]
    assert not weight.decay
    assert weight.reason == (
        "no weight decay: weight_decay is 0 (role weight is in decay_on [weight])"
    )


def test_each_penalty_and_constraint_says_what_chose_it() -> None:
    plans = plan(
        penalty=[
            {"type": "l1", "strength": 0.5},
            {"type": "l2", "strength": 0.1, "apply_to": ["hidden.*"]},
        ],
        constraints=[{"type": "max_norm", "limit": 3.0}],
    )
    weight, bias, norm = plans.values()
    assert weight.penalties == [
        {"type": "l1", "strength": 0.5, "method": "gradient"},
        {"type": "l2", "strength": 0.1, "method": "gradient"},
    ]
    assert weight.constraints == [{"type": "max_norm", "limit": 3.0}]
    assert "l1: role weight is in apply_to [weight]" in weight.reason
    assert "l2: name matches 'hidden.*' in apply_to" in bias.reason
    assert norm.penalties == []
    assert "no penalty" in norm.reason


def test_the_plan_is_what_the_optimizer_does() -> None:
    settings = config(
        optimizer={"name": "sgd", "lr": 0.1, "weight_decay": 0.5, "decay_on": ["hidden.*"]},
        penalty={"type": "l2", "strength": 0.25, "apply_to": ["norm", "weight"]},
    )
    parameters = {name: torch.ones(1, *shape) for name, shape in SHAPES.items()}
    optimizer = StackedOptimizer(
        [settings.optimizer],
        parameters,
        select(settings.optimizer.decay_on, ROLES, "optimizer.decay_on"),
        StackedPenalties([settings.penalty], ROLES).entrywise,
    )
    optimizer.step([torch.zeros_like(p) for p in parameters.values()])
    for p in plan_parameters(settings, ROLES, SHAPES):
        pull = p.decay + sum(float(penalty["strength"]) for penalty in p.penalties)
        expected = torch.full_like(parameters[p.name], 1 - 0.1 * pull)
        torch.testing.assert_close(parameters[p.name], expected)


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (
            {"optimizer": {"name": "sgd", "lr": 0.1, "decay_on": ["wieght"]}},
            "optimizer.decay_on",
        ),
        ({"penalty": {"type": "l1", "strength": 1.0, "apply_to": ["x"]}}, "penalty.0.apply_to"),
        ({"constraints": {"type": "unit_norm", "apply_to": ["x"]}}, "constraints.0.apply_to"),
    ],
)
def test_a_selector_that_chooses_nothing_is_an_error_at_its_place(
    keys: dict[str, Any], place: str
) -> None:
    with pytest.raises(ConfigError, match=place.replace(".", r"\.")):
        plan(**keys)
