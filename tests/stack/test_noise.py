"""Streams of random numbers, and dropout made from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from regrun.errors import CorruptInputError
from regrun.kinds.models import MLP, Torchvision, build_model
from regrun.stack import Noise, Stack, StreamNoise
from regrun.stack.noise import CounterNoise

CPU = torch.device("cpu")


KINDS = (StreamNoise, CounterNoise)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_a_member_draws_the_same_in_any_company(kind: type[Noise], draw: str) -> None:
    alone = kind([7], CPU)
    together = kind([3, 7, 7, 5], CPU)
    for _ in range(3):
        mine = getattr(alone, draw)("a", (4, 2))[0]
        all_of_us = getattr(together, draw)("a", (4, 2))
        assert torch.equal(all_of_us[1], mine) and torch.equal(all_of_us[2], mine)
        assert not torch.equal(all_of_us[0], mine)
        for noise in (alone, together):
            noise.next_step()


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_draws_the_same_whatever_other_layers_draw(kind: type[Noise]) -> None:
    first, second = kind([1], CPU), kind([1], CPU)
    second.uniform("other", (100,))
    assert torch.equal(first.uniform("a", (5,)), second.uniform("a", (5,)))


@pytest.mark.parametrize("kind", KINDS)
def test_no_numbers_come_twice(kind: type[Noise]) -> None:
    noise, drawn = kind([0, 1, 2], CPU), []
    for _ in range(3):
        for layer in ("a", "b", "a"):
            drawn.append(noise.uniform(layer, (50,)))
        noise.next_step()
    numbers = torch.cat(drawn).flatten()
    # Of 1,350 out of 2^24 numbers, 0.054 pairs are equal by chance; 6 with probability 3e-11.
    assert len(set(numbers.tolist())) > len(numbers) - 6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_numbers_follow_their_distribution(kind: type[Noise], draw: str) -> None:
    numbers = getattr(kind([5, 6], CPU), draw)("a", (20_000,)).flatten().numpy()
    expected = {"uniform": stats.uniform, "normal": stats.norm}[draw]
    assert stats.kstest(numbers, expected.cdf).pvalue > 1e-6
    half = len(numbers) // 2
    assert abs(np.corrcoef(numbers[:half], numbers[half:])[0, 1]) < 6 / half**0.5
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 6 / len(numbers) ** 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_streams_go_on_where_they_were_saved(kind: type[Noise]) -> None:
    noise, other = kind([1, 2], CPU), kind([1, 2], CPU)
    noise.uniform("a", (3,))
    noise.next_step()
    saved = {name: tensor.clone() for name, tensor in noise.state_dict().items()}
    expected = noise.uniform("a", (3,))
    other.uniform("a", (3,))  # opens the stream
    other.restore(saved, 1)
    assert torch.equal(other.uniform("a", (3,)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_can_be_drawn_once_more(kind: type[Noise]) -> None:
    noise = kind([1, 2], CPU)
    noise.normal("a", (3,))
    position = noise.position()
    expected = noise.normal("a", (3,)), noise.uniform("a", (2, 2))
    noise.return_to(position)
    again = noise.normal("a", (3,)), noise.uniform("a", (2, 2))
    assert torch.equal(again[0], expected[0]) and torch.equal(again[1], expected[1])


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_stay_draw_on_as_before(kind: type[Noise]) -> None:
    together, alone = kind([1, 2, 3], CPU), kind([3], CPU)
    for noise in (together, alone):
        noise.uniform("a", (3,))
        noise.next_step()
    together.shrink_to([2])
    assert torch.equal(together.uniform("a", (3,)), alone.uniform("a", (3,)))


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_are_the_members_own(kind: type[Noise]) -> None:
    together, alone = kind([4, 4, 9], CPU), kind([9], CPU)
    for _ in range(2):
        first, second, third = together.seeds("a")
        assert first == second != third
        assert [third] == alone.seeds("a")
        for noise in (together, alone):
            noise.next_step()


@pytest.mark.parametrize("wrong", [{"time": torch.tensor(3)}, {"time": torch.tensor(2.0)}, {}])
def test_a_state_of_another_time_is_refused(wrong: dict[str, torch.Tensor]) -> None:
    with pytest.raises(CorruptInputError):
        CounterNoise([1], CPU).restore(wrong, 2)


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
    means = stack(x, StreamNoise([0], CPU))
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
    together = Stack(modules, CPU, torch.float64)(x, StreamNoise([1, 1, 1], CPU))
    for row, module in enumerate(modules):
        alone = Stack([module], CPU, torch.float64)(x, StreamNoise([1], CPU))
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
    together = Stack(modules, CPU, torch.float32)(x, StreamNoise([1, 2], CPU))
    for row, module in enumerate(modules):
        alone = Stack([module], CPU, torch.float32)(x, StreamNoise([row + 1], CPU))
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)
    assert not torch.equal(together[0], together[1])
