"""Regularization paths: against scikit-learn, their folds, their files and their report."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, enet_path
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from regrun.config.load import Loaded, config_from_mapping
from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.execution.observer import Observer
from regrun.execution.prepare import load_data
from regrun.store.study import PathStudy, read_study
from regrun.studies import path as study
from regrun.studies import path_newton, path_stacks
from regrun.studies.path import (
    choose,
    cross_validated,
    end_notes,
    fold_notes,
    fold_parts,
    largest_strength,
    path_config,
    run_path,
    solve,
)
from regrun.training.engine import Engine
from regrun.training.events import Event
from tests.support.program import invoke

CPU = torch.device("cpu")
LASSO: dict[str, Any] = {"type": "l1", "strength": 1.0}
NET: dict[str, Any] = {"type": "elastic_net", "strength": 1.0, "l1_ratio": 0.3}


def loaded(penalty: Any = LASSO, **changes: Any) -> Loaded:
    base: dict[str, Any] = {
        "name": "some",
        "dataset": {"name": "diabetes"},
        "model": {"name": "linear"},
        "loss": "half_mse",
        "penalty": penalty,
        "optimizer": {"name": "sgd", "lr": 0.1},
    }
    return config_from_mapping({**base, **changes})


def prepared(one: Loaded) -> tuple[Config, Dataset]:
    config = path_config(one)
    return config, load_data(config, CPU)


def table(tmp_path: Path, inputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """A dataset section for arrays of one's own."""
    np.savez(tmp_path / "data.npz", x_train=inputs, y_train=targets, x_test=inputs, y_test=targets)
    return {"name": "npz", "path": str(tmp_path / "data.npz"), "task": "regression"}


def designs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated columns; more of them than examples for odd seeds."""
    draw = np.random.default_rng(seed)
    count, width = (60, 12) if seed % 2 == 0 else (25, 40)
    inputs = draw.normal(size=(count, width)) + 0.7 * draw.normal(size=(count, 1))
    weights = np.where(draw.random(width) < 0.3, draw.normal(size=width), 0)
    return inputs, inputs @ weights + 0.5 * draw.normal(size=count)


def scikit_learns(
    inputs: np.ndarray, targets: np.ndarray, strengths: np.ndarray, ratio: float
) -> np.ndarray:
    """(strengths, features); an intercept is fitted by centring."""
    _, coefficients, _ = enet_path(
        inputs - inputs.mean(0),
        targets - targets.mean(),
        l1_ratio=ratio,
        alphas=strengths,
        tol=1e-13,
        max_iter=10**6,
    )
    found: np.ndarray = coefficients.T
    return found


@pytest.mark.parametrize(("penalty", "ratio"), [(LASSO, 1.0), (NET, 0.3)])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_every_fold_has_scikit_learns_path(
    tmp_path: Path, penalty: dict[str, Any], ratio: float, seed: int | None
) -> None:
    changes = {} if seed is None else {"dataset": table(tmp_path, *designs(seed))}
    config, dataset = prepared(loaded(penalty, **changes))
    largest = largest_strength(config, dataset)
    strengths = np.geomspace(largest, largest * 0.02, 12)
    parts = fold_parts(config, dataset, 3)
    paths = solve(config, dataset, strengths, parts, CPU)
    assert len(paths) == 4
    unscaled, targets = dataset.train.inputs.numpy(), dataset.train.targets.numpy()[:, 0]
    for found, kept in zip(paths, parts.numpy(), strict=True):
        assert found.converged
        inputs = StandardScaler().fit(unscaled[kept]).transform(unscaled)
        expected = scikit_learns(inputs[kept], targets[kept], strengths, ratio)
        mine = np.asarray([weight[0].numpy() for weight in found.weights])
        np.testing.assert_array_equal(mine == 0, expected == 0)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(mine, expected, rtol=1e-6, atol=1e-7 * scale)
        offsets = targets[kept].mean() - expected @ inputs[kept].mean(0)
        bias = [each.item() for each in found.intercepts]
        np.testing.assert_allclose(bias, offsets, rtol=1e-6, atol=1e-7 * scale)
        if not kept.all():
            residuals = targets[~kept] - expected @ inputs[~kept].T - offsets[:, None]
            held_out = 0.5 * (residuals**2).mean(1)
            mine_held_out = [row["held_out/loss"] for row in found.rows]
            np.testing.assert_allclose(mine_held_out, held_out, rtol=1e-6)


def test_all_folds_in_one_stack_are_the_folds_one_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, dataset = prepared(loaded())
    largest = largest_strength(config, dataset)
    strengths = np.geomspace(largest, largest * 0.05, 4)
    parts = fold_parts(config, dataset, 2)
    together = solve(config, dataset, strengths, parts, CPU)
    # Converged paths differ by what convergence leaves; the same number of steps must not.
    monkeypatch.setattr(path_stacks, "TOLERANCE", -inf)
    monkeypatch.setattr(path_newton, "MOST_NUMBERS", 0)  # FISTA's steps alone
    config = config.model_copy(
        update={"training": config.training.model_copy(update={"epochs": 60})}
    )
    whole = solve(config, dataset, strengths, parts, CPU)
    monkeypatch.setattr(study, "available_bytes", lambda _: 1)  # a stack of one each
    single = solve(config, dataset, strengths, parts, CPU)
    for one, other, settled in zip(whole, single, together, strict=True):
        assert not one.converged
        assert settled.converged
        for index in range(len(strengths)):
            torch.testing.assert_close(
                one.weights[index], other.weights[index], rtol=1e-9, atol=1e-9
            )
            assert one.rows[index] == pytest.approx(other.rows[index], rel=1e-9)


@pytest.mark.parametrize("loss", ["auto", "cross_entropy"])
def test_an_l1_logistic_path_is_scikit_learns(loss: str) -> None:
    """With one output for two classes the weights are scikit-learn's, with two their difference."""
    config, dataset = prepared(
        loaded(dataset={"name": "breast_cancer", "num_train": 150}, loss=loss)
    )
    largest = largest_strength(config, dataset)
    strengths = np.geomspace(largest, largest * 0.1, 4)
    everything = torch.ones(1, len(dataset.train), dtype=torch.bool)
    (found,) = solve(config, dataset, strengths, everything, CPU)
    inputs, labels = dataset.train.inputs.numpy(), dataset.train.targets.numpy()
    assert not found.weights[0].any()
    for at in range(1, len(strengths)):
        strength, weight, bias = strengths[at], found.weights[at], found.intercepts[at]
        # Two outputs with opposite weights w, −w cost λ (2 Σ|w|) and score 2w: Σ|2w| λ n in all.
        model = LogisticRegression(
            C=1 / (strength * len(inputs)),
            l1_ratio=1,
            solver="saga",
            tol=1e-9,
            max_iter=10**5,
        ).fit(inputs, labels)
        one_logit = weight if loss == "auto" else weight.diff(dim=0)
        np.testing.assert_allclose(one_logit, model.coef_, rtol=1e-4, atol=1e-5)
        assert weight.count_nonzero() == np.count_nonzero(model.coef_) * len(weight)
        if loss == "auto":
            np.testing.assert_allclose(bias, model.intercept_, rtol=1e-4)


def test_the_path_of_two_classes_begins_at_the_log_odds_with_one_vector(tmp_path: Path) -> None:
    config = loaded(dataset={"name": "breast_cancer", "num_train": 150}, loss="auto")
    result = run_path(config, runs_dir=tmp_path, number=3, ratio=0.3, folds=2, device="cpu")
    dataset = prepared(config)[1]
    inputs, labels = dataset.train.inputs, dataset.train.targets.double()
    steepest = (inputs.T @ (labels.mean() - labels)).abs().max() / len(labels)
    assert result.strengths[0] == pytest.approx(float(steepest), rel=1e-8)
    share = labels.mean()
    assert result.intercepts[0] == pytest.approx(float((share / (1 - share)).log()), rel=1e-9)
    assert np.shape(result.coefficients) == (3, dataset.input_shape[0])
    assert result.nonzeros == [np.count_nonzero(each) for each in result.coefficients]
    assert result.nonzeros[0] == 0 < result.nonzeros[-1]


def heavy_tailed(kind: str, count: int = 75) -> tuple[np.ndarray, np.ndarray]:
    """Columns of Student's t with 1.5 degrees of freedom: a few examples decide their scale."""
    draw = np.random.default_rng(4)
    inputs = draw.standard_t(1.5, size=(count, 6)) * np.geomspace(0.1, 10, 6) + 3
    scores = StandardScaler().fit_transform(inputs) @ [1.0, -1, 0.5, 0, 0, 0]
    if kind == "numbers":
        return inputs, scores + 0.3 * draw.normal(size=count)
    noisy = scores + draw.logistic(scale=0.3, size=count)
    return inputs, np.digitize(noisy, [0.2] if kind == "two classes" else [-0.2, 0.3])


def chosen_by_glmnet(
    strengths: np.ndarray, folds: list[list[float]], sizes: list[int]
) -> tuple[list[float], list[float], float, float]:
    """`cvm`, `cvsd`, `lambda.min` and `lambda.1se` of cv.glmnet 4.1, loop by loop.

    folds: a list of losses over the strengths for each fold.
    """
    cvm, cvsd = [], []
    for at in range(len(strengths)):
        losses = [fold[at] for fold in folds]
        mean = sum(w * x for w, x in zip(sizes, losses, strict=True)) / sum(sizes)
        squares = [w * (x - mean) ** 2 for w, x in zip(sizes, losses, strict=True)]
        cvm.append(mean)
        cvsd.append(sqrt(sum(squares) / sum(sizes) / (len(folds) - 1)))
    lowest = max(s for s, loss in zip(strengths, cvm, strict=True) if loss == min(cvm))
    limit = cvm[list(strengths).index(lowest)] + cvsd[list(strengths).index(lowest)]
    largest = max(s for s, loss in zip(strengths, cvm, strict=True) if loss <= limit)
    return cvm, cvsd, float(lowest), float(largest)


def scikit_learns_model(kind: str, strength: float, trained_on: int, ratio: float) -> Any:
    """The model that a fold is fitted with."""
    if kind == "numbers":
        return ElasticNet(strength, l1_ratio=ratio, tol=1e-13, max_iter=10**6)
    return LogisticRegression(
        C=1 / (strength * trained_on), l1_ratio=ratio, solver="saga", tol=1e-10, max_iter=10**6
    )


@pytest.mark.parametrize(
    ("kind", "penalty"),
    [
        ("numbers", LASSO),
        ("numbers", NET),
        ("two classes", LASSO),
        ("two classes", NET),
        ("three classes", LASSO),
    ],
)
def test_the_cross_validation_is_scikit_learns_with_scaling_in_each_fold(
    tmp_path: Path, kind: str, penalty: dict[str, Any]
) -> None:
    inputs, targets = heavy_tailed(kind)
    task = "regression" if kind == "numbers" else "classification"
    data = {**table(tmp_path, inputs, targets), "task": task}
    one = loaded(penalty, dataset=data, loss="half_mse" if kind == "numbers" else "auto")
    number, ratio = (8, 0.01) if kind == "numbers" else (5, 0.05)
    result = run_path(one, runs_dir=tmp_path, number=number, ratio=ratio, folds=5, device="cpu")
    parts = fold_parts(*prepared(one), 5).numpy()
    splits = [(kept.nonzero()[0], (~kept).nonzero()[0]) for kept in parts[1:]]
    curves: list[list[float]] = [[] for _ in splits]
    for strength in result.strengths:
        model = scikit_learns_model(kind, strength, 60, penalty.get("l1_ratio", 1))
        pipeline = make_pipeline(StandardScaler(), model)
        method = "predict" if kind == "numbers" else "predict_proba"
        found = cross_val_predict(pipeline, inputs, targets, cv=splits, method=method)
        if kind == "numbers":
            losses = (found - targets) ** 2 / 2
        else:
            losses = -np.log(found[np.arange(len(targets)), targets])
        for curve, (_, held) in zip(curves, splits, strict=True):
            curve.append(float(losses[held].mean()))
    sizes = [len(held) for _, held in splits]
    strengths = np.asarray(result.strengths)
    mean, error, lowest, largest = chosen_by_glmnet(strengths, curves, sizes)
    # saga stops at once, before the intercepts have settled, where all weights stay zero.
    within = slice(0 if kind == "numbers" else 1, None)
    np.testing.assert_allclose(result.metrics["cv/loss"][within], mean[within], rtol=1e-6)
    found_errors = result.metrics["cv/standard_error"]
    np.testing.assert_allclose(found_errors[within], error[within], rtol=1e-5)
    assert (result.best.strength, result.best.one_standard_error) == (lowest, largest)


def test_scaling_by_all_examples_would_give_another_curve(tmp_path: Path) -> None:
    inputs, targets = heavy_tailed("numbers")
    scaled = StandardScaler().fit_transform(inputs)
    raw, already = (
        run_path(
            loaded(dataset=table(tmp_path, each, targets) | {"standardize": standardize}),
            runs_dir=tmp_path,
            number=8,
            ratio=0.01,
            device="cpu",
        )
        for each, standardize in ((inputs, True), (scaled, False))
    )
    np.testing.assert_allclose(raw.coefficients, already.coefficients, atol=1e-9)
    assert min(np.divide(raw.metrics["cv/loss"], already.metrics["cv/loss"])) < 0.5


def test_inputs_that_are_not_standardized_stay_as_they_are(tmp_path: Path) -> None:
    inputs, targets = heavy_tailed("numbers")
    one = loaded(dataset=table(tmp_path, inputs, targets) | {"standardize": False})
    config, dataset = prepared(one)
    strengths = np.asarray([0.3 * largest_strength(config, dataset)])
    parts = fold_parts(config, dataset, 3)
    for found, kept in zip(
        solve(config, dataset, strengths, parts, CPU), parts.numpy(), strict=True
    ):
        model = Lasso(strengths[0], tol=1e-13, max_iter=10**6).fit(inputs[kept], targets[kept])
        np.testing.assert_allclose(found.weights[0][0].numpy(), model.coef_, rtol=1e-6, atol=1e-9)


LOSSES: dict[str, tuple[str, Any]] = {
    "mse": ("numbers", "mse"),
    "half_mse": ("numbers", "half_mse"),
    "huber": ("numbers", {"type": "huber", "delta": 0.4}),
    "one logit": ("two classes", "binary_cross_entropy"),
    "two outputs": ("two classes", "cross_entropy"),
    "three classes": ("three classes", "cross_entropy"),
}


def all_zero(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    outputs: int,
    l1: float,
    l2: float,
) -> bool:
    """Whether l1 Σ|w| + l2/2 Σw² leaves no weight: proximal gradient steps, with momentum."""
    weight = torch.zeros(outputs, inputs.shape[1], dtype=torch.float64)
    bias = torch.zeros(outputs, dtype=torch.float64)
    rate = 1 / (2 * torch.linalg.matrix_norm(inputs, 2) ** 2 / len(inputs) + 2 + l2)
    here = [weight, bias]
    ahead = list(here)
    for step in range(500):
        w, b = (each.clone().requires_grad_() for each in ahead)
        objective = loss(inputs @ w.T + b, targets) + l2 / 2 * w.square().sum()
        slopes = torch.autograd.grad(objective, [w, b])
        moved = [at.detach() - rate * slope for at, slope in zip((w, b), slopes, strict=True)]
        moved[0] = moved[0].sign() * (moved[0].abs() - rate * l1).clamp(min=0)
        pace = step / (step + 3)
        ahead = [new + pace * (new - old) for new, old in zip(moved, here, strict=True)]
        here = moved
    return not here[0].any()


@pytest.mark.parametrize("penalty", [LASSO, NET])
@pytest.mark.parametrize("name", LOSSES)
def test_the_largest_strength_is_where_a_solver_finds_the_first_weight(
    tmp_path: Path, name: str, penalty: dict[str, Any]
) -> None:
    kind, setting = LOSSES[name]
    inputs, targets = heavy_tailed(kind, 60)
    task = "regression" if kind == "numbers" else "classification"
    data = {**table(tmp_path, inputs, targets), "task": task}
    config, dataset = prepared(loaded(penalty, dataset=data, loss=setting))
    x = torch.from_numpy(StandardScaler().fit_transform(inputs))
    y = (
        torch.from_numpy(targets)
        if task == "classification"
        else torch.from_numpy(targets)[:, None]
    )
    losses: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
        "mse": F.mse_loss,
        "half_mse": lambda outputs, y: F.mse_loss(outputs, y) / 2,
        "huber": lambda outputs, y: F.huber_loss(outputs, y, delta=0.4),
        "one logit": lambda outputs, y: F.binary_cross_entropy_with_logits(
            outputs[:, 0], y.double()
        ),
    }
    outputs = 1 if name == "one logit" else dataset.num_outputs
    share = penalty.get("l1_ratio", 1.0)
    low, high = 0.0, 10.0
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        if all_zero(
            losses.get(name, F.cross_entropy),
            x,
            y,
            outputs,
            share * middle,
            (1 - share) * middle,
        ):
            high = middle
        else:
            low = middle
    assert largest_strength(config, dataset) == pytest.approx(high, rel=2e-3)


@pytest.mark.parametrize("penalty", [LASSO, NET])
def test_at_the_largest_strength_all_weights_are_zero_and_just_below_it_one_is_not(
    penalty: dict[str, Any],
) -> None:
    config, dataset = prepared(loaded(penalty))
    largest = largest_strength(config, dataset)
    everything = torch.ones(1, len(dataset.train), dtype=torch.bool)
    strengths = np.asarray([largest, largest * (1 - 1e-4)])
    (found,) = solve(config, dataset, strengths, everything, CPU)
    assert [int(weight.count_nonzero()) for weight in found.weights] == [0, 1]
    centred = dataset.train.targets - dataset.train.targets.mean()
    steepest = (dataset.train.inputs.T @ centred).abs().max() / len(centred)
    ratio = penalty.get("l1_ratio", 1)
    assert largest == pytest.approx(float(steepest) / ratio, rel=1e-8)


def test_the_largest_strength_for_huber_loss_starts_from_its_own_best_constant() -> None:
    config, dataset = prepared(loaded(loss={"type": "huber", "delta": 30.0}))
    largest = largest_strength(config, dataset)
    everything = torch.ones(1, len(dataset.train), dtype=torch.bool)
    strengths = np.asarray([largest, largest * (1 - 1e-4)])
    (found,) = solve(config, dataset, strengths, everything, CPU)
    assert [int(weight.count_nonzero()) for weight in found.weights] == [0, 1]
    targets = dataset.train.targets.numpy()[:, 0]
    constant = brentq(lambda b: np.clip(b - targets, -30, 30).sum(), 0, 400, xtol=1e-12)
    assert found.intercepts[0].item() == pytest.approx(constant, rel=1e-9)
    assert abs(constant - targets.mean()) > 1


def test_the_largest_strength_of_classes_starts_from_their_frequencies() -> None:
    config, dataset = prepared(loaded(dataset={"name": "wine"}, loss="auto"))
    labels = torch.nn.functional.one_hot(dataset.train.targets, 3).double()
    gradient = dataset.train.inputs.T @ (labels.mean(0) - labels) / len(labels)
    assert largest_strength(config, dataset) == pytest.approx(float(gradient.abs().max()), rel=1e-8)


@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("loss", ["auto", "cross_entropy"])
def test_the_largest_strength_is_that_of_smoothed_labels(loss: str, weights: str) -> None:
    data = {"name": "breast_cancer", "class_weights": weights}
    smoothed = loaded(dataset=data, loss=loss, augment={"label_smoothing": 0.2})
    config, dataset = prepared(smoothed)
    largest = largest_strength(config, dataset)
    everything = torch.ones(1, len(dataset.train), dtype=torch.bool)
    strengths = np.asarray([largest, largest * (1 - 1e-3)])
    (found,) = solve(config, dataset, strengths, everything, CPU)
    above, below = (int(weight.count_nonzero()) for weight in found.weights)
    assert above == 0
    assert below > 0
    if weights == "none":  # the targets' distances from their mean are 0.8 of what they were
        plain = largest_strength(*prepared(loaded(dataset=data, loss=loss)))
        assert largest == pytest.approx(0.8 * plain, rel=1e-8)


def test_every_example_is_held_out_by_one_fold() -> None:
    config, dataset = prepared(loaded(dataset={"name": "diabetes", "num_train": 11}))
    parts = fold_parts(config, dataset, 4)
    assert parts.shape == (5, 11)
    assert parts[0].all()
    assert (~parts[1:]).sum(0).tolist() == [1] * 11
    sizes = [len(held) for _, held in KFold(4).split(np.zeros(11))]
    assert (~parts[1:]).sum(1).tolist() == sizes
    assert torch.equal(fold_parts(config, dataset, 4), parts)
    other = config.model_copy(update={"dataset": config.dataset.model_copy(update={"seed": 1})})
    assert not torch.equal(fold_parts(other, dataset, 4), parts)


def labelled(tmp_path: Path, *counts: int) -> Loaded:
    """So many examples of each class, with noise for inputs."""
    labels = np.repeat(np.arange(len(counts)), counts)
    inputs = np.random.default_rng(0).normal(size=(len(labels), 2))
    data = {**table(tmp_path, inputs, labels), "task": "classification"}
    return loaded(dataset=data, loss="auto")


def test_every_fold_has_its_share_of_each_class(tmp_path: Path) -> None:
    one = labelled(tmp_path, 86, 10, 23)
    config, dataset = prepared(one)
    parts = fold_parts(config, dataset, 5)
    assert (~parts[1:]).sum(0).tolist() == [1] * 119
    labels = dataset.train.targets
    held = torch.stack([torch.bincount(labels[~part], minlength=3) for part in parts[1:]])
    assert held.sum(0).tolist() == [86, 10, 23]
    assert set(held[:, 1].tolist()) == {2}
    assert all(int(count.max() - count.min()) <= 1 for count in held.T)


def test_classes_that_are_rarer_than_folds_are_noted_or_refused(tmp_path: Path) -> None:
    result = run_path(
        labelled(tmp_path, 20, 3), runs_dir=tmp_path, number=3, ratio=0.5, device="cpu"
    )
    assert result.data is not None
    assert "class '1' has 3 training examples, fewer than the 5 folds" in result.data.notes[-1]
    config, dataset = prepared(labelled(tmp_path, 20, 1, 9))
    with pytest.raises(ConfigError, match="class '1' has 1 training example"):
        fold_parts(config, dataset, 5)
    config, dataset = prepared(labelled(tmp_path, 4, 4))
    with pytest.raises(ConfigError, match="no class has more than 4 examples"):
        fold_parts(config, dataset, 5)


def test_the_mean_and_its_error_are_glmnets_for_folds_of_unequal_size() -> None:
    draw = np.random.default_rng(1)
    losses, sizes = draw.random((4, 6)), [7, 7, 6, 3]
    mean, error = cross_validated(losses, np.asarray(sizes))
    strengths = np.geomspace(1, 0.1, 6)
    expected = chosen_by_glmnet(strengths, losses.tolist(), sizes)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-14)
    np.testing.assert_allclose(error, expected[1], rtol=1e-14)
    best = choose(strengths, mean, error)
    assert (best.strength, best.one_standard_error) == expected[2:]


def test_the_choice_is_the_lowest_mean_and_the_largest_within_its_standard_error() -> None:
    losses = np.asarray([[9.0, 4.1, 3.0, 2.0, 4.0], [9.0, 3.9, 3.0, 4.0, 4.0]])

    def chosen() -> tuple[float, float]:
        error = losses.std(0, ddof=1) / np.sqrt(2)
        best = choose(np.asarray([5.0, 4.0, 3.0, 2.0, 1.0]), losses.mean(0), error)
        return best.strength, best.one_standard_error

    # means 9, 4, 3, 3, 4: the first of the lowest has no spread, so nothing else is within it
    assert chosen() == (3.0, 3.0)
    losses[:, 2] = [2.0, 3.8]
    # means 9, 4, 2.9, 3, 4; the error of 2.9: sd √(2 · 0.9²) = 1.2728, over √2 = 0.9
    assert chosen() == (3.0, 3.0)
    losses[:, 2] = [1.7, 4.1]
    # the error is 1.2: 2.9 + 1.2 takes in the 4 at strength 4
    assert chosen() == (3.0, 4.0)


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"model": {"name": "mlp", "hidden": [3]}}, "model.name", "mlp: .* linear model"),
        ({"model": {"name": "linear", "input_dropout": 0.1}}, "model.input_dropout", "use 0"),
        ({"model": {"name": "linear", "input_noise": 0.1}}, "model.input_noise", "use 0"),
        ({"augment": {"mixup": 0.4}}, "augment.mixup", "0.4: .* use 0"),
        ({"penalty": []}, "penalty", "one penalty"),
        (
            {"optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 0.2}},
            "optimizer.weight_decay",
            "0.2: a path minimizes the loss and the one penalty alone; use elastic_net",
        ),
        (
            {"optimizer": {"name": "sgd", "lr": 0.1, "sam": 0.1}},
            "optimizer.sam",
            "0.1: .*; use 0",
        ),
        (
            {"constraints": [{"type": "max_norm", "limit": 3.0}]},
            "constraints",
            "leave them out",
        ),
        (
            {"dataset": {"name": "wine"}, "loss": "auto", "training": {"r_drop": {}}},
            "training.r_drop",
            "leave it out",
        ),
        ({"penalty": {"type": "l2", "strength": 1.0}}, "penalty", "l1 or elastic_net"),
        ({"penalty": {**NET, "l1_ratio": 0.0}}, "penalty.l1_ratio", "without an L1 part"),
    ],
)
def test_a_config_without_a_path_is_refused_where_it_says_so(
    changes: dict[str, Any], where: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        path_config(loaded(**changes))
    assert where in str(caught.value.details if hasattr(caught.value, "details") else caught.value)


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, []),
        ({"training": {"epochs": 7, "batch_size": 5, "precision": "float32"}}, []),
        ({"schedule": "constant", "training": {"ema": 0.0}}, []),
        ({"schedule": "cosine"}, ["schedule"]),
        (
            {
                "schedule": {"type": "constant", "warmup_epochs": 2},
                "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
                "training": {"ema": 0.5, "clip_norm": 1.0},
            },
            ["schedule", "optimizer.momentum", "training.clip_norm", "training.ema"],
        ),
    ],
)
def test_what_a_path_makes_no_use_of_is_listed(changes: dict[str, Any], keys: list[str]) -> None:
    one = loaded(**changes)
    config = path_config(one)
    assert study.unused_keys(one.config, config) == keys
    assert study.unused_keys(config, config) == []


def test_the_verb_says_what_a_path_makes_no_use_of(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs" / "diabetes.yaml"
    few = ["path", config, "--number", 2, "--ratio", 0.5, "--folds", 2, "--runs-dir", tmp_path]
    noted = "note: schedule does nothing here: a path solves each strength exactly"
    assert noted in " ".join(invoke(*few, "schedule=cosine").stderr.split())
    assert "does nothing here" not in invoke(*few).stderr


def test_more_folds_than_examples_are_refused(tmp_path: Path) -> None:
    inputs, targets = designs(0)
    few = loaded(dataset=table(tmp_path, inputs[:4], targets[:4]))
    with pytest.raises(ConfigError, match="5 folds of 4"):
        run_path(few, runs_dir=tmp_path, device="cpu")


def test_data_without_a_path_are_refused(tmp_path: Path) -> None:
    inputs, targets = designs(0)
    constant = loaded(dataset=table(tmp_path, inputs, np.ones_like(targets)))
    with pytest.raises(ConfigError, match="every weight stays zero"):
        run_path(constant, runs_dir=tmp_path, device="cpu")
    huge = loaded(dataset=table(tmp_path, inputs, 1e200 * targets))
    with pytest.raises(ConfigError, match="too large"):
        run_path(huge, runs_dir=tmp_path, device="cpu")


def test_one_that_does_not_converge_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Watcher(Observer):
        def on_message(self, text: str) -> None:
            said.append(text)

    monkeypatch.setattr(study, "MOST_EPOCHS", 30)
    found = run_path(
        loaded(), runs_dir=tmp_path, number=3, folds=2, device="cpu", observer=Watcher()
    )
    assert found.converged is False
    assert any("not every strength converged" in message for message in said)


def test_the_verb_leaves_the_document_and_its_files(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs" / "diabetes.yaml"
    arguments = ["path", config, "--number", 6, "--folds", 3, "--json", "--runs-dir", tmp_path]
    ended = invoke(*arguments)
    assert ended.exit_code == 0, ended.stderr
    document = json.loads(ended.stdout)
    ratios = np.divide(document["strengths"][:-1], document["strengths"][1:])
    np.testing.assert_allclose(ratios, 1000 ** (1 / 5))
    assert np.shape(document["coefficients"]) == (6, 10)
    assert np.shape(document["intercepts"]) == (6,)
    assert document["nonzeros"] == np.count_nonzero(document["coefficients"], axis=1).tolist()
    assert document["nonzeros"][0] == 0
    assert document["feature_names"][:3] == ["age", "sex", "bmi"]
    assert document["metrics"].keys() == {
        "train/loss",
        "test/loss",
        "cv/loss",
        "cv/standard_error",
    }
    assert all(len(values) == 6 for values in document["metrics"].values())
    assert document["best"].keys() == {"strength", "one_standard_error"}
    assert document["best"]["one_standard_error"] >= document["best"]["strength"]
    place = Path(document["path_dir"])
    assert {file.name for file in place.iterdir()} == {
        "path.yaml",
        "path-dark.png",
        "path-dark.svg",
        "path.csv",
        "path.png",
        "path.svg",
        "study.json",
        "summary.json",
    }
    stored = json.loads((place / "summary.json").read_text())
    assert {**stored, "checksum": ""} == {**document, "checksum": ""}
    with (place / "path.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["bmi"]) for row in rows] == [each[2] for each in document["coefficients"]]
    again = invoke("path", place / "path.yaml", *arguments[2:])
    repeated = json.loads(again.stdout)
    assert {**repeated, "path_dir": ""} == {**document, "path_dir": ""}
    assert repeated["path_dir"] != document["path_dir"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.name=mlp", "model.hidden=[3]"], "a regularization path needs the linear model"),
        (["penalty={type: l2, strength: 1}"], "l1 or elastic_net"),
        (["penalty.strenght=1"], "did you mean"),
        (["--folds", "1"], "--folds"),
        (["--number", "1"], "--number"),
        (["--folds", "500"], "500 folds of 354 training examples"),
    ],
)
def test_the_verb_ends_with_2_and_names_the_place(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    config = Path(__file__).parents[2] / "configs" / "diabetes.yaml"
    ended = invoke("path", config, *arguments, "--runs-dir", tmp_path)
    assert ended.exit_code == 2
    assert words in " ".join(ended.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_the_verb_shows_the_chosen_strengths_and_where_the_files_are(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs" / "diabetes.yaml"
    ended = invoke("path", config, "--number", 40, "--folds", 2, "--runs-dir", tmp_path, "--quiet")
    assert ended.exit_code == 0
    assert "lowest cv loss" in ended.stdout
    assert "one standard error" in ended.stdout
    assert "path.png, path.svg" in ended.stdout
    table = [line for line in ended.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert len(table) < 20


@pytest.mark.parametrize(
    ("mean", "words"),
    [
        ([3.0, 2.0, 1.0], "lowest at the smallest strength, 0.01: .* with --ratio 0.0001"),
        ([1.0, 2.0, 3.0], "lowest at the largest strength, where all weights are zero"),
        ([2.0, 1.0, 2.0], None),
    ],
)
def test_a_lowest_loss_at_an_end_of_the_strengths_is_noted(
    mean: list[float], words: str | None
) -> None:
    found = end_notes(np.asarray([1.0, 0.1, 0.01]), np.asarray(mean))
    assert len(found) == (words is not None)
    assert words is None or re.search(words, found[0])


def test_the_verb_says_that_the_best_strength_lies_at_the_end(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs" / "diabetes.yaml"
    few = ["path", config, "--number", 4, "--ratio", 0.5, "--folds", 2, "--runs-dir", tmp_path]
    shown = invoke(*few, "--quiet")
    assert "note: the cv loss is lowest at the smallest strength" in shown.stdout
    assert "--ratio 0.005" in " ".join(shown.stdout.split())
    document = json.loads(invoke(*few, "--json").stdout)
    assert len(document["notes"]) == 1


def test_folds_that_tear_groups_apart_are_noted(tmp_path: Path) -> None:
    inputs, targets = heavy_tailed("numbers", 40)
    rows = np.c_[inputs, targets, np.arange(40) // 4]
    names = ",".join([*(f"x{index}" for index in range(6)), "y", "g"])
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",", header=names, comments="")
    data = {"name": "csv", "path": str(tmp_path / "rows.csv"), "target": "y", "group": "g"}
    one = loaded(dataset=data)
    config, dataset = prepared(one)
    (note,) = fold_notes(config, dataset, 5)
    assert "without regard to dataset.group" in note


def short_above(most: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let stacks of more than so many members run out of memory; returns the sizes, as begun."""
    begun: list[int] = []
    run = Engine.run

    def running(engine: Engine) -> Iterator[Event]:
        begun.append(len(engine._configs))
        for number, event in enumerate(run(engine)):
            if number == 50 and begun[-1] > most:
                torch.empty(10**15)
            yield event

    monkeypatch.setattr(Engine, "run", running)
    return begun


def test_a_path_that_does_not_fit_begins_again_in_smaller_stacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = loaded(training={"checkpoint_every": 0})
    whole = run_path(one, runs_dir=tmp_path / "whole", number=6, folds=2)
    begun = short_above(5, monkeypatch)
    said: list[str] = []

    class Recorder(Observer):
        def on_message(self, text: str) -> None:
            said.append(text)

    found = run_path(one, runs_dir=tmp_path / "short", number=6, folds=2, observer=Recorder())
    assert begun == [18, 9, 5, 5, 5, 3]
    assert said == [
        "18 fits need more memory than there is; all begin again in stacks of 9",
        "9 fits need more memory than there is; all begin again in stacks of 5",
    ]
    stored = read_study(Path(found.path_dir))
    assert isinstance(stored, PathStudy) and stored.stack_size == 5
    np.testing.assert_allclose(found.coefficients, whole.coefficients, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.metrics["cv/loss"], whole.metrics["cv/loss"], rtol=1e-9)


def test_a_path_of_which_no_fit_fits_alone_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = short_above(0, monkeypatch)
    (tmp_path / "path.yaml").write_text(json.dumps(loaded().config.model_dump(mode="json")))
    words = ["path", tmp_path / "path.yaml", "--runs-dir", tmp_path / "runs", "--quiet"]
    ended = invoke(*words, "--number", 4, "--folds", 3)
    assert ended.exit_code == 4
    assert begun == [16, 8, 4, 2, 1]
    (directory,) = tmp_path.glob("runs/*/*")
    assert "out of memory: 4.0 PB were asked for at once" in ended.stderr
    again = f"once more memory is free: regrun resume {directory}"
    assert f"use fewer examples or inputs; or, {again}" in ended.stderr
    monkeypatch.undo()
    resumed = invoke("resume", directory, "--json")
    assert resumed.exit_code == 0, resumed.stderr
    assert len(json.loads(resumed.stdout)["strengths"]) == 4
