"""The engine's promises: alone = together, order and company do not matter, resume is bitwise."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from regrun.config.schema import Config
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, Row
from tests.support.engines import CPU, collect, config_of, dataset_of, train

BASE: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40},
    "model": {"name": "mlp", "hidden": [8, 6], "dropout": [0.2, 0.4], "input_dropout": 0.1},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "training": {"epochs": 3, "batch_size": 16, "precision": "float64"},
}


def config(**changes: Any) -> Config:
    return config_of(BASE, changes, "dataset", "training")


def assert_close(mine: list[Row], alone: list[Row]) -> None:
    assert len(mine) == len(alone)
    for one, other in zip(mine, alone, strict=True):
        assert one.keys() == other.keys()
        for tag, value in one.items():
            assert value == pytest.approx(other[tag], rel=1e-9, abs=1e-11), tag


SEVEN: dict[str, list[dict[str, Any]]] = {
    "sgd with momentum, l1 or none": [
        {
            "optimizer": {"name": "sgd", "lr": 0.01 * (k + 1), "momentum": 0.15 * k},
            "penalty": [] if k % 2 else {"type": "l1", "strength": 1e-3 * k},
            "seed": k,
        }
        for k in range(7)
    ],
    "adam, elastic net, dropout rates": [
        {
            "optimizer": {"name": "adam", "lr": 1e-3 * (k + 1), "weight_decay": 1e-3 * k},
            "penalty": {"type": "elastic_net", "strength": 1e-3, "l1_ratio": k / 6},
            "model": {"name": "mlp", "hidden": [8, 6], "dropout": [0.1 * k, 1 - 0.1 * k]},
            "seed": k // 2,
        }
        for k in range(7)
    ],
    "adamw, decoupled_schedule, cosine with warm-up": [
        {
            "optimizer": {
                "name": "adamw", "lr": 1e-3, "weight_decay": 0.02 * k,
                "decay": "decoupled_schedule", "decay_on": "all",
            },
            "schedule": {"type": "cosine", "warmup_epochs": 0.25 * k},
        }
        for k in range(7)
    ],
    "rmsprop, step schedule, max norm": [
        {
            "optimizer": {"name": "rmsprop", "lr": 1e-3, "momentum": 0.1 * k, "centered": True},
            "schedule": {"type": "step", "step_size": 1, "gamma": 0.5 + 0.05 * k},
            "constraints": {"type": "max_norm", "limit": 0.3 + 0.2 * k},
            "seed": k,
        }
        for k in range(7)
    ],
    "a schedule for each": [
        {
            "schedule": schedule,
            "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.5, "weight_decay": 0.01},
            "seed": k // 2,
        }
        for k, schedule in enumerate(
            [
                {"type": "multistep", "milestones": [1, 2], "gamma": 0.5},
                {"type": "one_cycle", "anneal": "linear"},
                {"type": "cosine_restarts", "t_0": 1},
                {"type": "cosine_restarts", "t_0": 1, "t_mult": 2, "min_factor": 0.1},
                "one_cycle",
                "constant",
                {"type": "multistep", "milestones": [1], "warmup_epochs": 0.5},
            ]
        )
    ],
    "schedules that follow a metric": [
        {
            "schedule": {"type": "plateau", "patience": k % 2, "factor": 0.5, "metric": metric,
                         "cooldown": k // 4, "threshold": 0.1 * k}
            if k != 3 else "constant",
            "optimizer": {"name": "adam", "lr": 0.3},
            "training": {"epochs": 6, "swa": {"start": 5, "lr": 0.01} if k == 4 else None},
            "seed": k // 2,
        }
        for k, metric in enumerate(["auto", "train/loss", "train/accuracy", "auto", *["auto"] * 3])
    ],
    "adagrad, l2, initialisations": [
        {
            "optimizer": {"name": "adagrad", "lr": 0.01, "lr_decay": 1e-3 * k},
            "penalty": {"type": "l2", "strength": 1e-3 * k, "half": k % 2 == 0},
            "model": {
                "name": "mlp", "hidden": [8, 6], "init": ["default", "normal", "xavier"][k % 3],
            },
        }
        for k in range(7)
    ],
    "cnn with batch norm, decay on norms": [
        {
            "model": {"name": "cnn", "channels": [3], "norm": "batch", "hidden": [5],
                      "dropout": 0.1 * k},
            "optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 0.01 * k,
                          "decay_on": ["weight", "norm"], "nesterov": True, "momentum": 0.5},
            "seed": k,
        }
        for k in range(7)
    ],
    "linear on diabetes, full batch, half mse": [
        {
            "dataset": {"name": "diabetes", "num_train": None, "num_test": None},
            "model": {"name": "linear"},
            "loss": "half_mse",
            "optimizer": {"name": "sgd", "lr": 0.01 * (k + 1)},
            "training": {"batch_size": "full"},
            "seed": k,
        }
        for k in range(7)
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", SEVEN)
def test_seven_together_are_seven_alone(case: str) -> None:
    configs = [config(**changes) for changes in SEVEN[case]]
    rows, ends = train(configs)
    for member, one in enumerate(configs):
        alone_rows, alone_ends = train([one])
        assert_close(rows[member], alone_rows[0])
        assert ends[member].weights is not None and alone_ends[0].weights is not None
        torch.testing.assert_close(
            ends[member].weights, alone_ends[0].weights, rtol=1e-9, atol=1e-11
        )


BATCH_NORM: dict[str, dict[str, Any]] = {
    "mlp": {
        "dataset": {"name": "wine", "num_train": None, "num_test": None},
        "model": {"name": "mlp", "hidden": [8, 6], "norm": "batch"},
    },
    "cnn": {
        "model": {"name": "cnn", "channels": [5], "hidden": [5], "norm": "batch", "pool": "none"}
    },
}


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("case", BATCH_NORM)
def test_batch_norm_leaves_no_rounding_noise_for_adam_to_scale_up(
    case: str, optimizer: str
) -> None:
    """A bias before it would have a gradient of rounding noise; so small an ε does not hide it."""
    configs = [
        config(
            **BATCH_NORM[case],
            optimizer={"name": optimizer, "lr": 1e-3 * (k + 1), "eps": 1e-12},
            training={"epochs": 60, "batch_size": 20},
        )
        for k in range(4)
    ]
    rows, ends = train(configs)
    for member, one in enumerate(configs):
        alone_rows, alone_ends = train([one])
        assert_close(rows[member], alone_rows[0])
        weights, expected = ends[member].weights, alone_ends[0].weights
        assert weights is not None and expected is not None
        torch.testing.assert_close(weights, expected, rtol=1e-9, atol=1e-9)


def test_seven_torchvision_networks_together_are_seven_alone() -> None:
    configs = [
        config(
            dataset={"num_train": 12, "num_test": 10},
            model={"name": "shufflenet_v2_x0_5"},
            training={"epochs": 1, "batch_size": 6},
            optimizer={"name": "sgd", "lr": 0.01 * (k + 1)},
            seed=k,
        )
        for k in range(7)
    ]
    rows, _ = train(configs)
    for member, one in enumerate(configs):
        assert_close(rows[member], train([one])[0][0])


def test_order_and_company_do_not_matter() -> None:
    changes = SEVEN["adam, elastic net, dropout rates"]
    configs = [config(**change) for change in changes]
    rows, _ = train(configs)
    permuted, _ = train([configs[member] for member in (4, 2, 6, 0)])
    for position, member in enumerate((4, 2, 6, 0)):
        assert_close(permuted[position], rows[member])


def test_pruned_members_leave_and_the_others_go_on_as_they_would_have() -> None:
    configs = [config(**change) for change in SEVEN["sgd with momentum, l1 or none"]]
    rows, _ = train(configs)
    engine = Engine(configs, dataset_of(configs[0]), CPU)
    kept: list[Row] = []
    for event in engine.run():
        if isinstance(event, Evaluation):
            kept.append(event.rows[3])
            if event.epoch == 1:
                ends = engine.prune([0, 5, 6])
                assert [(end.member, end.status) for end in ends] == [
                    (0, "pruned"), (5, "pruned"), (6, "pruned"),
                ]  # fmt: skip
    assert_close(kept, rows[3])


def test_a_plateau_logs_the_learning_rates_of_torchs_scheduler_for_the_logged_metric() -> None:
    section = {"type": "plateau", "patience": 1, "factor": 0.3, "threshold": 0.02, "cooldown": 1}
    one = config(
        dataset={"validation": 20},
        schedule=section,
        optimizer={"name": "sgd", "lr": 2.0},
        training={"epochs": 30, "evaluate_every": 2},
    )
    (rows,) = train([one])[0].values()
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=2.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.3, patience=1, threshold=0.02, cooldown=1, eps=0
    )
    expected = []
    for row in rows:
        expected.append(optimizer.param_groups[0]["lr"])
        theirs.step(row["val/loss"])
    assert [row["lr"] for row in rows] == pytest.approx(expected, rel=1e-14)
    assert len(set(expected)) > 2


@pytest.mark.parametrize("stop_at", [1, 4, 5, 9])
@pytest.mark.parametrize("case", list(SEVEN)[:8])
def test_a_resumed_engine_is_bitwise_the_undisturbed_one(case: str, stop_at: int) -> None:
    configs = [config(**change) for change in SEVEN[case]]
    dataset = dataset_of(configs[0])
    whole, whole_ends = collect(Engine(configs, dataset, CPU))
    first = Engine(configs, dataset, CPU)
    events = first.run()
    while first.step < stop_at:
        next(events)
    tensors, numbers = first.state_dict()
    second = Engine(configs, dataset, CPU)
    second.load_state_dict(tensors, numbers)
    rest, rest_ends = collect(second)
    for member in range(7):
        assert rest[member] == whole[member][len(whole[member]) - len(rest[member]) :]
        weights, expected = rest_ends[member].weights, whole_ends[member].weights
        assert weights is not None and expected is not None
        for name, tensor in expected.items():
            assert torch.equal(weights[name], tensor)


def test_a_diverged_member_is_reported_and_the_others_are_bit_equal() -> None:
    def sixteen(lr: float) -> list[Config]:
        return [
            config(optimizer={"name": "sgd", "lr": lr if k == 5 else 0.05}, seed=k, loss="auto")
            for k in range(16)
        ]

    clean_rows, _ = train(sixteen(0.05))
    rows, ends = train(sixteen(1e200))
    assert ends[5].status == "diverged" and ends[5].weights is None
    assert 1 <= ends[5].step <= 4
    for member in set(range(16)) - {5}:
        assert ends[member].status == "completed"
        assert rows[member] == clean_rows[member]


def test_early_stopping_restores_the_best_epoch_of_each_member() -> None:
    stopping = {"metric": "test/loss", "patience": 2}
    configs = [
        config(
            optimizer={"name": "sgd", "lr": lr},
            training={"epochs": 40, "early_stopping": stopping},
            seed=k,
        )
        for k, lr in enumerate((3.0, 0.05, 4.0))
    ]
    rows, ends = train(configs)
    for member in range(3):
        losses = [row["test/loss"] for row in rows[member]]
        best = min(range(len(losses)), key=losses.__getitem__)
        row = ends[member].best_row
        assert row is not None and row["epoch"] == best + 1
        assert len(losses) == min(best + 3, 40)
    assert {ends[0].status, ends[2].status} == {"stopped"}


def test_without_noise_the_train_loss_and_objective_are_what_the_step_minimises() -> None:
    one = config(
        model={"name": "linear"},
        penalty={"type": "l2", "strength": 0.1},
        training={"epochs": 1, "batch_size": "full"},
    )
    engine = Engine([one], dataset_of(one), CPU)
    (row,) = collect(engine)[0][0]
    assert row["objective"] == pytest.approx(row["train/loss"] + row["penalty/l2"], rel=1e-12)
    assert row["penalty/l2"] == pytest.approx(0.05 * row["weights/l2"] ** 2, rel=1e-12)
    assert math.isfinite(row["objective"])


@pytest.mark.parametrize(("epochs", "every"), [(3, 2), (4, 2), (3, 5), (1, 1)])
def test_the_last_step_is_a_tick_of_its_own_where_only_the_end_is_evaluated(
    epochs: int, every: int
) -> None:
    """Before such an evaluation the state can be saved as a longer training would have it."""
    changed = config(training={"epochs": epochs, "evaluate_every": every})
    engine = Engine([changed], dataset_of(changed), CPU)
    events = [event for event in engine.run() if getattr(event, "step", 0) == engine.total_steps]
    kinds = [type(event).__name__ for event in events]
    between = epochs % every != 0
    assert engine.ends_between_evaluations == between
    assert kinds == [*(["Tick"] if between else []), "Evaluation", "MemberEnd"]


def test_the_loss_of_the_latest_batch_is_that_of_the_weights_before_the_step() -> None:
    """On full batches without noise that is the training loss of the evaluation before."""
    whole = config(model={"name": "linear"}, training={"batch_size": "full"})
    engine = Engine([whole, whole], dataset_of(whole), CPU)
    assert math.isnan(engine.batch_loss())
    measured, seen = [], []
    for event in engine.run():
        if isinstance(event, Evaluation):
            measured.append(event.rows[0]["train/loss"])
            seen.append(engine.batch_loss())
    assert seen[1:] == pytest.approx(measured[:-1], rel=1e-12)
