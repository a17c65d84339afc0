"""Keys that are set and have no effect in a run: each is noted, at its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from regrun.config.consistency import idle_keys
from regrun.config.load import config_from_mapping

STEPS = 4
"""In an epoch."""
SGD = {"name": "sgd", "lr": 0.1}


def idle(epochs: int = 10, **keys: Any) -> list[str]:
    base = {
        "dataset": {"name": "digits"},
        "model": {"name": "cnn", "channels": [2], "hidden": []},
        "optimizer": SGD,
    }
    training = {"epochs": epochs, **keys.pop("training", {})}
    config = config_from_mapping({**base, "training": training, **keys}).config
    return [str(problem) for problem in idle_keys(config, STEPS)]


def cnn(**keys: Any) -> dict[str, Any]:
    return {"name": "cnn", "channels": [2], "hidden": [], **keys}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (cnn(), []),
        (cnn(block_size=7), []),  # as a stored config has it
        (
            cnn(block_size=3),
            ["model.block_size: 3: has no effect without dropout_type: drop_block"],
        ),
        (
            cnn(block_size=3, dropout_type="drop_block"),
            [
                "model.dropout_type: drop_block: every dropout rate is 0",
                "model.block_size: 3: has no effect without a rate at conv_dropout",
            ],
        ),
        (
            cnn(block_size=3, dropout_type="drop_block", hidden=[4], dropout=0.1),
            ["model.block_size: 3: has no effect without a rate at conv_dropout"],
        ),
        (cnn(block_size=3, dropout_type="drop_block", conv_dropout=0.1), []),
        ({"name": "mlp", "dropout_type": "gaussian", "dropout": [0, 0.1]}, []),
        (
            {"name": "mlp", "dropout_type": "gaussian"},
            ["model.dropout_type: gaussian: every dropout rate is 0"],
        ),
    ],
)
def test_noise_that_is_described_and_not_switched_on(
    model: dict[str, Any], expected: list[str]
) -> None:
    assert idle(model=model) == expected


@pytest.mark.parametrize(("k", "noted"), [(40, False), (41, True), (10_000, True)])
def test_slow_weights_that_never_move(k: int, noted: bool) -> None:
    where = f"optimizer.lookahead.k: {k:,}: the run has 40 steps"
    expected = [f"{where}, so the slow weights have no effect"] if noted else []
    assert idle(optimizer={**SGD, "lookahead": {"k": k}}) == expected


SCHEDULES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"type": "multistep", "milestones": [3, 9]}, {}, ""),
    ({"type": "multistep", "milestones": [3, 10]}, {"milestones": [3]}, "schedule.milestones: 10:"),
    (
        {"type": "multistep", "milestones": [3, 10, 15]},
        {"milestones": [3]},
        "schedule.milestones: 10, 15:",
    ),
    (
        {"type": "multistep", "milestones": [3, 8], "warmup_epochs": 2},
        {"milestones": [3]},
        "schedule.milestones: 8:",
    ),
    ({"type": "multistep", "milestones": [3, 7], "warmup_epochs": 2}, {}, ""),
    ({"type": "step", "step_size": 9}, {}, ""),
    ({"type": "step", "step_size": 10}, {"gamma": 0.7}, "schedule.step_size: 10:"),
    ({"type": "cosine_restarts", "t_0": 9}, {}, ""),
    ({"type": "cosine_restarts", "t_0": 10}, {"t_mult": 5}, "schedule.t_0: 10:"),
    ({"type": "cosine", "warmup_epochs": 9}, {}, ""),
    (
        {"type": "cosine", "warmup_epochs": 10},
        {"min_factor": 0.9},
        "schedule.warmup_epochs: 10: the run ends after 10 epochs, before the warm-up does",
    ),
]


@pytest.mark.parametrize(("schedule", "other", "noted"), SCHEDULES)
def test_schedules_that_the_run_is_too_short_for(
    schedule: dict[str, Any], other: dict[str, Any], noted: str
) -> None:
    """What is noted makes no difference: another value gives the same multipliers."""
    found = idle(schedule=schedule)
    assert len(found) == bool(noted)
    assert "".join(found).startswith(noted)

    def multipliers(section: dict[str, Any]) -> Any:
        config = config_from_mapping({"dataset": {"name": "digits"}, "model": cnn(),
                                      "optimizer": SGD, "schedule": section}).config  # fmt: skip
        return config.schedule.multipliers(np.arange(10 * STEPS), 10, STEPS)

    if noted:
        np.testing.assert_array_equal(multipliers(schedule), multipliers({**schedule, **other}))


@pytest.mark.parametrize(("every", "noted"), [(1, False), (2, True)])
def test_a_plateau_that_the_run_is_too_short_to_find(every: int, noted: bool) -> None:
    """First the best, then four evaluations without a new one; a tenth still trains after it."""
    schedule = {"type": "plateau", "patience": 3}
    found = idle(schedule=schedule, training={"evaluate_every": every})
    expected = ["schedule.patience: 3: the run has 5 evaluations, too few for a drop"]
    assert found == (expected if noted else [])


@pytest.mark.parametrize(
    ("swa", "noted"), [({"start": 9}, False), ({"start": 10}, True), ({"every": 5}, True)]
)
def test_the_mean_of_one_epoch(swa: dict[str, Any], noted: bool) -> None:
    expected = ["training.swa: only one epoch is averaged, so the mean is its weights"]
    assert idle(training={"swa": swa}) == (expected if noted else [])
