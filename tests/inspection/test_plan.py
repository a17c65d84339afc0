import pytest
import torch

from regrun.config.schema import Config
from regrun.errors import ConfigError
from regrun.inspection.plan import plan_parameters, update_rule
from regrun.nn.roles import select
from regrun.stack.optimizer import StackedOptimizer
from regrun.stack.penalties import StackedPenalties

ROLES = {"hidden.0.weight": "weight", "hidden.0.bias": "bias", "norm.weight": "norm"}
SHAPES = {"hidden.0.weight": (3, 4), "hidden.0.bias": (3,), "norm.weight": (3,)}


def config(**keys):
    return Config.model_validate(
        {
            "dataset": {"name": "synthetic_linear"},
            "model": {"name": "linear"},
            "optimizer": {"name": "sgd", "lr": 0.1},
            **keys,
        }
    )


def plan(**keys):
    return {p.name: p for p in plan_parameters(config(**keys), ROLES, SHAPES)}


def test_by_default_weights_decay_and_nothing_else_does():
    plans = plan(optimizer={"name": "sgd", "lr": 0.1, "weight_decay": 3.0})
    assert {name: p.decay for name, p in plans.items()} == {
        "hidden.0.weight": True,
        "hidden.0.bias": False,
        "norm.weight": False,
    }
    assert "role weight is in decay_on [weight]" in plans["hidden.0.weight"].reason
    assert "role bias is not in decay_on [weight]" in plans["hidden.0.bias"].reason
    assert plans["hidden.0.weight"].shape == (3, 4)


def test_a_weight_decay_of_zero_is_said_to_be_none():
    weight = plan()["hidden.0.weight"]
    assert not weight.decay
    assert weight.reason == (
        "no weight decay: weight_decay is 0 (role weight is in decay_on [weight])"
    )


def test_each_penalty_and_constraint_says_what_chose_it():
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


def test_the_plan_is_what_the_optimizer_does():
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
        pull = 0.5 * p.decay + sum(float(penalty["strength"]) for penalty in p.penalties)
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
def test_a_selector_that_chooses_nothing_is_an_error_at_its_place(keys, place):
    with pytest.raises(ConfigError, match=place.replace(".", r"\.")):
        plan(**keys)


def test_the_update_rule_of_plain_sgd_is_short():
    assert update_rule(config(loss="mse")) == [
        "L = mean((ŷ − y)²)   (mse)",
        "J = L",
        "g = ∂J/∂w",
        "η_t = 0.1 · s_t,  s_t = 1",
        "w ← w − η_t g",
    ]


def test_the_update_rule_shows_the_factor_of_every_penalty():
    lines = update_rule(
        config(
            loss="half_mse",
            penalty=[
                {"type": "l2", "strength": 3.0},
                {"type": "l2", "strength": 3.0, "half": False},
                {"type": "elastic_net", "strength": 1.0, "l1_ratio": 0.3, "half": False},
                {"type": "l1", "strength": 0.0},
            ],
        )
    )
    assert lines[:6] == [
        "L = ½ mean((ŷ − y)²)   (half_mse)",
        "J = L + P1 + P2 + P3 + P4",
        "P1 = 1.5 Σw²   (l2 on [weight], gradient 3 w)",
        "P2 = 3 Σw²   (l2 on [weight], gradient 6 w)",
        "P3 = 0.3 Σ|w| + 0.7 Σw²   (elastic_net on [weight], gradient 0.3 sign(w) + 1.4 w)",
        "P4 = 0   (l1 on [weight], gradient 0)",
    ]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("coupled", "g ← g + 0.2 w   (weight decay, coupled, on [weight])"),
        ("decoupled", "w ← w − η_t · 0.2 w   (weight decay, decoupled, on [weight])"),
        (
            "decoupled_schedule",
            "w ← w − s_t · 0.2 w   (weight decay, decoupled_schedule, on [weight])",
        ),
    ],
)
def test_the_update_rule_says_which_weight_decay(kind, line):
    optimizer = {"name": "adam", "lr": 0.1, "weight_decay": 0.2, "decay": kind}
    assert line in update_rule(config(optimizer=optimizer))


@pytest.mark.parametrize(
    ("optimizer", "lines"),
    [
        (
            {"name": "sgd", "momentum": 0.9, "nesterov": True},
            ["b ← 0.9 b + g", "w ← w − η_t (g + 0.9 b)"],
        ),
        (
            {"name": "sgd", "momentum": 0.9, "dampening": 0.1},
            ["b ← 0.9 b + 0.9 g   (b ← g at t = 1)", "w ← w − η_t b"],
        ),
        (
            {"name": "adam", "amsgrad": True},
            [
                "m ← 0.9 m + 0.1 g",
                "v ← 0.999 v + 0.001 g²",
                "u ← max(u, v)",
                "w ← w − η_t · m / (1 − 0.9ᵗ) / (√(u / (1 − 0.999ᵗ)) + 1e-08)",
            ],
        ),
        (
            {"name": "rmsprop", "centered": True, "momentum": 0.5},
            [
                "v ← 0.99 v + 0.01 g²",
                "a ← 0.99 a + 0.01 g",
                "b ← 0.5 b + g / (√(v − a²) + 1e-08)",
                "w ← w − η_t b",
            ],
        ),
        (
            {"name": "adagrad", "lr_decay": 0.1},
            ["v ← v + g²", "w ← w − η_t / (1 + 0.1 (t − 1)) · g / (√v + 1e-10)"],
        ),
    ],
)
def test_the_update_rule_ends_with_the_optimizers_own_lines(optimizer, lines):
    assert update_rule(config(optimizer={"lr": 0.1, **optimizer}))[-len(lines) :] == lines


def test_the_update_rule_ends_with_schedule_and_constraints():
    lines = update_rule(
        config(
            schedule={"type": "cosine", "min_factor": 0.1, "warmup_epochs": 2.0},
            constraints={"type": "max_norm", "limit": 3.0},
        )
    )
    assert lines[-1] == "w ← w · min(1, c / ‖w‖₂),  c = 3   (max_norm on [weight], per neuron)"
    assert lines[-3] == (
        "η_t = 0.1 · s_t,  s_t = 0.1 + 0.9 · ½ (1 + cos(π t/T)), "
        "after a linear rise from 0 to 1 over 2 epochs"
    )
