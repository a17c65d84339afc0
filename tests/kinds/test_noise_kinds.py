"""The formulas of noise, against their definitions and by statistics.

Statistical bounds are six standard deviations: each fails by chance once in 5e8. Seeds are fixed.
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from regrun.nn.modules import (
    SELU_LOW,
    DropConnectLinear,
    GaussianDropout,
    GaussianNoise,
    Residual,
    StochasticDepth,
    add_noise,
    alpha_dropout,
    dropout,
    gaussian_dropout,
)

N = 400_000
rates = st.floats(0, 1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=generator(1))


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(2))


def assert_moments(x: Tensor, mean: float, variance: float) -> None:
    """Mean and variance within six standard deviations of their estimates."""
    central = x - mean
    fourth = central.pow(4).mean().item()
    assert abs(x.mean().item() - mean) <= 6 * math.sqrt(variance / len(x)) + 1e-12
    spread = math.sqrt(max(fourth - variance**2, 0) / len(x))
    assert abs(central.square().mean().item() - variance) <= 6 * spread + 1e-12


def level(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_has_its_rate_its_mean_and_its_variance(p: float) -> None:
    y = dropout(torch.ones(N, dtype=torch.float64), uniform(N), level(p))
    assert_moments((y == 0).double(), p, p * (1 - p))
    assert_moments(y, 1, p / (1 - p))


@given(p=rates, u=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8))
def test_dropout_keeps_or_drops_and_never_gives_nan(p: float, u: list[float]) -> None:
    x = torch.linspace(-2, 3, len(u), dtype=torch.float64)
    y = dropout(x, torch.tensor(u, dtype=torch.float64), level(p))
    for value, given_value, draw in zip(y.tolist(), x.tolist(), u, strict=True):
        assert value == (pytest.approx(given_value / (1 - p)) if draw >= p and p < 1 else 0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_gaussian_dropout_has_mean_one_and_variance_p_over_one_minus_p(p: float) -> None:
    y = gaussian_dropout(torch.ones(N, dtype=torch.float64), normal(N), level(p))
    assert_moments(y, 1, p / (1 - p))


@pytest.mark.parametrize("p", [0.05, 0.2, 0.7])
def test_alpha_dropout_keeps_mean_zero_and_variance_one_of_selu_activations(p: float) -> None:
    x = F.selu(normal(N))
    assert_moments(x, 0, 1)
    assert_moments(alpha_dropout(x, uniform(N), level(p)), 0, 1)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.99])
def test_alpha_dropout_is_torchs_formula(p: float) -> None:
    x, u = normal(50), uniform(50)
    a = 1 / math.sqrt((SELU_LOW**2 * p + 1) * (1 - p))
    kept = (u >= p).double()
    expected = x * kept * a + SELU_LOW * a * (kept - 1) + SELU_LOW * a * p
    torch.testing.assert_close(alpha_dropout(x, u, level(p)), expected, rtol=1e-13, atol=1e-13)


def test_alpha_dropouts_limit_is_where_selu_ends() -> None:
    assert F.selu(torch.tensor(-1e3, dtype=torch.float64)).item() == pytest.approx(-SELU_LOW)


def test_torchs_own_alpha_dropout_gives_the_same_values() -> None:
    x = F.selu(normal(2000))
    mine = alpha_dropout(x, uniform(2000), level(0.4))
    theirs = nn.AlphaDropout(0.4)(x)
    dropped = theirs.min()
    torch.testing.assert_close(mine.min(), dropped)
    both = (mine != mine.min()) & (theirs != dropped)
    assert both.sum() > 400
    torch.testing.assert_close(mine[both], theirs[both])


@pytest.mark.parametrize("formula", [dropout, alpha_dropout])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_rate_of_one_gives_zeros_with_finite_gradients(formula, dtype) -> None:
    x = torch.linspace(-3, 3, 7, dtype=dtype, requires_grad=True)
    y = formula(x, torch.rand(7), torch.tensor(1.0))
    assert y.dtype == dtype and torch.equal(y, torch.zeros(7, dtype=dtype))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, torch.zeros(7, dtype=dtype))


@pytest.mark.parametrize("formula", [dropout, gaussian_dropout, alpha_dropout, add_noise])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_level_zero_changes_no_bit(formula, dtype) -> None:
    x = torch.randn(1000, generator=generator()).to(dtype)
    assert torch.equal(formula(x, torch.rand(1000), torch.tensor(0.0)), x)


def test_added_noise_has_its_standard_deviation() -> None:
    assert_moments(add_noise(torch.zeros(N, dtype=torch.float64), normal(N), level(0.3)), 0, 0.09)


LAYERS = {
    "gaussian dropout": GaussianDropout(0.3),
    "input noise": GaussianNoise(0.5),
    "stochastic depth": StochasticDepth(0.5),
    "drop-connect": DropConnectLinear(6, 6, 0.5),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_modules_are_noisy_in_training_and_not_in_evaluation(name: str) -> None:
    layer, x = LAYERS[name], torch.randn(64, 6)
    plain = F.linear(x, layer.weight, layer.bias) if isinstance(layer, nn.Linear) else x
    assert torch.equal(layer.eval()(x), plain)
    assert not torch.equal(layer.train()(x), plain)


def test_stochastic_depth_drops_whole_examples() -> None:
    y = StochasticDepth(0.5).train()(torch.ones(400, 3, 2))
    assert set(y.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(y, y[:, :1, :1].expand_as(y))


def test_a_residual_layer_adds_its_input_and_hides_no_names() -> None:
    block = Residual(nn.Linear(3, 3), nn.ReLU())
    x = torch.randn(4, 3)
    torch.testing.assert_close(
        block(x), x + torch.relu(F.linear(x, block[0].weight, block[0].bias))
    )
    assert list(block.state_dict()) == ["0.weight", "0.bias"]
