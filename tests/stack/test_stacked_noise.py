"""Every kind of noise in a stack: the members' own levels and streams, alone as together.

Statistical bounds are six standard deviations: each fails by chance once in 5e8. Seeds are fixed.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regrun.kinds.models import CNN, MLP, ModelSection, build_model
from regrun.kinds.noise import DropConnect, GaussianNoise, StochasticDepth
from regrun.nn.modules import DropConnectLinear, NoiseLayer
from regrun.stack import Stack, StreamNoise

CPU = torch.device("cpu")
VECTOR, IMAGE = (12,), (2, 8, 8)


def mlp(**keys: Any) -> ModelSection:
    return MLP.model_validate({"name": "mlp", "hidden": [10, 10, 10], **keys})


def cnn(**keys: Any) -> ModelSection:
    return CNN.model_validate({"name": "cnn", "channels": [6, 5], "hidden": [7], **keys})


LEVELS = (0.0, 0.3, 0.8)
NOISES: dict[str, tuple[Callable[[float], ModelSection], tuple[int, ...]]] = {
    "standard": (lambda p: mlp(dropout=p), VECTOR),
    "gaussian": (lambda p: mlp(dropout=p, dropout_type="gaussian"), VECTOR),
    "alpha": (lambda p: mlp(dropout=p, dropout_type="alpha", activation="selu"), VECTOR),
    "one rate per layer": (lambda p: mlp(dropout=[p, 0.0, 1 - p]), VECTOR),
    "spatial": (lambda p: cnn(conv_dropout=p, dropout=p, dropout_type="spatial"), IMAGE),
    "drop-block": (
        lambda p: cnn(conv_dropout=p, dropout=p, dropout_type="drop_block", block_size=3), IMAGE
    ),
    "conv": (lambda p: cnn(conv_dropout=[p, 1.0]), IMAGE),
    "drop-connect": (lambda p: mlp(drop_connect=p), VECTOR),
    "drop-connect in a cnn": (lambda p: cnn(drop_connect=p), IMAGE),
    "input noise": (lambda p: mlp(input_noise=2 * p), VECTOR),
    "input noise on images": (lambda p: cnn(input_noise=p, input_dropout=p), IMAGE),
    "stochastic depth": (lambda p: mlp(residual=True, stochastic_depth=p), VECTOR),
    "all": (
        lambda p: mlp(
            residual=True, stochastic_depth=p, dropout=p, drop_connect=p, input_noise=p,
            input_dropout=p / 2, norm="layer",
        ),
        VECTOR,
    ),
}  # fmt: skip


def members(name: str, levels: tuple[float, ...] = LEVELS) -> list[nn.Module]:
    section, shape = NOISES[name]
    return [
        build_model(section(level), shape, 3, seed=row).double() for row, level in enumerate(levels)
    ]


def batch(name: str, groups: int = 1, examples: int = 6) -> Tensor:
    shape = NOISES[name][1]
    source = torch.Generator().manual_seed(5)
    return torch.randn(groups, examples, *shape, dtype=torch.float64, generator=source)


def stack_of(modules: Sequence[nn.Module]) -> Stack:
    return Stack(modules, CPU, torch.float64)


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("groups", [1, 3])
def test_each_member_alone_is_what_it_is_together(name: str, groups: int) -> None:
    modules, x = members(name), batch(name, groups)
    together = stack_of(modules)
    noise = StreamNoise([4, 5, 6], CPU)
    for _ in range(2):  # streams go on alike
        outputs = together(x, noise)
    for row, module in enumerate(modules):
        alone, own = stack_of([module]), StreamNoise([4 + row], CPU)
        for _ in range(2):
            expected = alone(x[row % groups].unsqueeze(0), own)
        torch.testing.assert_close(outputs[row], expected[0], rtol=1e-10, atol=1e-12)
    assert not torch.allclose(outputs[1], together(x)[1])


@pytest.mark.parametrize("name", NOISES)
def test_evaluation_is_the_plain_modules(name: str) -> None:
    modules, x = members(name), batch(name)
    outputs = stack_of(modules)(x)
    for row, module in enumerate(modules):
        torch.testing.assert_close(outputs[row], module.eval()(x[0]), rtol=1e-10, atol=1e-12)


PLAIN = set(NOISES) - {"conv", "one rate per layer"}
"""Where level 0 is no noise at all."""


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_a_member_of_level_zero_among_others_is_bit_equal_to_one_without(name: str) -> None:
    x = batch(name, 3)
    quiet = stack_of(members(name, (0.0, 0.0, 0.0)))(x, StreamNoise([1, 2, 3], CPU))
    mixed = stack_of(members(name, (0.0, 0.6, 0.0)))(x, StreamNoise([1, 2, 3], CPU))
    assert torch.equal(mixed[[0, 2]], quiet[[0, 2]])
    assert not torch.equal(mixed[1], quiet[1])


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_without_noise_no_stream_is_opened(name: str) -> None:
    noise = StreamNoise([1, 2, 3], CPU)
    stack_of(members(name, (0.0, 0.0, 0.0)))(batch(name), noise)
    assert noise.state_dict() == {}


@pytest.mark.parametrize("name", sorted(set(NOISES) - {"gaussian"}))
def test_a_level_of_one_gives_no_nan(name: str) -> None:
    stack = stack_of(members(name, (1.0, 1.0)))
    outputs = stack(batch(name), StreamNoise([1, 2], CPU))
    gradients = torch.autograd.grad(outputs.sum(), list(stack.parameters.values()))
    assert all(tensor.isfinite().all() for tensor in (outputs, *gradients))


class ByAnotherName(nn.Sequential):
    """A chain that the stack does not know to be one: it goes through vmap."""


@pytest.mark.parametrize(
    "name", sorted(set(NOISES) - {"drop-connect", "drop-connect in a cnn", "all"})
)
def test_noise_through_vmap_is_noise_by_hand(name: str) -> None:
    modules, x = members(name), batch(name, 3)
    by_hand = stack_of(modules)(x, StreamNoise([1, 2, 3], CPU))
    unknown = [ByAnotherName(OrderedDict(module.named_children())) for module in modules]
    through_vmap = stack_of(unknown)(x, StreamNoise([1, 2, 3], CPU))
    torch.testing.assert_close(through_vmap, by_hand, rtol=1e-10, atol=1e-12)


def one_layer(layer: nn.Module, x: Tensor) -> Tensor:
    """What a stack of this layer alone makes of x (B, …) in training."""
    stack = stack_of([nn.Sequential(OrderedDict(layer=layer)).double()])
    return stack(x.double().unsqueeze(0), StreamNoise([0], CPU))[0].detach()


def values(x: Tensor) -> list[float]:
    """The different numbers in x, in order."""
    return sorted(set(x.flatten().tolist()))


def assert_rate(dropped: Tensor, p: float) -> None:
    assert abs(dropped.double().mean().item() - p) <= 6 * math.sqrt(p * (1 - p) / dropped.numel())


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_spatial_dropout_drops_whole_channels_of_single_examples(p: float) -> None:
    module = build_model(cnn(conv_dropout=p, dropout_type="spatial"), IMAGE, 3, seed=0)
    layer = module.get_submodule("blocks.0.dropout")
    assert type(layer) is nn.Dropout2d
    y = one_layer(layer, torch.ones(300, 40, 3, 3))
    assert torch.equal(y, y[:, :, :1, :1].expand_as(y))
    assert values(y) == pytest.approx([0, 1 / (1 - p)])
    assert_rate(y[:, :, 0, 0] == 0, p)


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_drop_connect_drops_weights_at_its_rate_alike_for_the_whole_batch(p: float) -> None:
    layer = DropConnectLinear(200, 300, DropConnect, p)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    # Each output is one weight times 1 plus zeros, which no order of summation rounds.
    first, second = one_layer(layer, torch.eye(200).repeat(2, 1)).chunk(2)
    assert_rate(first == 0, p)
    assert values(first) == pytest.approx([0, 1 / (1 - p)])
    assert torch.equal(second, first)


def test_drop_connect_leaves_biases_alone() -> None:
    layer = DropConnectLinear(3, 50, DropConnect, 1.0)
    torch.testing.assert_close(
        one_layer(layer, torch.ones(1, 3))[0], layer.bias.detach().double(), rtol=0, atol=0
    )


def test_input_noise_has_its_standard_deviation() -> None:
    noise = one_layer(GaussianNoise.layer(0.5), torch.zeros(400, 500))
    count = noise.numel()
    assert abs(noise.mean().item()) <= 6 * 0.5 / math.sqrt(count)
    assert abs(noise.var().item() - 0.25) <= 6 * 0.25 * math.sqrt(2 / count)


def test_stochastic_depth_leaves_layers_out_per_example_the_deeper_the_more_often() -> None:
    module = build_model(
        mlp(hidden=[4] * 5, residual=True, stochastic_depth=0.8), VECTOR, 3, seed=0
    )
    layers = [
        layer
        for layer in module.modules()
        if isinstance(layer, NoiseLayer) and layer.noise is StochasticDepth
    ]
    assert [layer.level for layer in layers] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    for layer in layers:
        y = one_layer(layer, torch.ones(20_000, 4))
        assert torch.equal(y, y[:, :1].expand_as(y))
        assert values(y) == pytest.approx([0, 1 / (1 - layer.level)])
        assert_rate(y[:, 0] == 0, layer.level)


def test_a_residual_layer_left_out_is_the_identity() -> None:
    section = mlp(hidden=[5, 5], residual=True, stochastic_depth=1.0)
    module = build_model(section, VECTOR, 3, seed=0).double()
    x = batch("standard")
    outputs = stack_of([module])(x, StreamNoise([0], CPU))
    with torch.no_grad():
        shallow = module.get_submodule("output")(module.get_submodule("hidden.0")(x[0]))
    torch.testing.assert_close(outputs[0], shallow, rtol=1e-12, atol=1e-12)


def test_members_that_leave_take_their_levels_along() -> None:
    modules, x = members("drop-connect"), batch("drop-connect", 3)
    whole, noise = stack_of(modules), StreamNoise([1, 2, 3], CPU)
    expected = whole(x, noise)[[2, 0]]
    kept, rest = stack_of(modules), StreamNoise([1, 2, 3], CPU)
    kept.shrink_to([2, 0])
    rest.shrink_to([2, 0])
    torch.testing.assert_close(kept(x[[2, 0]], rest), expected, rtol=1e-12, atol=1e-12)


def test_normal_draws_are_a_members_own_in_any_company() -> None:
    alone, together = StreamNoise([7], CPU), StreamNoise([3, 7, 7], CPU)
    for _ in range(3):
        mine, ours = alone.normal("a", (5, 9)), together.normal("a", (5, 9))
        assert torch.equal(ours[1], mine[0]) and torch.equal(ours[2], mine[0])
        assert not torch.equal(ours[0], mine[0])
