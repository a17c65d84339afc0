"""The dropout_fashion_mnist experiment as a plain PyTorch loop over tensors in memory.

Losses and accuracies on 10,000 training examples and on the test set after every epoch; nothing
is logged or stored.

Usage: python plain_fashion_mnist.py [EPOCHS] [--examples N]
"""

from __future__ import annotations

import argparse
import json
import os
import time

import torch
from torch import Tensor, nn
from torchvision.datasets import FashionMNIST


def load(train: bool, examples: int | None) -> tuple[Tensor, Tensor]:
    """Pixels in [0, 1], (N, 784), and classes."""
    part = FashionMNIST(os.environ.get("REGRUN_DATA", "data"), train=train, download=True)
    pixels, classes = part.data[:examples], part.targets[:examples]
    return pixels.flatten(1).float().div_(255), classes


def main() -> None:
    """Train and say how long it took without loading."""
    parser = argparse.ArgumentParser()
    parser.add_argument("epochs", type=int, nargs="?", default=10)
    parser.add_argument("--examples", type=int)
    options = parser.parse_args()

    torch.manual_seed(0)
    x_train, y_train = load(True, options.examples)
    x_test, y_test = load(False, options.examples and options.examples // 6)
    net = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(256, 10),
    )  # fmt: skip
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)

    @torch.no_grad()
    def evaluate(x: Tensor, y: Tensor) -> tuple[float, float]:
        outputs = net(x)
        return loss(outputs, y).item(), (outputs.argmax(1) == y).float().mean().item()

    accuracy = 0.0
    started = time.perf_counter()
    for _ in range(options.epochs):
        net.train()
        for batch in torch.randperm(len(x_train)).split(256):
            optimizer.zero_grad()
            loss(net(x_train[batch]), y_train[batch]).backward()
            optimizer.step()
        net.eval()
        evaluate(x_train[:10_000], y_train[:10_000])
        _, accuracy = evaluate(x_test, y_test)
    seconds = time.perf_counter() - started
    print(json.dumps({"epochs": options.epochs, "seconds": seconds, "accuracy": accuracy}))


if __name__ == "__main__":
    main()
