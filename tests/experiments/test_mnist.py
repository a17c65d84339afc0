"""L1, L2 and elastic net on the weights and biases of a small network for MNIST."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import regrun
from regrun.config.load import load_config
from regrun.training.engine import Engine
from regrun.training.events import Evaluation

FEW = {"dataset.num_train": 3000, "dataset.num_test": 1000}
PARTS = {"l1_mnist": [], "l2_mnist": [], "elastic_net_mnist": ["l1", "l2"]}


@pytest.fixture(autouse=True)
def _real(real_data: Path) -> None:
    """All of this is about real pictures."""


def train(configs: Path, name: str, tmp_path: Path, overrides: dict[str, Any]) -> Any:
    return regrun.train(configs / f"{name}.yaml", overrides, runs_dir=tmp_path, device="cpu")


def collapsed(row: Any, abs_tolerance: float) -> bool:
    """Every class gets the same score whatever the picture shows."""
    return bool(abs(row["train/loss"] - math.log(10)) < abs_tolerance)


@pytest.mark.parametrize("name", PARTS)
def test_data_loss_and_penalty_stand_apart_and_the_network_collapses(
    name: str, configs: Path, tmp_path: Path
) -> None:
    # A tenth of the steps at ten times the rate: as far as the full experiment gets
    overrides = {**FEW, "optimizer.lr": 1e-3, "training.epochs": 2}
    rows = train(configs, name, tmp_path, overrides).metrics
    label = "penalty/" + name.removesuffix("_mnist")
    for _, row in rows.iterrows():
        assert row["objective"] == pytest.approx(row["train/loss"] + row[label], rel=1e-6)
    last = rows.iloc[-1]
    assert collapsed(last, 5e-3)
    assert last["weights/l2"] < 0.2
    assert last["test/accuracy"] < 0.2
    parts = [last[f"{label}/{part}"] for part in PARTS[name]]
    if parts:
        assert all(part > 0 for part in parts)
        assert sum(parts) == pytest.approx(last[label], rel=1e-6)
        # 0.3 Σ|w| + 0.7 Σw², with a small share of biases that the tags below do not count
        assert parts[0] == pytest.approx(0.3 * last["weights/l1"], rel=0.05)
        assert parts[1] == pytest.approx(0.7 * last["weights/l2"] ** 2, rel=0.05)
    assert {tag for tag in rows if tag.startswith(label)} == {
        label, *(f"{label}/{part}" for part in PARTS[name])
    }  # fmt: skip


def test_without_a_penalty_the_same_steps_teach_the_digits(configs: Path, tmp_path: Path) -> None:
    overrides = {**FEW, "optimizer.lr": 1e-3, "training.epochs": 2, "penalty": "none"}
    last = train(configs, "l1_mnist", tmp_path, overrides).metrics.iloc[-1]
    assert last["test/accuracy"] > 0.8


@pytest.mark.long
@pytest.mark.parametrize("name", PARTS)
def test_the_full_experiment_collapses_to_ln_10(name: str, configs: Path, tmp_path: Path) -> None:
    run = train(configs, name, tmp_path, {})
    last = run.metrics.iloc[-1]
    assert run.summary.epochs == 5 and run.summary.steps == 30_000
    assert collapsed(last, 2e-3)
    assert abs(last["test/loss"] - math.log(10)) < 2e-3


SANE = ("l1_mnist_sane", "l2_mnist_sane", "elastic_net_mnist_sane")


@pytest.mark.long
def test_every_sane_strength_beats_no_penalty_on_test_loss(configs: Path) -> None:
    """The sweeps of the three configs, as one stack: they share all but the penalty."""
    members, labels = [], []
    for name in SANE:
        loaded = load_config(configs / f"{name}.yaml")
        sweep = loaded.config.sweep
        assert sweep is not None
        none, sane = sweep.grid["penalty.strength"]
        assert (none, sane) == (0, loaded.config.penalty[0].strength)
        for strength in (none, sane) if name == SANE[0] else (sane,):
            for seed in range(loaded.config.seed, loaded.config.seed + sweep.seeds):
                members.append(loaded.member({"penalty.strength": strength, "seed": seed}).config)
                labels.append(name if strength else "none")
    dataset = members[0].dataset.load().to("cpu", torch.float32)
    last = None
    for event in Engine(members, dataset, torch.device("cpu")).run():
        last = event if isinstance(event, Evaluation) else last
    assert last is not None

    def losses(label: str) -> np.ndarray:
        return np.array([last.rows[k]["test/loss"] for k, own in enumerate(labels) if own == label])

    assert len(losses("none")) == 5
    for name in SANE:
        # Not of every seed: which of them end with a bad last epoch depends on the CPU.
        assert np.median(losses(name)) < 0.85 * np.median(losses("none"))
        assert (losses(name) < losses("none")).sum() >= 3
