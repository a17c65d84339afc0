"""Streams of random numbers, and dropout made from them."""

from __future__ import annotations

import pytest
import torch

from regrun.kinds.models import MLP, Torchvision, build_model
from regrun.stack import Noise, Stack

CPU = torch.device("cpu")


def test_a_member_draws_the_same_in_any_company() -> None:
    alone = Noise([7], CPU)
    together = Noise([3, 7, 7, 5], CPU)
    for _ in range(3):
        mine = alone.uniform("a", (4, 2))[0]
        all_of_us = together.uniform("a", (4, 2))
        assert torch.equal(all_of_us[1], mine) and torch.equal(all_of_us[2], mine)
        assert not torch.equal(all_of_us[0], mine)


def test_a_layer_draws_the_same_whatever_other_layers_draw() -> None:
    first, second = Noise([1], CPU), Noise([1], CPU)
    second.uniform("other", (100,))
    assert torch.equal(first.uniform("a", (5,)), second.uniform("a", (5,)))


def test_streams_go_on_where_they_were_saved() -> None:
    noise = Noise([1, 2], CPU)
    noise.uniform("a", (3,))
    saved = noise.state_dict()
    expected = noise.uniform("a", (3,))
    other = Noise([1, 2], CPU)
    other.load_state_dict(saved)
    assert torch.equal(other.uniform("a", (3,)), expected)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_dropout_drops_at_its_rate_and_keeps_the_mean(rate: float) -> None:
    units = 40_000
    model = MLP.model_validate({"name": "mlp", "hidden": [units], "dropout": rate})
    module = build_model(model, (1,), 1, seed=0).double()
    with torch.no_grad():
        module.get_parameter("hidden.0.linear.weight").fill_(1.0)
        module.get_parameter("hidden.0.linear.bias").zero_()
        module.get_parameter("output.weight").fill_(1 / units)
        module.get_parameter("output.bias").zero_()
    stack = Stack([module], CPU, torch.float64)
    x = torch.ones(1, 8, 1, dtype=torch.float64)
    means = stack(x, Noise([0], CPU))
    kept = means * (1 - rate) if rate < 1 else means
    # 8 binomial shares of 40,000 draws: six standard deviations fail once in 5e8 per share.
    allowed = 6 * (rate * (1 - rate) / units) ** 0.5 + 1e-9
    assert (kept - (1 - rate)).abs().max() <= allowed
    torch.testing.assert_close(stack(x), torch.ones_like(x))


def test_rates_differ_between_members_of_a_stack() -> None:
    sections = [
        MLP.model_validate({"name": "mlp", "hidden": [2000], "dropout": rate})
        for rate in (0.0, 0.5, 1.0)
    ]
    modules = [build_model(section, (4,), 3, seed=1).double() for section in sections]
    x = torch.randn(1, 6, 4, dtype=torch.float64)
    together = Stack(modules, CPU, torch.float64)(x, Noise([1, 1, 1], CPU))
    for row, module in enumerate(modules):
        alone = Stack([module], CPU, torch.float64)(x, Noise([1], CPU))
        torch.testing.assert_close(together[row], alone[0], rtol=1e-12, atol=1e-12)
    bias = modules[2].get_parameter("output.bias")
    assert torch.equal(together[2], bias.expand(6, 3))


def test_dropout_inside_a_torchvision_network_is_the_members_own() -> None:
    sections = [
        Torchvision.model_validate({"name": "squeezenet1_1", "dropout": rate})
        for rate in (0.0, 0.5)
    ]
    modules = [build_model(section, (3, 33, 33), 3, seed=1) for section in sections]
    x = torch.rand(1, 3, 3, 33, 33)
    together = Stack(modules, CPU, torch.float32)(x, Noise([1, 2], CPU))
    for row, module in enumerate(modules):
        alone = Stack([module], CPU, torch.float32)(x, Noise([row + 1], CPU))
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)
    assert not torch.equal(together[0], together[1])
