"""Early stopping of one member, by hand, and what it restores."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regrun.config.schema import Config
from regrun.config.training import EarlyStopping
from regrun.training.early_stopping import EarlyStopper
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd, Row

CPU = torch.device("cpu")


def improvements(values: list[float], **keys: Any) -> tuple[list[int], int]:
    """The evaluations that improve, from 1, and the one after which patience is exhausted."""
    patience, better = EarlyStopper(EarlyStopping(**keys)), []
    for number, value in enumerate(values, 1):
        if patience.improved({patience.section.metric: value, "epoch": number}):
            better.append(number)
        if patience.exhausted:
            return better, number
    return better, 0


def test_losses_improve_downwards_and_accuracies_upwards() -> None:
    values = [0.5, 0.6, 0.4, 0.7, 0.3]
    assert improvements(values, metric="val/loss") == ([1, 3, 5], 0)
    assert improvements(values, metric="val/accuracy") == ([1, 2, 4], 0)
    assert improvements(values, metric="test/accuracy", patience=1) == ([1, 2], 3)


def test_an_equal_value_is_no_improvement() -> None:
    assert improvements([0.5, 0.5, 0.5], metric="val/loss", patience=2) == ([1], 3)


def test_a_change_of_min_delta_is_not_enough_and_small_steps_add_up() -> None:
    keys = {"metric": "val/loss", "min_delta": 0.25, "patience": 9}
    assert improvements([1.0, 0.75, 0.74, 0.5, 0.48], **keys) == ([1, 3, 5], 0)
    keys["metric"] = "val/accuracy"
    assert improvements([0.25, 0.5, 0.625, 0.75, 0.875], **keys) == ([1, 3], 0)


def config(**training: Any) -> Config:
    return Config.model_validate(
        {
            "dataset": {"name": "digits", "num_train": 60, "num_test": 40, "validation": 30},
            "model": {"name": "cnn", "channels": [3], "norm": "batch", "hidden": [5]},
            "optimizer": {"name": "sgd", "lr": 0.3, "momentum": 0.9},
            "training": {"batch_size": 16, "precision": "float64", **training},
        }
    )


def train(one: Config) -> tuple[list[Row], MemberEnd]:
    engine = Engine([one], one.dataset.load().to(CPU, torch.float64), CPU)
    rows, ends = [], []
    for event in engine.run():
        if isinstance(event, Evaluation):
            rows.append(event.rows[0])
        elif isinstance(event, MemberEnd):
            ends.append(event)
    return rows, ends[0]


@pytest.mark.parametrize("metric", ["val/accuracy", "val/loss"])
@pytest.mark.parametrize("min_delta", [0.0, 0.03])
def test_what_is_restored_is_the_whole_network_of_the_best_epoch(
    metric: str, min_delta: float
) -> None:
    stopping = {"metric": metric, "patience": 4, "min_delta": min_delta}
    rows, end = train(config(epochs=60, early_stopping=stopping))
    assert end.status == "stopped" and end.best_row is not None and end.weights is not None
    best = int(end.best_row["epoch"])
    assert len(rows) == best + 4
    sign = -1 if metric.endswith("accuracy") else 1
    scores = [sign * row[metric] for row in rows]
    assert all(scores[best - 1] <= score + min_delta for score in scores)
    same, until = train(config(epochs=best))
    assert same[-1] == end.best_row and until.weights is not None
    assert end.weights.keys() == until.weights.keys()
    assert any(name.endswith("running_var") for name in end.weights)
    for name, tensor in until.weights.items():
        assert torch.equal(end.weights[name], tensor)


def test_without_restore_best_the_last_weights_stay() -> None:
    stopping = {"metric": "val/loss", "patience": 2, "restore_best": False}
    rows, end = train(config(epochs=60, early_stopping=stopping))
    _, until = train(config(epochs=len(rows)))
    assert end.best_row is None and end.weights is not None and until.weights is not None
    for name, tensor in until.weights.items():
        assert torch.equal(end.weights[name], tensor)


def test_before_an_average_has_begun_nothing_is_waited_for() -> None:
    patience = EarlyStopper(EarlyStopping(metric="swa/val/loss", patience=1))
    for _ in range(5):
        assert not patience.improved({"val/loss": 1.0})
    assert patience.waited == 0 and not patience.exhausted
    assert patience.improved({"swa/val/loss": 1.0})
    assert not patience.improved({"swa/val/loss": 1.0}) and patience.exhausted


AVERAGES: dict[str, dict[str, Any]] = {
    "ema": {"ema": 0.9},
    "swa": {"swa": {"start": 4, "every": 2}},
}


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("quantity", ["loss", "accuracy"])
def test_an_average_can_lead_and_weights_and_averages_of_its_best_epoch_are_kept(
    average: str, quantity: str
) -> None:
    metric = f"{average}/val/{quantity}"
    stopping = {"metric": metric, "patience": 5}
    rows, end = train(config(epochs=40, early_stopping=stopping, **AVERAGES[average]))
    assert end.best_row is not None and end.weights is not None and end.averages is not None
    sign = -1 if quantity == "accuracy" else 1
    scores = {row["epoch"]: sign * row[metric] for row in rows if metric in row}
    best = int(min(scores, key=lambda epoch: scores[epoch]))
    assert end.best_row["epoch"] == best
    assert end.status == "stopped" and len(rows) == best + 5
    same, until = train(config(epochs=best, **_as_of(average, best)))
    assert same[-1] == end.best_row
    assert until.weights is not None and until.averages is not None
    for name, tensor in until.weights.items():
        assert torch.equal(end.weights[name], tensor)
    for name, tensor in until.averages[average].items():
        assert torch.equal(end.averages[average][name], tensor)
    assert any(not torch.equal(t, end.averages[average][n]) for n, t in end.weights.items())


def _as_of(average: str, epochs: int) -> dict[str, Any]:
    """The section for a run of so many epochs."""
    return AVERAGES[average] if average == "ema" or epochs >= 4 else {}
