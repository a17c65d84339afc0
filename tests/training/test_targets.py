"""Standardized targets and class weights: what is minimized, and what is reported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

import regrun
from regrun.errors import ConfigError
from tests.support.datasets import load
from tests.support.engines import config_of, dataset_of, train

RNG = np.random.default_rng(0)
BASE: dict[str, Any] = {
    "dataset": {"name": "diabetes"},
    "model": {"name": "linear", "init": "zeros"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 3000, "batch_size": "full", "precision": "float64",
                 "evaluate_every": 3000},
}  # fmt: skip
MEMBER = 0


def last_row(changes: Mapping[str, Any]) -> Mapping[str, float]:
    config = config_of(BASE, changes)
    rows, _ = train([config])
    return rows[MEMBER][-1]


def test_ridge_on_standardized_targets_is_that_of_scikit_learn(tmp_path: Path) -> None:
    """J = mean (ŷ − y)² + ½ λ ‖w‖² is scikit-learn's Ridge with alpha = N λ / 2."""
    strength = 0.3
    config = {**BASE, "penalty": {"type": "l2", "strength": strength}}
    run = regrun.train(config, runs_dir=tmp_path, device="cpu")
    data = load(name="diabetes", standardize=False, standardize_target=False)
    x, y = data.train.inputs.numpy(), data.train.targets.numpy()
    reference = TransformedTargetRegressor(
        Ridge(alpha=len(x) * strength / 2), transformer=StandardScaler()
    )
    scaler = StandardScaler().fit(x)
    reference.fit(scaler.transform(x), y)
    raw = load_diabetes().data
    expected = reference.predict(scaler.transform(raw))
    found = regrun.load_predictor(run.directory).predict(raw)["prediction"]
    np.testing.assert_allclose(found, expected[:, 0], rtol=1e-8)
    mse = ((reference.predict(scaler.transform(x)) - y) ** 2).mean()
    assert run.summary.metrics["train/loss"] == pytest.approx(mse)


def test_losses_are_on_the_original_scale_and_the_objective_is_not() -> None:
    """Without a penalty the minimum is the same, whatever the scale it is found on."""
    scaled = last_row({})
    raw = last_row({"dataset": {"name": "diabetes", "standardize_target": False}})
    for part in ("train", "test"):
        assert scaled[f"{part}/loss"] == pytest.approx(raw[f"{part}/loss"], rel=1e-6)
    variance = load(name="diabetes", standardize_target=False).train.targets.var(correction=0)
    assert scaled["objective"] == pytest.approx(scaled["train/loss"] / float(variance))
    assert raw["objective"] == raw["train/loss"]


@pytest.mark.parametrize("loss", ["mse", "half_mse"])
def test_several_targets_have_a_scale_each(tmp_path: Path, loss: str) -> None:
    x = RNG.normal(size=(80, 3))
    y = np.stack([1e4 * x.sum(1) + 5e5, 1e-3 * x[:, 0]], axis=1) + RNG.normal(size=(80, 2)) * 1e-4
    np.savez(tmp_path / "a.npz", x=x, y=y)
    dataset = {"name": "npz", "path": str(tmp_path / "a.npz")}
    run = regrun.train({**BASE, "dataset": dataset, "loss": loss}, runs_dir=tmp_path, device="cpu")
    frame = regrun.load_predictor(run.directory).predict(x)
    factor = 0.5 if loss == "half_mse" else 1
    errors = ((frame.to_numpy() - y) ** 2).mean(1)
    assert run.summary.data is not None
    sizes = run.summary.data.sizes
    reported = sum(
        sizes[part] * (run.summary.metrics[f"{part}/loss"] or 0) for part in ("train", "test")
    )
    assert reported / 80 == pytest.approx(factor * errors.mean(), rel=1e-6)
    assert [each.standardized for each in run.summary.data.targets] == [True, True]


@pytest.mark.parametrize(
    ("scale", "offset", "on"),
    [
        (1, 0, False), (100, 0, True), (0.01, 0, True), (1, 1000, True), (3, 1, False),
        (0, 7e5, False),
    ],
)  # fmt: skip
def test_auto_is_on_far_from_unit_scale(
    tmp_path: Path, scale: float, offset: float, on: bool
) -> None:
    y = scale * (RNG.permutation(40) / 20 - 1) + offset
    np.savez(tmp_path / "a.npz", x=RNG.normal(size=(40, 2)), y=y)
    data = load(name="npz", path=str(tmp_path / "a.npz"), task="regression")
    assert (data.target_scale is not None) == on
    assert any("standardized for training" in note for note in data.notes) == on
    if on:
        np.testing.assert_allclose(data.train.targets.mean(), 0, atol=1e-9)
        np.testing.assert_allclose(data.train.targets.std(correction=0), 1, rtol=1e-9)


def test_synthetic_data_and_the_strengths_of_scikit_learn_stay_as_they_are() -> None:
    assert load(name="synthetic_linear", weight=50.0).target_scale is None
    assert load(name="synthetic_linear", standardize_target=True).target_scale is not None
    fista = config_of(BASE, {"optimizer": {"name": "fista"}})
    section = fista.dataset.with_targets_for(fista.optimizer)
    assert section.load().target_scale is None
    sgd = config_of(BASE, {})
    assert sgd.dataset.with_targets_for(sgd.optimizer).load().target_scale is not None


def test_classes_have_no_scale() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.standardize_target: true: these data have"):
        load(name="digits", standardize_target=True)


IMBALANCED: dict[str, Any] = {
    **BASE,
    "dataset": {"name": "breast_cancer", "class_weights": "balanced"},
    "penalty": {"type": "l2", "strength": 0.05},
    "optimizer": {"name": "fista"},
}


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    data = load(name="breast_cancer", class_weights="balanced")
    expected = compute_class_weight("balanced", classes=np.arange(2), y=data.train.targets.numpy())
    assert data.class_weights is not None
    np.testing.assert_allclose(data.class_weights, expected)


@pytest.mark.parametrize("loss", ["auto", "cross_entropy"])
def test_a_weighted_fit_is_scikit_learns(loss: str) -> None:
    """Each of two outputs with the same penalty holds half of the difference."""
    config = config_of(IMBALANCED, {"loss": loss})
    data = dataset_of(config)
    _, ends = train([config])
    strength = 0.05 if loss == "auto" else 0.05 / 2
    reference = LogisticRegression(
        C=1 / (len(data.train) * strength), class_weight="balanced", tol=1e-10, max_iter=10_000
    ).fit(data.train.inputs.numpy(), data.train.targets.numpy())
    weights = (ends[MEMBER].weights or {})["output.weight"]
    one_logit = weights if loss == "auto" else weights.diff(dim=0)
    np.testing.assert_allclose(one_logit, reference.coef_, rtol=1e-3, atol=1e-4)


def test_reported_losses_are_without_weights_and_the_objective_is_with_them() -> None:
    config = config_of(IMBALANCED, {})
    data = dataset_of(config)
    rows, ends = train([config])
    weights = ends[MEMBER].weights or {}
    assert data.class_weights is not None
    logits = data.train.inputs @ weights["output.weight"][0] + weights["output.bias"]
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, data.train.targets.double(), reduction="none"
    )
    plain, each = losses.mean(), losses * data.class_weights[data.train.targets]
    row = rows[MEMBER][-1]
    assert row["train/loss"] == pytest.approx(float(plain))
    assert row["objective"] == pytest.approx(float(each.mean()) + row["penalty/l2"])


def test_weights_by_class_name_and_wrong_ones() -> None:
    data = load(name="breast_cancer", class_weights={"benign": 3.0})
    assert data.class_weights is not None
    assert data.class_weights.tolist() == [1.0, 3.0]
    with pytest.raises(ConfigError, match=r'no class .benin.; did you mean "benign"'):
        load(name="breast_cancer", class_weights={"benin": 3.0})
    with pytest.raises(ConfigError, match=r"dataset\.class_weights: these data have numbers"):
        load(name="diabetes", class_weights="balanced")


def test_weights_act_on_both_labels_of_a_mixed_example() -> None:
    """The run is the same as without weights where all weights are 1."""
    changes = {
        "optimizer": {"name": "sgd", "lr": 0.1},
        "augment": {"mixup": 0.4, "label_smoothing": 0.1},
        "training": {"epochs": 5, "batch_size": 20, "precision": "float64"},
    }
    ones = {"name": "breast_cancer", "class_weights": {"benign": 1.0}}
    rows = [
        train([config_of(IMBALANCED, {**changes, "dataset": dataset})])[0][MEMBER]
        for dataset in (ones, {"name": "breast_cancer"})
    ]
    for one, other in zip(*rows, strict=True):
        assert one["train/loss"] == pytest.approx(other["train/loss"], rel=1e-12)
    weighted = train([config_of(IMBALANCED, changes)])[0][MEMBER]
    assert weighted[-1]["train/loss"] != pytest.approx(rows[0][-1]["train/loss"], rel=1e-3)


def test_members_of_a_stack_with_scaled_targets_equal_those_alone() -> None:
    configs = [
        config_of(BASE, {"penalty": {"type": "l2", "strength": s}, "training": {"epochs": 20}})
        for s in (0.0, 0.1, 1.0)
    ]
    together, _ = train(configs)
    for member, config in enumerate(configs):
        alone, _ = train([config])
        for one, other in zip(together[member], alone[0], strict=True):
            for tag, value in other.items():
                assert one[tag] == pytest.approx(value, rel=1e-5), tag
