"""The models of a path by Newton's method: the conditions of their minima, and FISTA."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from regrun.config.load import Loaded, config_from_mapping
from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import Interrupted
from regrun.execution.observer import Observer
from regrun.execution.prepare import load_data
from regrun.results import PathResult
from regrun.store.study import PathStudy, read_study
from regrun.studies import path_newton, path_stacks
from regrun.studies.path import (
    RegularizationPath,
    fold_parts,
    largest_strength,
    path_config,
    resume_path,
    run_path,
    solve,
)
from regrun.studies.path_newton import Newton
from regrun.training.engine import Engine

CPU = torch.device("cpu")
LASSO: dict[str, Any] = {"type": "l1", "strength": 1.0}
NET: dict[str, Any] = {"type": "elastic_net", "strength": 1.0, "l1_ratio": 0.3}


def loaded(**changes: Any) -> Loaded:
    base: dict[str, Any] = {
        "name": "some",
        "dataset": {"name": "breast_cancer"},
        "model": {"name": "linear"},
        "penalty": LASSO,
        "optimizer": {"name": "sgd", "lr": 0.1},
    }
    return config_from_mapping({**base, **changes})


def prepared(one: Loaded) -> tuple[Config, Dataset]:
    config = path_config(one)
    return config, load_data(config, CPU)


def strengths_of(config: Config, dataset: Dataset, number: int, ratio: float) -> np.ndarray:
    largest = largest_strength(config, dataset)
    return np.geomspace(largest, largest * ratio, number)


def whole(dataset: Dataset) -> Tensor:
    return torch.ones(1, len(dataset.train), dtype=torch.bool)


def start_of(dataset: Dataset, outputs: int) -> dict[str, Tensor]:
    features = dataset.train.inputs[0].numel()
    return {
        "output.weight": torch.zeros(outputs, features, dtype=torch.float64),
        "output.bias": torch.zeros(outputs, dtype=torch.float64),
    }


def smoothed(outputs: Tensor, targets: Tensor) -> Tensor:
    """Balanced weights of two classes, divided by the number of examples, not by their sum."""
    counts = torch.bincount(targets).double()
    weights = len(targets) / (2 * counts)
    scores = torch.cat([torch.zeros_like(outputs), outputs], 1)
    options: dict[str, Any] = {"weight": weights, "label_smoothing": 0.2, "reduction": "none"}
    return F.cross_entropy(scores, targets, **options).mean()


Loss = Callable[[Tensor, Tensor], Tensor]
PROBLEMS: dict[str, tuple[dict[str, Any], int, Loss]] = {
    "half_mse": (
        {"dataset": {"name": "diabetes"}, "loss": "half_mse"},
        1,
        lambda o, y: 0.5 * F.mse_loss(o, y),
    ),
    "huber": (
        {
            "dataset": {"name": "diabetes", "standardize_target": False},
            "loss": {"type": "huber", "delta": 40.0},
        },
        1,
        lambda o, y: F.huber_loss(o, y, delta=40.0),
    ),
    "one logit": ({}, 1, lambda o, y: F.binary_cross_entropy_with_logits(o[:, 0], y.double())),
    "two outputs": ({"loss": "cross_entropy"}, 2, F.cross_entropy),
    "three classes": ({"dataset": {"name": "wine"}}, 3, F.cross_entropy),
    "weighted and smoothed": (
        {
            "dataset": {"name": "breast_cancer", "class_weights": "balanced"},
            "augment": {"label_smoothing": 0.2},
        },
        1,
        smoothed,
    ),
    "features of many sizes": (
        {"dataset": {"name": "breast_cancer", "standardize": False}},
        1,
        lambda o, y: F.binary_cross_entropy_with_logits(o[:, 0], y.double()),
    ),
}


@pytest.mark.parametrize("penalty", [LASSO, NET], ids=lambda penalty: penalty["type"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_solution_fulfils_the_conditions_of_a_minimum(
    name: str, penalty: dict[str, Any]
) -> None:
    """∂f + λ a sign(w) + 2 λ q w = 0, |∂f| ≤ λ a where w = 0, and ∂f = 0 for the intercepts."""
    changes, outputs, loss = PROBLEMS[name]
    config, dataset = prepared(loaded(**changes, penalty=penalty))
    newton = Newton(config, dataset, whole(dataset), None)
    share = penalty.get("l1_ratio", 1.0)
    weights: dict[str, Tensor] | None = start_of(dataset, outputs)
    for strength in strengths_of(config, dataset, 8, 0.01):
        assert weights is not None
        weights = newton.solve(0, float(strength), weights)
        assert weights is not None
        w, b = (weights[key].clone().requires_grad_() for key in ("output.weight", "output.bias"))
        value = loss(dataset.train.inputs @ w.T + b, dataset.train.targets)
        value = value + strength * (1 - share) / 2 * w.square().sum()
        slopes, offsets = torch.autograd.grad(value, [w, b])
        limit = strength * share
        left = torch.where(
            w == 0, (slopes.abs() - limit).clamp(min=0), (slopes + limit * w.sign()).abs()
        )
        assert float(left.detach().max()) <= 1e-8 * limit
        assert float(offsets.abs().max()) <= 1e-8 * limit
        assert newton.is_minimum(0, float(strength), weights)
        moved = weights["output.bias"].clone()
        moved[0] += 1e-3 * moved.abs().max()
        assert not newton.is_minimum(0, float(strength), {**weights, "output.bias": moved})


def paths(one: Loaded, number: int, ratio: float, folds: int) -> list[RegularizationPath]:
    config, dataset = prepared(one)
    strengths = strengths_of(config, dataset, number, ratio)
    return solve(config, dataset, strengths, fold_parts(config, dataset, folds), CPU)


@pytest.mark.parametrize("left_out", ["MOST_NUMBERS", "MOST_ACTIVE", "MOST_STEPS"])
def test_without_newton_fista_finds_the_same(
    left_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data, weights or steps that are too many leave the models to FISTA."""
    one = loaded(dataset={"name": "breast_cancer", "num_train": 150})
    by_newton = paths(one, 4, 0.1, 2)
    monkeypatch.setattr(path_newton, left_out, 1)
    by_fista = paths(one, 4, 0.1, 2)
    for mine, other in zip(by_newton, by_fista, strict=True):
        assert mine.converged
        assert other.converged
        for at in range(4):
            torch.testing.assert_close(mine.weights[at], other.weights[at], rtol=1e-5, atol=1e-6)
            assert mine.weights[at].count_nonzero() == other.weights[at].count_nonzero()
            assert mine.rows[at]["train/loss"] == pytest.approx(
                other.rows[at]["train/loss"], rel=1e-6
            )


def test_hard_models_need_no_more_steps_of_fista_than_easy_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FISTA alone needs some 19,000 steps for the weakest strengths here."""
    steps: list[int] = []
    run = Engine.run

    def counted(engine: Engine) -> Any:
        for event in run(engine):
            steps.append(engine.step)
            yield event

    monkeypatch.setattr(Engine, "run", counted)
    found = paths(loaded(), 20, 1e-3, 2)
    assert all(each.converged for each in found)
    assert max(steps) <= (path_stacks.SHARES + 3) * path_stacks.CHECK_EVERY


def test_models_that_stand_still_elsewhere_do_not_count_as_solved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(path_newton, "MOST_STEPS", 0)
    monkeypatch.setattr(path_stacks, "TOLERANCE", 1e-3)
    assert not any(each.converged for each in paths(loaded(), 3, 0.01, 2))


class Stops(Observer):
    """Asks to stop at a report of progress, counted from 1."""

    def __init__(self, moment: int) -> None:
        self._left = moment
        self.seen: list[int] = []

    def on_progress(self, step: int, total_steps: int) -> None:
        self.seen.append(step)
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def stored(result: PathResult) -> dict[str, Any]:
    return result.model_dump(exclude={"path_dir", "files", "data"})


def test_stopped_between_two_solutions_it_goes_on_to_the_same_end(tmp_path: Path) -> None:
    one = loaded(dataset={"name": "breast_cancer", "num_train": 80})
    options: dict[str, Any] = {
        "number": 6, "ratio": 0.05, "folds": 2, "device": "cpu",
    }  # fmt: skip
    watcher = Stops(0)
    undisturbed = run_path(one, runs_dir=tmp_path / "whole", observer=watcher, **options)
    assert watcher.seen == sorted(watcher.seen)
    # The first reports: 20 steps, then a solution or more, then the steps to the next look.
    first = path_stacks.CHECK_EVERY
    for moment in (first + 1, first + 2, 2 * first + 5, len(watcher.seen) // 2):
        runs = tmp_path / str(moment)
        with pytest.raises(Interrupted, match="carry on with") as caught:
            run_path(one, runs_dir=runs, observer=Stops(moment), **options)
        assert caught.value.result is not None
        (directory,) = runs.glob("*/*")
        study = read_study(directory)
        assert isinstance(study, PathStudy)
        assert stored(resume_path(directory, study)) == stored(undisturbed)
