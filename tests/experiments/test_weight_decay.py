"""Weight decay on 20 examples with 200 inputs: the two forms of it, and what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import regrun
from regrun.config.load import load_config
from regrun.config.schema import Config
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, Row

SEEDS = range(5)


def last_rows(configs: list[Config]) -> list[Row]:
    """The final evaluation of every member, all trained as one stack."""
    dataset = configs[0].dataset.load().to("cpu", torch.float32)
    evaluations = [
        event
        for event in Engine(configs, dataset, torch.device("cpu")).run()
        if isinstance(event, Evaluation)
    ]
    assert evaluations[-1].epoch == 100
    return [evaluations[-1].rows[member] for member in range(len(configs))]


def members(configs: Path, name: str, key: str) -> list[Config]:
    loaded = load_config(configs / f"{name}.yaml")
    return [loaded.member({key: strength, "seed": s}).config for strength in (0, 3) for s in SEEDS]


@pytest.fixture(scope="module")
def rows(configs: Path) -> list[Row]:
    """Five seeds without decay, then the same with λ = 3."""
    return last_rows(members(configs, "weight_decay", "optimizer.weight_decay"))


def test_without_decay_the_network_learns_the_examples_and_nothing_else(rows: list[Row]) -> None:
    for row in rows[:5]:
        assert row["train/loss"] < 1e-6
        assert row["weights/l2"] == pytest.approx(13, abs=1.5)
        assert row["test/loss"] > 50


def test_with_decay_the_weights_shrink_and_the_test_loss_with_them(rows: list[Row]) -> None:
    for without, row in zip(rows[:5], rows[5:], strict=True):
        assert row["weights/l2"] == pytest.approx(0.36, abs=0.06)
        assert 100 * row["test/loss"] < without["test/loss"]


def test_the_form_from_scratch_shows_the_same(configs: Path) -> None:
    rows = last_rows(members(configs, "weight_decay_from_scratch", "penalty.strength"))
    for without, row in zip(rows[:5], rows[5:], strict=True):
        assert without["weights/l2"] == pytest.approx(13, abs=1.5)
        assert row["weights/l2"] == pytest.approx(0.34, abs=0.06)
        assert row["penalty/l2"] == pytest.approx(1.5 * row["weights/l2"] ** 2, rel=1e-5)
        assert 100 * row["test/loss"] < without["test/loss"]


def test_weight_decay_is_the_halved_l2_penalty_under_sgd(configs: Path, tmp_path: Path) -> None:
    scratch = configs / "weight_decay_from_scratch.yaml"
    exact = {"training.precision": "float64"}
    penalty = regrun.train(scratch, exact, runs_dir=tmp_path)
    decay = regrun.train(
        scratch, {**exact, "penalty": "none", "optimizer.weight_decay": 3}, runs_dir=tmp_path
    )
    for tag in decay.metrics:
        np.testing.assert_allclose(penalty.metrics[tag], decay.metrics[tag], rtol=1e-9)
    mine, other = (load_file(run.directory / "weights.safetensors") for run in (penalty, decay))
    for name in other:
        torch.testing.assert_close(mine[name], other[name], rtol=1e-9, atol=1e-12)


def test_the_whole_experiment_is_the_closed_formula_of_ridge_in_the_end(
    configs: Path, tmp_path: Path
) -> None:
    """Trained to convergence on the full batch: (XᵀX/n + λI)⁻¹Xᵀy/n, with the mean as intercept."""
    overrides: dict[str, Any] = {
        "training": {"epochs": 1200, "batch_size": "full", "precision": "float64"},
        "training.evaluate_every": 1200,
        "optimizer.lr": 0.08,
    }
    run = regrun.train(configs / "weight_decay_from_scratch.yaml", overrides, runs_dir=tmp_path)
    data = load_config(run.directory / "config.yaml").config.dataset.load().train
    x, y = data.inputs.numpy(), data.targets.numpy()[:, 0]
    centred = x - x.mean(0)
    ridge = np.linalg.solve(
        centred.T @ centred / len(x) + 3 * np.eye(200), centred.T @ (y - y.mean()) / len(x)
    )
    weights = load_file(run.directory / "weights.safetensors")
    np.testing.assert_allclose(weights["output.weight"].numpy()[0], ridge, atol=1e-9)
    intercept = y.mean() - x.mean(0) @ ridge
    np.testing.assert_allclose(weights["output.bias"].numpy(), [intercept], atol=1e-9)
