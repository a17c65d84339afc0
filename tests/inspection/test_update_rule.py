"""The update rule in symbols: the numbers of a config, in the order of a step."""

from __future__ import annotations

from typing import Any

import pytest

from regrun.config.schema import Config
from regrun.inspection.update_rule import update_rule


def config(**keys: Any) -> Config:
    return Config.model_validate(
        {
            "dataset": {"name": "synthetic_linear"},
            "model": {"name": "linear"},
            "optimizer": {"name": "sgd", "lr": 0.1},
            **keys,
        }
    )


def test_the_update_rule_of_plain_sgd_is_short() -> None:
    assert update_rule(config(loss="mse")) == [
        "L = mean((ŷ − y)²)   (mse)",
        "J = L",
        "g = ∂J/∂w",
        "η_t = 0.1 · s_t,  s_t = 1",
        "w ← w − η_t g",
    ]


def test_the_update_rule_shows_the_factor_of_every_penalty() -> None:
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
def test_the_update_rule_says_which_weight_decay(kind: str, line: str) -> None:
    optimizer = {"name": "adam", "lr": 0.1, "weight_decay": 0.2, "decay": kind}
    assert line in update_rule(config(optimizer=optimizer))


@pytest.mark.parametrize(
    ("decay", "drawn", "line"),
    [
        ("coupled", False, "objective = J + 0.1 Σw²   (logged; Σ over [weight])"),
        ("decoupled", False, "objective = J   (logged; weight decay is no term of it)"),
        (
            "coupled",
            True,
            "objective = J + 0.1 Σw²   "
            "(logged; Σ over [weight]; L: mean over the batches since the last evaluation)",
        ),
    ],
)
def test_the_update_rule_says_what_is_logged_as_objective(
    decay: str, drawn: bool, line: str
) -> None:
    optimizer = {"name": "adam", "lr": 0.1, "weight_decay": 0.2, "decay": decay}
    lines = update_rule(config(optimizer=optimizer), drawn=drawn)
    assert lines[lines.index(line) + 1] == "g = ∂J/∂w"
    plain = update_rule(config(optimizer={"name": "adam", "lr": 0.1}))
    assert not any("objective" in each for each in plain)


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
def test_the_update_rule_ends_with_the_optimizers_own_lines(
    optimizer: dict[str, Any], lines: list[str]
) -> None:
    assert update_rule(config(optimizer={"lr": 0.1, **optimizer}))[-len(lines) :] == lines


def test_the_update_rule_ends_with_schedule_and_constraints() -> None:
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


@pytest.mark.parametrize(
    ("schedule", "symbols"),
    [
        (
            {"type": "multistep", "milestones": [30, 60]},
            "0.1^(number of milestones [30, 60] ≤ epoch)",
        ),
        (
            {"type": "cosine_restarts", "t_0": 10, "t_mult": 2, "min_factor": 0.1},
            "0.1 + 0.9 · ½ (1 + cos(π t_i/T_i)),  T_i = 10 · 2ⁱ epochs,  t_i since restart i",
        ),
        (
            {"type": "one_cycle", "div_factor": 10.0},
            "0.1 → 1 → 1e-05 (cos), its peak after 0.3 of the steps",
        ),
        (
            {"type": "plateau", "patience": 4, "min_factor": 0.01, "cooldown": 2},
            "s,  s ← max(0.1 s, 0.01) after 5 evaluations in a row in which val/loss (or "
            "train/loss) is not better than its best by 0.0001 of it, not counting 2 after each",
        ),
        (
            {"type": "plateau", "metric": "train/loss", "threshold_mode": "abs", "patience": 0},
            "s,  s ← 0.1 s after an evaluation in which train/loss is not better than its best "
            "by 0.0001",
        ),
    ],
)
def test_the_update_rule_shows_the_numbers_of_each_schedule(
    schedule: dict[str, Any], symbols: str
) -> None:
    assert f"η_t = 0.1 · s_t,  s_t = {symbols}" in update_rule(config(schedule=schedule))


@pytest.mark.parametrize("loss", ["auto", "cross_entropy"])
def test_the_update_rule_shows_the_weights_of_classes(loss: str) -> None:
    dataset = {"name": "digits", "class_weights": "balanced"}
    lines = update_rule(config(loss=loss, dataset=dataset))
    assert lines[0].startswith("L = mean(−c_y log p(y)),  c_y the weight of class y")


def test_the_update_rule_weighs_the_classes_of_smoothed_labels() -> None:
    def smoothing(weights: Any) -> str:
        dataset = {"name": "digits", "class_weights": weights}
        lines = update_rule(config(dataset=dataset, augment={"label_smoothing": 0.1}))
        return next(line for line in lines if "label smoothing" in line)

    start = "L ← 0.9 L + 0.1 mean over classes of"
    assert smoothing("none") == f"{start} −log p   (label smoothing)"
    assert smoothing("balanced") == f"{start} −c log p   (label smoothing)"


def test_the_update_rule_shows_standardized_targets() -> None:
    dataset = {"name": "diabetes", "standardize_target": True}
    lines = update_rule(config(loss="mse", dataset=dataset))
    assert lines[0].startswith("y ← (y − mean) / std of the training targets")


def test_the_update_rule_shows_lookahead_between_the_step_and_the_constraints() -> None:
    optimizer = {"name": "sgd", "lr": 0.1, "lookahead": {"k": 6, "alpha": 0.8}}
    lines = update_rule(config(optimizer=optimizer, constraints={"type": "non_negative"}))
    assert lines[-3] == "w ← w − η_t g"
    assert lines[-2] == (
        "φ ← φ + 0.8 (w − φ),  w ← φ  when t is a multiple of 6   (Lookahead; φ starts as w)"
    )


def test_the_update_rule_shows_r_drop_after_all_that_is_within_the_loss() -> None:
    lines = update_rule(
        config(
            dataset={"name": "digits"},
            augment={"label_smoothing": 0.1},
            training={"r_drop": {"alpha": 2.5}},
        )
    )
    assert lines[1].endswith("(label smoothing)")
    assert lines[2] == (
        "L ← ½ (L₁ + L₂) + 2.5 · ½ mean(KL(p₁ ‖ p₂) + KL(p₂ ‖ p₁))   "
        "(R-Drop; 1, 2: two draws of the noise)"
    )
