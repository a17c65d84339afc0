"""A factor for each input: against formulas, and scikit-learn with rescaled columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import ElasticNet as SklearnNet
from sklearn.linear_model import Lasso, Ridge

from regrun.config.load import config_from_mapping
from regrun.config.schema import Config
from regrun.errors import ConfigError
from regrun.execution.describe import describe
from regrun.kinds.penalties import L1, L2, ElasticNet, EntrywisePenalty
from regrun.stack.penalties import StackedPenalties
from regrun.studies.path import path_config
from regrun.training.lipschitz import with_learning_rates
from regrun.training.network_inputs import with_input_positions
from tests.support.engines import dataset_of, train

Array = NDArray[np.float64]

FACTORS = (0.5, 2.0, 1.0, 0.3, 4.0, 1.5, 1.0, 0.1, 0.7, 3.0)
PROXIMAL: Any = {"method": "proximal"}
SECTIONS: dict[str, EntrywisePenalty] = {
    "l1": L1(type="l1", strength=0.4, factors=FACTORS, **PROXIMAL),
    "l2": L2(type="l2", strength=0.4, factors=FACTORS),
    "l2 whole": L2(type="l2", strength=0.4, half=False, factors=FACTORS),
    "elastic_net": ElasticNet(
        type="elastic_net", strength=0.4, l1_ratio=0.3, factors=FACTORS, **PROXIMAL
    ),
}


def shares(penalty: Any) -> tuple[float, float]:
    """a and q of λ (a Σ f|w| + q Σ f w²), from the definitions."""
    half = 0.5 if getattr(penalty, "half", True) else 1.0
    ratio = {"l1": 1.0, "l2": 0.0}.get(penalty.type, getattr(penalty, "l1_ratio", 0.0))
    return ratio, (1 - ratio) * half


@pytest.mark.parametrize("name", SECTIONS)
def test_value_and_gradient_are_those_of_the_definition(name: str) -> None:
    penalty = SECTIONS[name].model_copy(update={"method": "gradient"})
    a, q = shares(penalty)
    w = np.random.default_rng(0).normal(size=(2, 3, 10))
    w[0, 0, 0] = 0
    stacked = StackedPenalties([[penalty], []], {"w": "weight"})
    weight = torch.tensor(w, requires_grad=True)
    (logged,) = stacked.values({"w": weight}).values()
    expected = 0.4 * (np.array(FACTORS) * (a * np.abs(w[0]) + q * w[0] ** 2)).sum()
    np.testing.assert_allclose(logged.detach(), [expected, 0], rtol=1e-13)
    total = stacked.differentiable({"w": weight})
    assert total is not None
    (gradient,) = torch.autograd.grad(total.sum(), weight)
    slope = 0.4 * np.array(FACTORS) * (a * np.sign(w[0]) + 2 * q * w[0])
    np.testing.assert_allclose(gradient[0], slope, rtol=1e-13, atol=1e-16)
    assert not gradient[1].any()


@pytest.mark.parametrize("name", ["l1", "elastic_net"])
def test_the_proximal_step_solves_each_entry_by_itself(name: str) -> None:
    penalty, rate = SECTIONS[name], 0.7
    a, q = shares(penalty)
    v = np.random.default_rng(1).normal(size=(4, 10))
    weight = torch.tensor(v)[None]
    (term,) = StackedPenalties([[penalty]], {"w": "weight"}).proximal
    term.step_(weight, torch.tensor([rate], dtype=torch.float64))
    bound = rate * 0.4 * a * np.array(FACTORS)
    soft = np.sign(v) * np.maximum(0, np.abs(v) - bound)
    expected = soft / (1 + 2 * rate * 0.4 * q * np.array(FACTORS))
    np.testing.assert_allclose(weight[0], expected, rtol=1e-13, atol=1e-16)
    assert 0 < (weight == 0).sum() < 40


@pytest.mark.parametrize("name", SECTIONS)
def test_factors_of_1_are_the_penalty_without_factors(name: str) -> None:
    ones = SECTIONS[name].model_copy(update={"factors": (1.0,) * 10})
    none = SECTIONS[name].model_copy(update={"factors": None})
    weight = torch.randn(2, 3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ones.value(weight), none.value(weight), rtol=1e-14, atol=0)
    first, second = weight.clone(), weight.clone()
    amount = torch.tensor([0.0, 0.3], dtype=torch.float64).view(2, 1, 1)
    ones.prox_(first, amount)
    none.prox_(second, amount)
    torch.testing.assert_close(first, second, rtol=1e-14, atol=0)


def config(penalty: dict[str, Any], **changes: Any) -> Config:
    tree = {
        "dataset": {"name": "diabetes", "standardize_target": False},
        "model": {"name": "linear", "init": "zeros"},
        "loss": "half_mse",
        "penalty": penalty,
        "optimizer": {"name": "fista"},
        "training": {
            "epochs": 6000, "batch_size": "full", "evaluate_every": 6000, "precision": "float64",
        },
        **changes,
    }  # fmt: skip
    return config_from_mapping(tree).config


def arrays(one: Config) -> tuple[Array, Array]:
    """Centred inputs and targets: an intercept that is not penalised takes out the means."""
    train_part = dataset_of(one).train
    x, y = train_part.inputs.numpy(), train_part.targets.numpy()[:, 0]
    return x - x.mean(0), y - y.mean()


def coefficients(one: Config) -> Array:
    _, ends = train([one])
    assert ends[0].weights is not None
    found: Array = ends[0].weights["output.weight"][0].numpy()
    return found


@pytest.mark.parametrize("kind", ["l1", "elastic_net"])
def test_the_fit_is_scikit_learns_with_rescaled_columns(kind: str) -> None:
    """Σ f|w| over Xw is Σ|u| over (X/f)u with u = f w; the squares get rows of their own."""
    ratio = {"l1": 1.0, "elastic_net": 0.6}[kind]
    keys = {} if kind == "l1" else {"l1_ratio": ratio}
    one = config({"type": kind, "strength": 4.0, "factors": [*FACTORS], **PROXIMAL, **keys})
    x, y = arrays(one)
    f, count = np.array(FACTORS), len(x)
    rows = np.diag(np.sqrt(count * 4.0 * (1 - ratio) * f))
    design = np.vstack([x, rows]) / f
    targets = np.concatenate([y, np.zeros(10)])
    # Lasso divides the squared errors by twice the number of rows, which has grown.
    lasso = Lasso(
        alpha=4.0 * ratio * count / len(design), fit_intercept=False, tol=1e-14, max_iter=10**6
    )
    expected = lasso.fit(design, targets).coef_ / f
    found = coefficients(one)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert np.array_equal(found == 0, expected == 0)
    assert 0 < (found == 0).sum() < 10


def test_ridge_with_factors_is_scikit_learns_with_rescaled_columns() -> None:
    one = config({"type": "l2", "strength": 0.5, "factors": [*FACTORS]})
    x, y = arrays(one)
    scale = np.sqrt(FACTORS)
    ridge = Ridge(alpha=0.5 * len(x), fit_intercept=False).fit(x / scale, y)
    np.testing.assert_allclose(coefficients(one), ridge.coef_ / scale, rtol=1e-7)


def test_an_input_with_factor_0_is_not_penalised() -> None:
    """Its share is taken out of everything else by least squares (Frisch & Waugh 1933)."""
    one = config({"type": "l1", "strength": 12.0, "factors": {"bmi": 0.0}, **PROXIMAL})
    x, y = arrays(one)
    bmi, rest = x[:, 2:3], np.delete(x, 2, axis=1)
    project = np.eye(len(x)) - bmi @ bmi.T / (bmi.T @ bmi)
    lasso = SklearnNet(
        alpha=12.0, l1_ratio=1.0, fit_intercept=False, tol=1e-14, max_iter=10**6
    ).fit(project @ rest, project @ y)
    found = coefficients(one)
    np.testing.assert_allclose(np.delete(found, 2), lasso.coef_, rtol=1e-6, atol=1e-6)
    own = (bmi.T @ (y - rest @ lasso.coef_) / (bmi.T @ bmi)).item()
    assert found[2] == pytest.approx(own, rel=1e-7)


def test_fista_knows_the_curvature_of_the_largest_factor() -> None:
    free = config({"type": "l2", "strength": 0.0})
    factored = config({"type": "l2", "strength": 0.5, "factors": [*FACTORS]})
    rates = [
        with_learning_rates(with_input_positions([each], dataset_of(each)), dataset_of(each))[0]
        for each in (free, factored)
    ]
    largest, with_factors = (1 / float(each.optimizer.lr or 0) for each in rates)
    assert with_factors == pytest.approx(largest + 0.5 * max(FACTORS))


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([1.0, 2.0], "penalty.0.factors: 2 factors for 10 inputs; give one for each, or name"),
        ({"bmj": 0.0}, "penalty.0.factors: 'bmj': no such column or input; did you mean \"bmi\"?"),
    ],
)
def test_factors_that_do_not_fit_the_inputs_are_refused(factors: Any, message: str) -> None:
    one = config({"type": "l1", "strength": 1.0, "factors": factors, **PROXIMAL})
    with pytest.raises(ConfigError) as caught:
        with_input_positions([one], dataset_of(one))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "keys", "message"),
    [
        ({}, {"factors": [-1.0] * 10}, "penalty.factors"),
        ({}, {"apply_to": "all"}, "penalty.apply_to: [all]: factors names inputs"),
        (
            {"model": {"name": "cnn"}, "dataset": {"name": "digits"}},
            {},
            "penalty.factors: cnn has no weights for single inputs",
        ),
    ],
)
def test_factors_that_have_no_meaning_are_refused(
    changes: dict[str, Any], keys: dict[str, Any], message: str
) -> None:
    penalty = {"type": "l2", "strength": 1.0, "factors": [1.0] * 10, **keys}
    optimizer = {"optimizer": {"name": "sgd", "lr": 0.1}, "loss": "auto"}
    with pytest.raises(ConfigError) as caught:
        config(penalty, **{**optimizer, **changes})
    assert message in str(caught.value)


def test_a_path_refuses_factors() -> None:
    tree = {
        "dataset": {"name": "diabetes"},
        "model": {"name": "linear"},
        "penalty": {"type": "l1", "strength": 1.0, "factors": {"bmi": 0.0}},
        "optimizer": {"name": "sgd", "lr": 0.1},
    }
    with pytest.raises(ConfigError, match=r"factors: a path has one strength for all inputs"):
        path_config(config_from_mapping(tree))


def test_two_proximal_penalties_with_other_factors_have_no_joint_step() -> None:
    first = SECTIONS["l1"]
    for second in (
        L1(type="l1", strength=0.1, **PROXIMAL),
        first.model_copy(update={"factors": (1.0,) * 10}),
    ):
        with pytest.raises(ConfigError, match=r"penalty\.1\.method: .* no known joint"):
            StackedPenalties([[first, second]], {"w": "weight"})
    (term,) = StackedPenalties([[first, first]], {"w": "weight"}).proximal
    weight = torch.full((1, 1, 10), 3.0, dtype=torch.float64)
    term.step_(weight, torch.ones(1, dtype=torch.float64))
    np.testing.assert_allclose(weight[0, 0], np.maximum(0, 3 - 0.8 * np.array(FACTORS)))


def test_inspect_shows_the_factors() -> None:
    tree = {
        "dataset": {"name": "diabetes"},
        "model": {"name": "mlp", "hidden": [3]},
        "penalty": {
            "type": "l1", "strength": 0.2, "factors": {"bmi": 0.0, "s5": 3.0}, **PROXIMAL
        },
        "optimizer": {"name": "sgd", "lr": 0.1},
    }  # fmt: skip
    found = describe(config_from_mapping(tree))
    (first, *others) = found.parameters
    assert first.penalties[0]["factors"] == "0 to 3"
    assert all(not each.penalties for each in others)
    assert "l1: its columns are the inputs, for factors; 1 of its 10 inputs have" in first.reason
    assert (
        "P = 0.2 Σ f |w|   (l1 on [hidden.0.linear.weight], f: the factor of the input, "
        "by a proximal step)" in found.update_rule
    )
    assert "w ← sign(w) · max(0, |w| − η_t 0.2 f)" in found.update_rule
