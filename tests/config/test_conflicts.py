"""A section says what it cannot be combined with, and the message names its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.config.training import EarlyStopping
from regrun.errors import ConfigError, Problem
from regrun.kinds.penalties import L2

BASE: dict[str, Any] = {
    "dataset": {"name": "digits", "validation": 10},
    "model": {"name": "mlp"},
    "optimizer": {"name": "sgd", "lr": 0.1},
}


def test_paths_of_conflicts_start_at_their_section(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_penalty(self: L2, config: Config) -> Iterator[Problem]:
        if config.model.name == "mlp":
            yield Problem(("half",), f"no {self.type} with mlp")

    def of_stopping(self: EarlyStopping, config: Config) -> Iterator[Problem]:
        yield Problem((), f"no patience of {self.patience}")

    monkeypatch.setattr(L2, "conflicts", of_penalty)
    monkeypatch.setattr(EarlyStopping, "conflicts", of_stopping)
    penalties = [{"type": "l1", "strength": 1}, {"type": "l2", "strength": 1}]
    with pytest.raises(ConfigError) as caught:
        config_from_mapping(
            {**BASE, "penalty": penalties, "training": {"early_stopping": {"patience": 3}}}
        )
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        (("penalty", 1, "half"), "no l2 with mlp"),
        (("training", "early_stopping"), "no patience of 3"),
    ]
    config_from_mapping({**BASE, "model": {"name": "linear"}, "penalty": penalties})
