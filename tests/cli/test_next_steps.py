"""The commands that a report suggests."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from regrun.cli.run_report import after_training
from regrun.config.load import config_from_mapping
from regrun.results import RunSummary

WEIGHT_DECAY: dict[str, Any] = {
    "dataset": {"name": "synthetic_linear"},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.003},
}
OVERFIT = RunSummary(
    run_dir="runs/weight-decay/x",
    status="completed",
    steps=400,
    metrics={"train/loss": 1e-9, "test/loss": 170.0},
)


def first(summary: RunSummary, config: dict[str, Any]) -> str:
    directory = Path("runs/weight-decay/x")
    loaded = config_from_mapping(config).config
    return after_training(summary, loaded, Path("c.yaml"), directory, Path("runs"))[0]


def with_changes(**sections: Any) -> dict[str, Any]:
    return {**WEIGHT_DECAY, **sections}


def test_an_overfit_run_is_answered_with_the_weight_decay_of_the_source_experiment() -> None:
    assert first(OVERFIT, WEIGHT_DECAY) == "regrun train c.yaml optimizer.weight_decay=3"


def test_the_decay_scales_with_learning_rate_and_steps() -> None:
    config = with_changes(optimizer={"name": "sgd", "lr": 0.1, "weight_decay": 0.0})
    command = first(OVERFIT.model_copy(update={"steps": 10_000}), config)
    assert command.endswith("optimizer.weight_decay=0.004")


def test_a_hidden_layer_under_adam_gets_dropout() -> None:
    config = with_changes(
        model={"name": "mlp", "hidden": [64], "dropout": 0.0},
        optimizer={"name": "adam", "lr": 0.001, "weight_decay": 0.0},
    )
    assert first(OVERFIT, config).endswith("model.dropout=0.5")


@pytest.mark.parametrize(
    "section",
    [
        {"optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 3.0}},
        {"penalty": [{"type": "l1", "strength": 0.1}]},
        {"model": {"name": "mlp", "hidden": [4, 4], "dropout": [0.0, 0.5]}},
        {"constraints": [{"type": "max_norm", "limit": 3.0}]},
        {"optimizer": {"name": "sgd", "lr": 0.1, "sam": 0.05}},
        {"model": {"name": "mlp", "norm": "batch"}},
        {"training": {"clip_norm": 1.0}},
        {"training": {"early_stopping": {"metric": "test/loss"}}},
    ],
)
def test_a_regularized_run_is_compared_instead(section: dict[str, Any]) -> None:
    assert first(OVERFIT, with_changes(**section)) == "regrun compare runs/weight-decay"


def test_a_run_that_does_not_overfit_is_compared() -> None:
    fine = OVERFIT.model_copy(update={"metrics": {"train/loss": 1.0, "test/loss": 1.2}})
    assert first(fine, WEIGHT_DECAY) == "regrun compare runs/weight-decay"


def test_a_diverged_run_is_tried_with_a_tenth_of_the_learning_rate() -> None:
    diverged = OVERFIT.model_copy(update={"status": "diverged"})
    assert first(diverged, WEIGHT_DECAY) == "regrun train c.yaml optimizer.lr=0.0003"
    own_step = with_changes(optimizer={"name": "fista"}, training={"batch_size": "full"})
    assert first(diverged, own_step) == "regrun train c.yaml training.precision=float64"


def test_commands_can_be_pasted_whatever_the_path() -> None:
    config_path, directory = Path("my configs/c.yaml"), Path("my runs/a b/x")
    config = config_from_mapping(WEIGHT_DECAY).config
    commands = after_training(OVERFIT, config, config_path, directory, Path("my runs"))
    assert shlex.split(commands[0])[2] == "my configs/c.yaml"
    assert shlex.split(commands[1]) == ["regrun", "compare", "my runs/a b"]
    assert shlex.split(commands[-1]) == ["regrun", "view", "my runs"]
