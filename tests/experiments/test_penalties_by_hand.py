"""Worked examples that circulate with wrong results: 0.01 times the norms of (0.1, 0.2, 0.3)."""

from __future__ import annotations

import math

import pytest
import torch

from regrun.kinds.penalties import L1, L2, ElasticNet
from regrun.stack import Stack, StreamNoise
from regrun.stack.penalties import StackedPenalties

VECTOR = torch.tensor([[[0.1, 0.2, 0.3]]], dtype=torch.float64)


def by_hand(*penalties: L1 | L2 | ElasticNet) -> dict[str, float]:
    stacked = StackedPenalties([penalties], {"weight": "weight"})
    return {label: value.item() for label, value in stacked.values({"weight": VECTOR}).items()}


def test_l1_of_the_vector_is_0_006() -> None:
    assert by_hand(L1(type="l1", strength=0.01)) == pytest.approx({"l1": 0.006})


def test_l2_of_the_vector_is_0_0014_and_half_of_it_0_0007() -> None:
    assert by_hand(L2(type="l2", strength=0.01, half=False)) == pytest.approx({"l2": 0.0014})
    assert by_hand(L2(type="l2", strength=0.01)) == pytest.approx({"l2": 0.0007})


def test_an_elastic_net_is_its_two_parts() -> None:
    net = ElasticNet(type="elastic_net", strength=1.0, l1_ratio=0.3, half=False)
    assert by_hand(net) == pytest.approx(
        {
            "elastic_net": 0.3 * 0.6 + 0.7 * 0.14,
            "elastic_net/l1": 0.3 * 0.6,
            "elastic_net/l2": 0.7 * 0.14,
        }
    )


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_dropout_preserves_the_mean_and_is_the_identity_in_evaluation(rate: float) -> None:
    count = 200_000
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(rate), identity(3))
    stack = Stack([module], torch.device("cpu"), torch.float64)
    x = VECTOR.expand(1, count, 3)
    with torch.no_grad():
        assert torch.equal(stack(x)[0], x[0])
        dropped = stack(x, StreamNoise([0], torch.device("cpu")))[0]
    if rate == 1.0:
        assert not dropped.any()
        return
    scaled = x[0] / (1 - rate)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], scaled[kept])
    # 5 standard deviations of the mean: wrong in fewer than 1 of a million cases
    spread = VECTOR[0, 0] * math.sqrt(rate / (1 - rate) / count)
    assert ((dropped.mean(0) - VECTOR[0, 0]).abs() <= 5 * spread + 1e-12).all()


def identity(size: int) -> torch.nn.Linear:
    linear = torch.nn.Linear(size, size, bias=False)
    torch.nn.init.eye_(linear.weight)
    return linear
