"""The weight_decay experiment as plain PyTorch loops, one after another in one process.

Data in memory, train and test loss after every epoch, nothing is logged or stored.

Usage: python plain_weight_decay.py RUNS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

WEIGHT_DECAYS = [0, 0.1, 0.3, 1, 3, 10, 30]


def make_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """20 training and 100 test examples of y = 0.05 + Σ 0.01 xᵢ + ε, 200 inputs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(120, 200, generator=generator)
    noise = 0.01 * torch.randn(120, 1, generator=generator)
    y = 0.05 + 0.01 * x.sum(1, keepdim=True) + noise
    return x[:20], y[:20], x[20:], y[20:]


def train(
    weight_decay: float, seed: int, on_epoch: Callable[[int, float, float], None] | None = None
) -> float:
    """Train once; the last test loss. on_epoch: called with epoch, train loss and test loss."""
    x_train, y_train, x_test, y_test = make_data()
    torch.manual_seed(seed)
    net = nn.Linear(200, 1)
    nn.init.normal_(net.weight)
    nn.init.zeros_(net.bias)
    loss = nn.MSELoss()
    optimizer = torch.optim.SGD(
        [{"params": [net.weight], "weight_decay": weight_decay}, {"params": [net.bias]}], lr=0.003
    )
    test_loss = float("nan")
    for epoch in range(1, 101):
        for batch in torch.randperm(20).split(5):
            optimizer.zero_grad()
            loss(net(x_train[batch]), y_train[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            train_loss = loss(net(x_train), y_train).item()
            test_loss = loss(net(x_test), y_test).item()
        if on_epoch is not None:
            on_epoch(epoch, train_loss, test_loss)
    return test_loss


def main() -> None:
    """Train RUNS times and say how long one took, the first left out."""
    runs = int(sys.argv[1])
    finished = []
    for run in range(runs):
        train(WEIGHT_DECAYS[run % 7], seed=run // 7)
        finished.append(time.perf_counter())
    each = (finished[-1] - finished[0]) / (runs - 1)
    print(json.dumps({"runs": runs, "seconds_per_run": each}))


if __name__ == "__main__":
    main()
