"""MCP and SCAD: against their derivatives integrated, brute force, and closed forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from regrun.config.load import config_from_mapping
from regrun.data.dataset import Split
from regrun.errors import ConfigError
from regrun.kinds.penalties import L1, MCP, SCAD, WeightPenalty
from regrun.stack.penalties import StackedPenalties
from tests.support.engines import dataset_of, train

PROXIMAL: Any = {"method": "proximal"}
SECTIONS: dict[str, WeightPenalty] = {
    "mcp": MCP(type="mcp", strength=0.4, gamma=2.5, **PROXIMAL),
    "mcp, default": MCP(type="mcp", strength=0.7, **PROXIMAL),
    "scad": SCAD(type="scad", strength=0.4, a=2.2, **PROXIMAL),
    "scad, default": SCAD(type="scad", strength=0.7, **PROXIMAL),
}
Array = NDArray[np.float64]


def slope(penalty: Any, u: float) -> float:
    """The derivative of p_λ at u ≥ 0, as Zhang 2010 and Fan & Li 2001 define it."""
    lam: float = penalty.strength
    if penalty.type == "mcp":
        concave: float = max(0.0, lam - u / penalty.gamma)
        return concave
    falling: float = max(0.0, penalty.a * lam - u) / (penalty.a - 1)
    return lam if u <= lam else falling


def kinks(penalty: Any) -> list[float]:
    lam = penalty.strength
    return [lam * penalty.gamma] if penalty.type == "mcp" else [lam, lam * penalty.a]


def integrated(penalty: Any, w: float) -> float:
    """p_λ(w), from its derivative by quadrature."""
    within = [kink for kink in kinks(penalty) if kink < abs(w)]
    found: float = quad(lambda u: slope(penalty, u), 0, abs(w), points=within or None)[0]
    return found


def prox(penalty: WeightPenalty, v: Array, rate: float) -> Array:
    (term,) = StackedPenalties([[penalty]], {"w": "weight"}).proximal
    weight = torch.tensor(v)[None].clone()
    term.step_(weight, torch.tensor([rate], dtype=torch.float64))
    return weight[0].numpy()


@pytest.mark.parametrize("name", SECTIONS)
def test_the_value_is_the_integral_of_the_published_derivative(name: str) -> None:
    penalty = SECTIONS[name]
    w = np.array([-4.0, -1.2, -0.5, -0.05, 0.0, 0.1, 0.41, 0.8, 0.99, 1.7, 2.6, 9.0])
    stacked = StackedPenalties([[penalty], []], {"w": "weight"})
    parameters = {"w": torch.tensor(np.stack([w, w]))}
    (logged,) = stacked.values(parameters).values()
    expected = sum(integrated(penalty, each) for each in w)
    np.testing.assert_allclose(logged, [expected, 0.0], rtol=1e-12)
    strength_1: Any = penalty.model_copy(update={"strength": 1.0})
    measured = penalty.value(parameters["w"])
    expected = sum(integrated(strength_1, each) for each in w)
    np.testing.assert_allclose(measured, [expected] * 2, rtol=1e-12)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_gradient_is_the_published_derivative_and_0_at_0(name: str) -> None:
    penalty = SECTIONS[name].model_copy(update={"method": "gradient"})
    w = np.random.default_rng(0).normal(0, 1.5, 400)
    w[:3] = 0.0, 5.0, -5.0
    weight = torch.tensor(w)[None].requires_grad_()
    total = StackedPenalties([[penalty]], {"w": "weight"}).differentiable({"w": weight})
    assert total is not None
    (gradient,) = torch.autograd.grad(total.sum(), weight)
    expected = [np.sign(each) * slope(penalty, abs(each)) for each in w]
    np.testing.assert_allclose(gradient[0], expected, rtol=1e-12, atol=1e-15)
    assert not gradient[0, :3].any(), "not shrunk at 0, nor where it is flat"


@pytest.mark.parametrize("rate", [0.05, 0.37, 1.0])
@pytest.mark.parametrize("name", SECTIONS)
def test_the_proximal_step_is_what_brute_force_finds(name: str, rate: float) -> None:
    penalty = SECTIONS[name]
    for v in (-3.0, -1.1, -0.4, 0.0, 0.03, 0.2, 0.39, 0.5, 0.75, 0.9, 1.3, 1.6, 2.59, 4.0):

        def objective(w: float, v: float = v) -> float:
            return 0.5 * (w - v) ** 2 + rate * integrated(penalty, w)

        grid = np.linspace(min(v, 0.0), max(v, 0.0), 401)
        near = grid[np.argmin([objective(w) for w in grid])]
        step = abs(v) / 400
        refined = minimize_scalar(
            objective, bounds=(near - step - 1e-9, near + step + 1e-9), options={"xatol": 1e-12}
        )
        (found,) = prox(penalty, np.array([v]), rate)
        assert objective(found) <= min(objective(near), refined.fun) + 1e-14
        assert found == pytest.approx(refined.x, abs=1e-6)


def closed_form(penalty: Any, v: Array, rate: float) -> Array:
    """Firm thresholding (Breheny & Huang 2011), and SCAD's (Fan & Li 2001, for η = 1)."""
    lam, size, sign = penalty.strength, np.abs(v), np.sign(v)
    soft = sign * np.maximum(0, size - rate * lam)
    if penalty.type == "mcp":
        return np.where(size > penalty.gamma * lam, v, soft / (1 - rate / penalty.gamma))
    a = penalty.a
    line = ((a - 1) * v - sign * rate * a * lam) / (a - 1 - rate)
    return np.select([size <= (1 + rate) * lam, size <= a * lam], [soft, line], v)


@pytest.mark.parametrize("rate", [0.01, 0.4, 0.9])
@pytest.mark.parametrize("name", SECTIONS)
def test_the_proximal_step_is_the_published_closed_form(name: str, rate: float) -> None:
    penalty = SECTIONS[name]
    v = np.random.default_rng(1).normal(0, 1.5, 2000)
    found = prox(penalty, v, rate)
    np.testing.assert_allclose(found, closed_form(penalty, v, rate), rtol=1e-13, atol=1e-16)
    assert (found == 0).sum() > 0 and (found == v).sum() > 0


@pytest.mark.parametrize("rate", [1.2, 2.5, 2.9, 4.8, 7.0])
@pytest.mark.parametrize("name", SECTIONS)
def test_the_step_is_the_global_minimum_where_the_problem_is_not_convex(
    name: str, rate: float
) -> None:
    penalty = SECTIONS[name]
    w = np.linspace(-5, 5, 4001)
    values = np.array([integrated(penalty, each) for each in w])
    for v in np.linspace(-4.5, 4.5, 91):
        (found,) = prox(penalty, np.array([v]), rate)
        least = (0.5 * (w - v) ** 2 + rate * values).min()
        at = 0.5 * (found - v) ** 2 + rate * integrated(penalty, found)
        assert at <= least + 1e-12


@pytest.mark.parametrize("name", SECTIONS)
def test_a_rate_of_0_changes_no_bit(name: str) -> None:
    v = np.array([0.1, -3.0, np.inf, np.nan, 1e-300, 0.0])
    np.testing.assert_array_equal(prox(SECTIONS[name], v, 0.0), v)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["mcp", "scad"])
def test_members_of_different_strengths_are_what_they_are_alone(
    kind: str, dtype: torch.dtype
) -> None:
    strengths = [0.1, 0.0, 0.6, 1.4]
    members = [[SECTIONS[kind].model_copy(update={"strength": each})] for each in strengths]
    stacked = StackedPenalties(members, {"w": "weight"})
    weight = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(2)).to(dtype)
    (values,) = stacked.values({"w": weight}).values()
    after = weight.clone()
    stacked.proximal[0].step_(after, torch.full((4,), 0.5).double())
    for k, own in enumerate(members):
        alone = StackedPenalties([own], {"w": "weight"})
        (value,) = alone.values({"w": weight[k : k + 1]}).values()
        assert values[k] == value[0]
        single = weight[k : k + 1].clone()
        for term in alone.proximal:
            term.step_(single, torch.full((1,), 0.5).double())
        assert torch.equal(after[k : k + 1], single)


def test_two_of_them_have_no_joint_proximal_step() -> None:
    for second in (SECTIONS["mcp"], L1(type="l1", strength=0.1, **PROXIMAL)):
        for pair in ([SECTIONS["mcp"], second], [second, SECTIONS["mcp"]]):
            with pytest.raises(ConfigError, match=r"penalty\.1\.method: .* no known joint"):
                StackedPenalties([pair], {"w": "weight"})
    by_gradient = SECTIONS["mcp"].model_copy(update={"method": "gradient"})
    assert StackedPenalties([[SECTIONS["mcp"], by_gradient]], {"w": "weight"}).proximal


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (
            {"type": "mcp", "gamma": 2.0},
            "penalty.gamma: 2: the proximal problem is convex for learning rates below 2 only, and "
            "optimizer.lr is 2.5; lower the rate, or use gamma above 2.5",
        ),
        (
            {"type": "scad", "a": 3.0},
            "penalty.a: 3: the proximal problem is convex for learning rates below 2 only, and "
            "optimizer.lr is 2.5; lower the rate, or use a above 3.5",
        ),
    ],
)
def test_a_learning_rate_that_breaks_convexity_is_refused(
    penalty: dict[str, Any], message: str
) -> None:
    def load(lr: float, method: str) -> None:
        config_from_mapping(
            {
                "dataset": {"name": "diabetes"},
                "model": {"name": "linear"},
                "penalty": {**penalty, "strength": 0.1, "method": method},
                "optimizer": {"name": "sgd", "lr": lr},
            }
        )

    load(1.9, "proximal")
    load(2.5, "gradient")
    with pytest.raises(ConfigError) as caught:
        load(2.5, "proximal")
    (problem,) = caught.value.problems
    assert f"{'.'.join(map(str, problem.path))}: {problem.message}" == message


@pytest.mark.parametrize("kind", ["mcp", "scad"])
def test_fista_ends_where_the_proximal_step_stays_and_large_weights_are_not_shrunk(
    kind: str,
) -> None:
    """Orthonormal inputs: the minimum is the proximal step of least squares, entry by entry."""
    config = config_from_mapping(
        {
            "dataset": {"name": "diabetes", "standardize_target": False},
            "model": {"name": "linear", "init": "zeros"},
            "loss": "half_mse",
            "penalty": {"type": kind, "strength": 5.0, "method": "proximal"},
            "optimizer": {"name": "fista"},
            "training": {
                "epochs": 3000, "batch_size": "full", "evaluate_every": 3000,
                "precision": "float64",
            },
        }
    ).config  # fmt: skip
    dataset = dataset_of(config)
    inputs = dataset.train.inputs.double()
    basis, _ = torch.linalg.qr(inputs - inputs.mean(0))
    basis *= len(basis) ** 0.5
    targets = dataset.train.targets.double()
    _, ends = train([config], replace(dataset, train=Split(basis, targets)))
    assert ends[0].weights is not None
    found = ends[0].weights["output.weight"][0]
    least_squares = basis.T @ (targets - targets.mean(0)) / len(basis)
    (penalty,) = config.penalty
    assert isinstance(penalty, WeightPenalty)
    expected = prox(penalty, least_squares[:, 0].numpy(), 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)
    assert 0 < (expected == 0).sum() < 10
    assert (expected == least_squares[:, 0].numpy()).any(), "unbiased where the lasso is not"
