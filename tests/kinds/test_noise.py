"""The kinds of noise, against their definitions and by statistics.

Statistical bounds are six standard deviations: each fails by chance once in 5e8. Seeds are fixed.
"""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from regrun.kinds.noise import (
    DROPOUTS,
    ON_ACTIVATIONS,
    SELU_LIMIT,
    AlphaDropout,
    DropBlock,
    DropConnect,
    DropoutType,
    GaussianDropout,
    GaussianNoise,
    NoiseKind,
    SpatialDropout,
    StandardDropout,
    StochasticDepth,
)
from regrun.nn.modules import DropConnectLinear, Residual, noise_level

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
    y = StandardDropout.apply(torch.ones(N, dtype=torch.float64), uniform(N), level(p))
    assert_moments((y == 0).double(), p, p * (1 - p))
    assert_moments(y, 1, p / (1 - p))


@given(p=rates, u=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8))
def test_dropout_keeps_or_drops_and_never_gives_nan(p: float, u: list[float]) -> None:
    x = torch.linspace(-2, 3, len(u), dtype=torch.float64)
    y = StandardDropout.apply(x, torch.tensor(u, dtype=torch.float64), level(p))
    for value, given_value, draw in zip(y.tolist(), x.tolist(), u, strict=True):
        assert value == (pytest.approx(given_value / (1 - p)) if draw >= p and p < 1 else 0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_gaussian_dropout_has_mean_one_and_variance_p_over_one_minus_p(p: float) -> None:
    y = GaussianDropout.apply(torch.ones(N, dtype=torch.float64), normal(N), level(p))
    assert_moments(y, 1, p / (1 - p))


@pytest.mark.parametrize("p", [0.05, 0.2, 0.7])
def test_alpha_dropout_keeps_mean_zero_and_variance_one_of_selu_activations(p: float) -> None:
    x = F.selu(normal(N))
    assert_moments(x, 0, 1)
    assert_moments(AlphaDropout.apply(x, uniform(N), level(p)), 0, 1)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.99])
def test_alpha_dropout_is_torchs_formula(p: float) -> None:
    x, u = normal(50), uniform(50)
    a = 1 / math.sqrt((SELU_LIMIT**2 * p + 1) * (1 - p))
    kept = (u >= p).double()
    expected = x * kept * a + SELU_LIMIT * a * (kept - 1) + SELU_LIMIT * a * p
    torch.testing.assert_close(AlphaDropout.apply(x, u, level(p)), expected, rtol=1e-13, atol=1e-13)


def test_alpha_dropouts_limit_is_where_selu_ends() -> None:
    assert F.selu(torch.tensor(-1e3, dtype=torch.float64)).item() == pytest.approx(-SELU_LIMIT)


def test_torchs_own_alpha_dropout_gives_the_same_values() -> None:
    x = F.selu(normal(2000))
    mine = AlphaDropout.apply(x, uniform(2000), level(0.4))
    theirs = nn.AlphaDropout(0.4)(x)
    dropped = theirs.min()
    torch.testing.assert_close(mine.min(), dropped)
    both = (mine != mine.min()) & (theirs != dropped)
    assert both.sum() > 400
    torch.testing.assert_close(mine[both], theirs[both])


@pytest.mark.parametrize("kind", [StandardDropout, AlphaDropout])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_rate_of_one_gives_zeros_with_finite_gradients(
    kind: type[NoiseKind], dtype: torch.dtype
) -> None:
    x = torch.linspace(-3, 3, 7, dtype=dtype, requires_grad=True)
    y = kind.apply(x, torch.rand(7), torch.tensor(1.0))
    assert y.dtype == dtype and torch.equal(y, torch.zeros(7, dtype=dtype))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, torch.zeros(7, dtype=dtype))


@pytest.mark.parametrize("kind", [*ON_ACTIVATIONS, DropConnect])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_level_zero_changes_no_bit(kind: type[NoiseKind], dtype: torch.dtype) -> None:
    x = torch.randn(1000, generator=generator()).to(dtype)
    assert torch.equal(kind.apply(x, torch.rand(1000), torch.tensor(0.0)), x)


def test_added_noise_has_its_standard_deviation() -> None:
    assert_moments(
        GaussianNoise.apply(torch.zeros(N, dtype=torch.float64), normal(N), level(0.3)), 0, 0.09
    )


LAYERS = {
    **{kind.__name__: kind.layer(0.5) for kind in ON_ACTIVATIONS},
    "Dropout2d": SpatialDropout.layer(0.5, images=True),
    "DropConnect": DropConnectLinear(6, 6, DropConnect, 0.5),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_layers_are_noisy_in_training_and_not_in_evaluation(name: str) -> None:
    layer = LAYERS[name]
    x = torch.randn(64, 6, 2, 2) if name == "Dropout2d" else torch.randn(64, 6)
    plain = F.linear(x, layer.weight, layer.bias) if isinstance(layer, nn.Linear) else x
    assert torch.equal(layer.eval()(x), plain)
    assert not torch.equal(layer.train()(x), plain)
    assert noise_level(layer) == 0.5


def test_draws_are_shared_along_the_axes_that_a_kind_drops_as_one() -> None:
    shape = (5, 4, 3, 2)
    assert {kind.__name__: kind.draws_shape(shape) for kind in ON_ACTIVATIONS} == {
        "StandardDropout": shape, "SpatialDropout": (5, 4, 1, 1), "GaussianDropout": shape,
        "AlphaDropout": shape, "GaussianNoise": shape, "StochasticDepth": (5, 1, 1, 1),
    }  # fmt: skip


def published_drop_block(x: Tensor, noise: Tensor, rate: float, side: int) -> Tensor:
    """`dropblock` of tensorflow/tpu's resnet_model.py, line by line: square images, one rate."""
    width = x.shape[-1]
    side = min(side, width)
    seed_drop_rate = rate * width**2 / side**2 / (width - side + 1) ** 2
    at = torch.arange(width)
    valid = (at >= side // 2) & (at < width - (side - 1) // 2)
    center = (valid[:, None] & valid[None, :]).double()
    pattern = ((1 - center + (1 - seed_drop_rate) + noise) >= 1).double()
    if side == width:
        pattern = pattern.amin((2, 3), keepdim=True)
    else:  # max_pool with padding "SAME": the smaller half comes first
        before, after = (side - 1) // 2, side // 2
        padded = F.pad(-pattern, (before, after, before, after), value=-math.inf)
        pattern = -F.max_pool2d(padded, side, stride=1)
    percent_ones = pattern.sum() / pattern.numel()
    return x / percent_ones * pattern


@pytest.mark.parametrize("side", [1, 2, 3, 4, 6, 7, 9])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.4])
def test_drop_block_is_the_published_code(side: int, p: float) -> None:
    x = normal(40, 3, 7, 7)
    draws = uniform(*DropBlock.draws_shape(x.shape, side))
    side = min(side, 7)
    inside = slice(side // 2, 7 - (side - 1) // 2)
    noise = torch.ones_like(x)
    noise[:, :, inside, inside] = draws
    expected = published_drop_block(x, noise, p, side)
    if side == 7:  # one pattern for the whole image
        expected = expected.expand_as(x)
    mine = DropBlock.apply(x, draws, level(p))
    torch.testing.assert_close(mine, expected, rtol=1e-13, atol=1e-13)
    assert (p == 0) == torch.equal(mine, x)


def test_drop_block_drops_about_its_rate_and_keeps_the_mean_of_each_member() -> None:
    x = torch.ones(2, 50, 8, 12, 9, dtype=torch.float64)
    draws = uniform(*DropBlock.draws_shape(x.shape, 3))
    rates = torch.tensor([0.05, 0.3], dtype=torch.float64).view(2, 1, 1, 1, 1)
    y = DropBlock.apply(x, draws, rates)
    torch.testing.assert_close(y.mean((1, 2, 3, 4)), torch.ones(2, dtype=torch.float64))
    dropped = (y == 0).double().mean((1, 2, 3, 4))
    assert 0.04 < dropped[0] < 0.05 and 0.2 < dropped[1] < 0.3, "squares overlap"
    for row in range(2):
        torch.testing.assert_close(y[row], DropBlock.apply(x[row], draws[row], rates[row]))
    corners = F.max_pool2d(-(y != 0).double().flatten(0, 1), 3, stride=1) == 0
    assert torch.equal(corners.any((1, 2, 3)), (y == 0).flatten(0, 1).any((1, 2, 3)))


@pytest.mark.parametrize("side", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_drop_block_at_a_rate_of_one_gives_zeros_and_at_zero_the_same_bits(
    side: int, dtype: torch.dtype
) -> None:
    x = torch.randn(3, 2, 4, 4, generator=generator()).to(dtype)
    draws = torch.rand(DropBlock.draws_shape(x.shape, side))
    assert torch.equal(DropBlock.apply(x, draws, torch.tensor(1.0)), torch.zeros_like(x))
    assert torch.equal(DropBlock.apply(x, draws, torch.tensor(0.0)), x)


def test_the_layer_of_drop_block_is_noisy_in_training_only_and_standard_on_units() -> None:
    layer, x = DropBlock.layer(0.5, images=True, block=3), torch.ones(8, 4, 6, 6)
    assert torch.equal(layer.eval()(x), x)
    assert (layer.train()(x) == 0).any()
    assert noise_level(layer) == 0.5
    assert repr(layer) == "NoiseLayer(DropBlock, level=0.5, block=3)"
    assert isinstance(DropBlock.on_units().layer(0.5), nn.Dropout)


def test_every_value_of_dropout_type_is_a_kind() -> None:
    assert set(DROPOUTS) == set(get_args(DropoutType))


def test_stochastic_depth_drops_whole_examples() -> None:
    y = StochasticDepth.layer(0.5).train()(torch.ones(400, 3, 2))
    assert set(y.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(y, y[:, :1, :1].expand_as(y))


def test_a_residual_layer_adds_its_input_and_hides_no_names() -> None:
    linear, x = nn.Linear(3, 3), torch.randn(4, 3)
    block = Residual(linear, nn.ReLU())
    expected = x + torch.relu(F.linear(x, linear.weight, linear.bias))
    torch.testing.assert_close(block(x), expected)
    assert list(block.state_dict()) == ["0.weight", "0.bias"]
