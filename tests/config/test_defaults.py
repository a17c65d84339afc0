"""A config without its defaults says what a person chose, and loads to the same config."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from regrun.config.defaults import without_defaults
from regrun.config.load import config_from_mapping
from regrun.errors import ConfigError
from tests.support.config_strategies import configs

LITTLE: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "mlp"},
    "optimizer": {"name": "sgd", "lr": 0.1},
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "toy", "seed": 3},
        {"dataset": {"name": "diabetes"}, "loss": "mse"},
        {"dataset": {"name": "diabetes"}, "loss": {"type": "huber", "delta": 2.0}},
        {"penalty": [{"type": "l1", "strength": 0.1}]},
        {"model": {"name": "mlp", "dropout": [0.2, 0.5]}},
        {"schedule": {"type": "cosine"}},
        {"training": {"early_stopping": {"metric": "train/loss"}}},
        {"sweep": {"grid": {"optimizer.lr": [0.1, 0.2]}}},
    ],
)
def test_only_what_was_chosen_is_left(changes: dict[str, Any]) -> None:
    written = {**LITTLE, **changes}
    assert without_defaults(config_from_mapping(written).config.model_dump(mode="json")) == written


def test_kinds_that_nobody_knows_stay_as_they_are() -> None:
    odd = {"dataset": {"name": "gone", "size": 3}, "seed": 0, "more": [1]}
    assert without_defaults(odd) == {"dataset": {"name": "gone", "size": 3}, "more": [1]}


@settings(max_examples=60)
@given(configs())
def test_what_is_left_loads_to_the_same_config(data: dict[str, Any]) -> None:
    try:
        config = config_from_mapping(data).config
    except ConfigError:  # a few break a rule between keys
        return
    left = without_defaults(config.model_dump(mode="json"))
    assert config_from_mapping(left).config == config
