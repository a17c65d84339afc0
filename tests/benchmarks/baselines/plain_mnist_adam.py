"""An MLP on MNIST with Adam and batches of 10, as a plain PyTorch loop over tensors in memory.

Usage: python plain_mnist_adam.py STEPS
"""

from __future__ import annotations

import json
import os
import sys
import time

import torch
from torch import nn
from torchvision.datasets import MNIST

WARM_UP = 20


def main() -> None:
    """Train for STEPS steps after a few others, and say how long they took."""
    steps = int(sys.argv[1])
    data = MNIST(os.environ.get("REGRUN_DATA", "data"), download=True)
    x, y = data.data.flatten(1).float().div_(255), data.targets
    net = nn.Sequential(
        nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    started = 0.0
    for step, batch in enumerate(torch.randperm(len(x)).split(10)[: WARM_UP + steps]):
        if step == WARM_UP:
            started = time.perf_counter()
        optimizer.zero_grad()
        loss(net(x[batch]), y[batch]).backward()
        optimizer.step()
    print(json.dumps({"steps": steps, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
