"""Losses against torch's own and SciPy's minimum; how a config writes them; which data they fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from scipy.optimize import minimize
from scipy.special import huber

from regrun.config.dump import dump_config
from regrun.config.load import config_from_mapping
from regrun.errors import ConfigError
from regrun.kinds.losses import MSE, BinaryCrossEntropy, CrossEntropy, HalfMSE, Huber, Loss
from regrun.kinds.registry import KINDS
from regrun.training.losses import resolve_loss
from regrun.training.network import build_network, network_outputs
from tests.support.datasets import load
from tests.support.engines import config_of, dataset_of, train

RNG = np.random.default_rng(0)
BASE: dict[str, Any] = {
    "dataset": {"name": "diabetes"},
    "model": {"name": "linear", "init": "zeros"},
    "optimizer": {"name": "fista"},
    "training": {"epochs": 3000, "batch_size": "full", "precision": "float64",
                 "evaluate_every": 3000},
}  # fmt: skip
MEMBER = 0


def numbers(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(RNG.normal(size=shape) * scale)


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize(
    ("loss", "reference"),
    [
        (MSE(type="mse"), lambda o, y: F.mse_loss(o, y, reduction="none")),
        (HalfMSE(type="half_mse"), lambda o, y: F.mse_loss(o, y, reduction="none") / 2),
        (Huber(type="huber"), lambda o, y: F.huber_loss(o, y, reduction="none")),
        (
            Huber(type="huber", delta=0.3),
            lambda o, y: F.huber_loss(o, y, reduction="none", delta=0.3),
        ),
    ],
)
def test_losses_of_numbers_are_torchs_and_means_over_the_targets(
    loss: Loss, reference: Any, targets: int
) -> None:
    o, y = numbers(2, 6, targets).requires_grad_(), numbers(2, 6, targets)
    found, expected = loss.per_example(o, y), reference(o, y).mean(-1)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)
    (mine,), (theirs,) = (torch.autograd.grad(each.sum(), o) for each in (found, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-14, atol=0)


@pytest.mark.parametrize("delta", [0.1, 1.0, 50.0])
def test_a_loss_in_another_unit_is_the_loss_times_its_square(delta: float) -> None:
    """What is a small error stays one, whatever unit the targets are reported in."""
    o, y, unit = numbers(2, 6, 2), numbers(2, 6, 2), torch.tensor([0.01, 200.0]).double()
    for loss in (Huber(type="huber", delta=delta), MSE(type="mse"), HalfMSE(type="half_mse")):
        each = [loss.per_example(o[..., [t]], y[..., [t]]) * unit[t] ** 2 for t in range(2)]
        found = loss.per_example(o * unit, y * unit, unit)
        torch.testing.assert_close(found, (each[0] + each[1]) / 2, rtol=1e-12, atol=0)


def test_huber_of_scipy_at_the_joint() -> None:
    errors = torch.tensor([-3.0, -1.0, -0.999, 0.0, 1.0, 1.001]).double()[None, :, None]
    found = Huber(type="huber").per_example(errors, torch.zeros_like(errors))
    np.testing.assert_allclose(found[0], huber(1.0, errors[0, :, 0].numpy()), rtol=1e-15)


def test_a_ridge_with_huber_loss_is_at_the_minimum_that_scipy_finds() -> None:
    strength, delta = 0.05, 40.0
    config = config_of(
        BASE,
        {
            "loss": {"type": "huber", "delta": delta},
            "penalty": {"type": "l2", "strength": strength},
        },
    )
    raw = load(name="diabetes", standardize_target=False)
    x, y = raw.train.inputs.numpy(), raw.train.targets.numpy()[:, 0]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = flat[:-1], flat[-1]
        r = x @ w + b - y
        slope = np.clip(r, -delta, delta)
        value = huber(delta, r).mean() + 0.5 * strength * w @ w
        return value, np.append(x.T @ slope / len(y) + strength * w, slope.mean())

    options = {"maxiter": 10_000, "ftol": 1e-16, "gtol": 1e-12}
    start = np.zeros(x.shape[1] + 1)
    expected = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    rows, ends = train([config], raw)
    weights = ends[MEMBER].weights or {}
    found = np.append(weights["output.weight"].numpy(), weights["output.bias"].numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert rows[MEMBER][-1]["train/loss"] == pytest.approx(
        huber(delta, x @ expected[:-1] + expected[-1] - y).mean(), rel=1e-8
    )
    outliers = np.abs(x @ expected[:-1] + expected[-1] - y) > delta
    assert 0.1 < outliers.mean() < 0.9, "both parts of the loss are at work"


def test_on_standardized_targets_delta_counts_standard_deviations() -> None:
    """Reported losses have the unit of the targets, and delta is converted with them."""
    dataset = {"name": "diabetes", "standardize_target": True}
    changes = {"loss": {"type": "huber", "delta": 0.5}, "optimizer": {"name": "sgd", "lr": 0.1}}
    config = config_of(BASE, {**changes, "dataset": dataset})
    data = dataset_of(config)
    rows, ends = train([config], data)
    weights = ends[MEMBER].weights or {}
    predicted = data.test.inputs @ weights["output.weight"].T + weights["output.bias"]
    residuals = (predicted - data.test.targets).numpy()
    assert data.target_std is not None
    std = data.target_std.item()
    assert std > 10
    expected = huber(0.5 * std, residuals * std).mean()
    assert rows[MEMBER][-1]["test/loss"] == pytest.approx(expected, rel=1e-12)
    assert rows[MEMBER][-1]["objective"] == pytest.approx(rows[MEMBER][-1]["train/loss"] / std**2)


def test_members_of_a_stack_end_as_they_do_alone() -> None:
    changes = {
        "loss": {"type": "huber", "delta": 0.5},
        "optimizer": {"name": "adam", "lr": 0.1},
        "training": {"epochs": 20, "batch_size": 32, "precision": "float64"},
    }
    members = [(0, 0.0), (1, 0.01), (1, 0.1)]
    configs = [
        config_of(BASE, {**changes, "seed": seed, "penalty": {"type": "l1", "strength": strength}})
        for seed, strength in members
    ]
    _, together = train(configs)
    for member, config in enumerate(configs):
        _, alone = train([config])
        for name, tensor in (alone[MEMBER].weights or {}).items():
            found = (together[member].weights or {})[name]
            torch.testing.assert_close(found, tensor, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("loss", [MSE(type="mse"), HalfMSE(type="half_mse"), Huber(type="huber")])
@pytest.mark.parametrize("targets", [1, 3])
def test_the_curvature_of_a_loss_of_numbers_is_its_largest_second_derivative(
    loss: Loss, targets: int
) -> None:
    o, y = numbers(targets), numbers(targets)

    def value(outputs: torch.Tensor) -> torch.Tensor:
        return loss.per_example(outputs[None, None], y[None, None]).sum()

    hessian: Any = torch.autograd.functional.hessian(value, y + 0.1 * o.clamp(-1, 1))  # type: ignore[no-untyped-call]
    largest = torch.linalg.eigvalsh(hessian)[-1].item()
    assert loss.curvature(targets) == pytest.approx(largest, rel=1e-12)


def written(**keys: Any) -> Any:
    """The value of `loss` in a stored config."""
    config = config_from_mapping({**BASE, "optimizer": {"lr": 0.1}, **keys}).config
    return yaml.safe_load(dump_config(config))["loss"]


def test_a_loss_without_settings_is_stored_as_its_name() -> None:
    assert written() == "auto"
    assert written(loss="half_mse") == "half_mse"
    assert written(loss={"type": "half_mse"}) == "half_mse"
    assert written(loss="huber") == {"type": "huber", "delta": 1.0}
    assert written(loss={"type": "huber", "delta": 2}) == {"type": "huber", "delta": 2.0}


def test_the_settings_of_a_loss_are_overridden_like_those_of_a_section() -> None:
    base = {**BASE, "loss": "huber", "optimizer": {"lr": 0.1}}
    config = config_from_mapping(base, {"loss.delta": 0.25}).config
    assert config.loss == Huber(type="huber", delta=0.25)
    with pytest.raises(ConfigError, match=r"mse has no such key; huber has it"):
        config_from_mapping({**base, "loss": "mse"}, {"loss.delta": 0.25})
    with pytest.raises(ConfigError, match=r"loss\.delta.*0\.0 is not above 0"):
        config_from_mapping(base, {"loss.delta": 0.0})


@pytest.mark.parametrize(
    ("dataset", "kind", "outputs"),
    [
        ("diabetes", "mse", 1),
        ("breast_cancer", "binary_cross_entropy", 1),
        ("wine", "cross_entropy", 3),
    ],
)
def test_auto_is_chosen_by_the_data(dataset: str, kind: str, outputs: int) -> None:
    config, data = config_of(BASE, {"dataset": {"name": dataset}}), load(name=dataset)
    assert resolve_loss(config, data).kind == kind
    network = build_network(config, data, seed=0)
    assert network(data.train.inputs[:5].float()).shape == (5, outputs)


def test_two_outputs_for_two_classes_are_asked_for() -> None:
    changes = {"dataset": {"name": "breast_cancer"}, "loss": "cross_entropy"}
    assert network_outputs(config_of(BASE, changes), load(name="breast_cancer")) == 2


def test_the_curvature_of_one_logit_is_reached_at_zero() -> None:
    loss = BinaryCrossEntropy(type="binary_cross_entropy")
    z = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value = F.binary_cross_entropy_with_logits(z, torch.ones_like(z))
    (slope,) = torch.autograd.grad(value, z, create_graph=True)
    (second,) = torch.autograd.grad(slope, z)
    assert loss.curvature(1) == second.item()


def test_a_loss_for_another_task_is_refused_with_those_that_fit() -> None:
    with pytest.raises(ConfigError, match=r"mse needs numbers to predict; digits is classif"):
        config_from_mapping({**BASE, "dataset": {"name": "digits"}, "loss": "mse"})
    config = config_of(BASE, {"loss": "huber"})
    with pytest.raises(ConfigError, match=r"huber needs numbers to predict; digits has 10 classes; "
                       r"use cross_entropy$"):  # fmt: skip
        resolve_loss(config, load(name="digits"))

    config = config_of(BASE, {"dataset": {"name": "wine"}, "loss": "binary_cross_entropy"})
    with pytest.raises(ConfigError, match=r"binary_cross_entropy needs two classes; wine has 3 "
                       r"classes; use cross_entropy$"):  # fmt: skip
        resolve_loss(config, load(name="wine"))


def test_every_kind_fits_one_task_and_says_so() -> None:
    for kind in KINDS["losses"]:
        assert issubclass(kind, Loss)
        assert [kind.fits("regression", 1), kind.fits("classification", 2)].count(True) == 1
        assert kind.needs


def test_cross_entropy_is_torchs() -> None:
    o, y = numbers(3, 5, 4), torch.randint(4, (3, 5))
    found = CrossEntropy(type="cross_entropy").per_example(o, y)
    for row in range(3):
        expected = F.cross_entropy(o[row], y[row], reduction="none")
        torch.testing.assert_close(found[row], expected, rtol=1e-14, atol=0)
