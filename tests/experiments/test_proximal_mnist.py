"""L1 on the weights of an MLP for MNIST: proximal steps make zeros, the gradient never does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regrun.config.load import load_config
from regrun.config.schema import Config
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd

SHORT = {
    "dataset.num_train": 3000, "dataset.num_test": 1000,
    "training.batch_size": 1000, "training.epochs": 60, "training.evaluate_every": 60,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _real(real_data: Path) -> None:
    """All of this is about real pictures."""


def cells(
    configs: Path, changes: dict[str, Any], seeds: int
) -> Iterator[tuple[float, str, Config]]:
    """Strength and method of the shipped sweep's cells, each with some seeds."""
    loaded = load_config(configs / "l1_proximal_mnist.yaml")
    sweep = loaded.config.sweep
    assert sweep is not None
    for strength in sweep.grid["penalty.strength"]:
        for method in sweep.grid["penalty.method"]:
            for seed in range(seeds):
                axes = {"penalty.strength": strength, "penalty.method": method, "seed": seed}
                yield strength, method, loaded.member({**changes, **axes}).config


def trained(
    configs: Path, changes: dict[str, Any], seeds: int
) -> dict[tuple[bool, str], dict[str, np.ndarray]]:
    """(penalised, method) → test accuracy and share of exact zeros among the weights, per seed."""
    planned = list(cells(configs, changes, seeds))
    data = planned[0][2].dataset.load().to("cpu", torch.float32)
    accuracy, zeros = np.zeros(len(planned)), np.zeros(len(planned))
    for index, (_, _, config) in enumerate(planned):  # one by one: large batches stack badly
        for event in Engine([config], data, torch.device("cpu")).run():
            if isinstance(event, Evaluation):
                accuracy[index] = event.rows[0]["test/accuracy"]
            elif isinstance(event, MemberEnd):
                assert event.status == "completed"
                assert event.weights is not None
                weights = [each for each in event.weights.values() if each.dim() == 2]
                assert [tuple(each.shape) for each in weights] == [(64, 784), (32, 64), (10, 32)]
                flat = torch.cat([each.flatten() for each in weights])
                zeros[index] = float((flat == 0).double().mean())
    found = {}
    for penalised in (False, True):
        for method in ("gradient", "proximal"):
            own = [
                index
                for index, (strength, how, _) in enumerate(planned)
                if (bool(strength), how) == (penalised, method)
            ]
            found[penalised, method] = {"accuracy": accuracy[own], "zeros": zeros[own]}
    return found


def test_at_a_twentieth_of_the_examples_only_proximal_steps_make_zeros(configs: Path) -> None:
    found = trained(configs, SHORT, seeds=1)
    assert found[True, "gradient"]["zeros"] == 0
    assert found[False, "proximal"]["zeros"] == 0
    assert found[True, "proximal"]["zeros"] > 0.4
    assert found[True, "proximal"]["accuracy"] > 0.85
    # Strength 0 is no penalty, whatever the method
    assert found[False, "proximal"]["accuracy"] == found[False, "gradient"]["accuracy"]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_four_of_five_weights_are_zero_within_half_a_point_of_no_penalty(configs: Path) -> None:
    found = trained(configs, {}, seeds=3)
    sparse, plain = found[True, "proximal"], found[False, "proximal"]
    assert (sparse["zeros"] >= 0.8).all()
    assert sparse["accuracy"].mean() >= plain["accuracy"].mean() - 0.005
    assert (found[True, "gradient"]["zeros"] == 0).all()
