"""An MLP on MNIST with Adam and batches of 10, as tutorials write it: DataLoader and transforms.

Usage: python tutorial_mnist_adam.py STEPS
"""

from __future__ import annotations

import json
import os
import sys
import time

from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

WARM_UP = 20


class MLP(nn.Module):
    """784-64-32-10."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, 64),
            nn.ReLU(),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        )

    def forward(self, x):
        """Scores of the ten classes."""
        return self.layers(x)


def main():
    """Train for STEPS steps after a few others, and say how long they took."""
    steps = int(sys.argv[1])
    root = os.environ.get("REGRUN_DATA", "data")
    dataset = datasets.MNIST(root, download=True, transform=transforms.ToTensor())
    trainloader = DataLoader(dataset, batch_size=10, shuffle=True)
    mlp = MLP()
    loss_function = nn.CrossEntropyLoss()
    optimizer = optim.Adam(mlp.parameters(), lr=1e-4)
    current_loss = 0.0
    started = 0.0
    for step, (inputs, targets) in enumerate(trainloader):
        if step == WARM_UP:
            started = time.perf_counter()
        if step == WARM_UP + steps:
            break
        optimizer.zero_grad()
        outputs = mlp(inputs)
        loss = loss_function(outputs, targets)
        loss.backward()
        optimizer.step()
        current_loss += loss.item()
    print(json.dumps({"steps": steps, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
