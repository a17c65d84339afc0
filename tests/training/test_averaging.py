"""Batch norm's statistics for weights that never saw a batch: torch's update_bn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from regrun.config.training import WeightAveraging
from regrun.stack import Stack, StreamNoise
from regrun.training.averaging import refresh_statistics

CPU = torch.device("cpu")


def convolutional(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3, momentum=0.25),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(108, 4),
        nn.BatchNorm1d(4),
    ).double()


class Residual(nn.Module):
    """No chain of layers, so the stack runs it by vmap; momentum as small as MNASNet's."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3, momentum=3e-4)
        self.output = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        output: torch.Tensor = self.output((x + self.norm(x)).mean((-2, -1)))
        return output


def residual(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return Residual().double()


@pytest.mark.parametrize("make", [convolutional, residual])
def test_statistics_are_refreshed_as_by_update_bn(make: Callable[[int], nn.Module]) -> None:
    modules = [make(seed) for seed in range(3)]
    stack = Stack(modules, CPU, torch.float64)
    generator = torch.Generator().manual_seed(1)
    batches = [
        torch.randn((3, size, 1, 8, 8), generator=generator, dtype=torch.float64)
        for size in (6, 6, 3)
    ]
    refresh_statistics(stack, batches, StreamNoise([0, 1, 2], CPU))
    for row, module in enumerate(modules):
        expected = deepcopy(module)
        update_bn([batch[row] for batch in batches], expected)
        for name, tensor in expected.state_dict().items():
            torch.testing.assert_close(stack.state_dict()[name][row], tensor, rtol=1e-9, atol=1e-12)
        assert any(name.endswith("running_mean") for name in expected.state_dict())


def test_a_network_without_batch_norm_sees_no_batch() -> None:
    stack = Stack([nn.Sequential(nn.Linear(3, 2))], CPU, torch.float64)

    def unwanted() -> Iterator[torch.Tensor]:
        raise AssertionError("a batch was drawn")
        yield

    refresh_statistics(stack, unwanted(), StreamNoise([0], CPU))


@pytest.mark.parametrize(
    ("start", "every", "epochs", "points"),
    [
        (0.75, 1, 8, [6, 7, 8]),
        (0.07, 40, 100, [7, 47, 87]),
        (3, 2, 8, [3, 5, 7]),
        (0.01, 3, 5, [1, 4]),
        (5, 1, 5, [5]),
    ],
)
def test_swa_averages_the_start_and_every_so_many_epochs_after_it(
    start: float, every: int, epochs: int, points: list[int]
) -> None:
    section = WeightAveraging(start=start, every=every)
    counts = [section.count(epoch, epochs) for epoch in range(epochs + 1)]
    assert [epoch for epoch in range(1, epochs + 1) if counts[epoch] > counts[epoch - 1]] == points
    assert counts[-1] == len(points)
