"""The matrix products of training and evaluating K MLPs, and nothing else: no faster program exists
that trains them with the same library.

Usage: python matmul_floor.py SIZES BATCH STEPS [--members K] [--evaluate N] [--evaluations E]
For example: python matmul_floor.py 784,256,256,10 256 235 --evaluate 20000
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise

import torch
from torch import Tensor

WARM_UP = 10


class Layer:
    """One linear layer of K members: its three products, into memory of its own."""

    def __init__(self, members: int, inputs: int, outputs: int, batch: int) -> None:
        self.weight = torch.randn(members, inputs, outputs) / inputs**0.5
        self.gradient = torch.empty_like(self.weight)
        self.x = torch.randn(members, batch, inputs)
        self.y = torch.empty(members, batch, outputs)
        self.dy = torch.randn(members, batch, outputs)
        self.dx = torch.empty(members, batch, inputs)

    def forward(self) -> None:
        """Y = X W."""
        torch.bmm(self.x, self.weight, out=self.y)

    def backward(self, first: bool) -> None:
        """dW = Xᵀ dY, and dX = dY Wᵀ where somebody asks for it."""
        torch.bmm(self.x.mT, self.dy, out=self.gradient)
        if not first:
            torch.bmm(self.dy, self.weight.mT, out=self.dx)


def step(layers: list[Layer]) -> None:
    """The products of one training step."""
    for layer in layers:
        layer.forward()
    for index in reversed(range(len(layers))):
        layers[index].backward(first=index == 0)


def evaluate(layers: list[Layer], examples: Tensor) -> None:
    """The products of one pass over (N, inputs) examples."""
    x = examples.expand(len(layers[0].weight), -1, -1)
    for layer in layers:
        x = torch.bmm(x, layer.weight)


def main() -> None:
    """Do the products and say how long they took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes")
    parser.add_argument("batch", type=int)
    parser.add_argument("steps", type=int)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--evaluate", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=1)
    options = parser.parse_args()

    sizes = [int(size) for size in options.sizes.split(",")]
    layers = [
        Layer(options.members, inputs, outputs, options.batch)
        for inputs, outputs in pairwise(sizes)
    ]
    examples = torch.randn(options.evaluate, sizes[0])
    for _ in range(WARM_UP):
        step(layers)
    started = time.perf_counter()
    with torch.inference_mode():
        for _ in range(options.steps):
            step(layers)
        for _ in range(options.evaluations if options.evaluate else 0):
            evaluate(layers, examples)
    seconds = time.perf_counter() - started
    report = {"steps": options.steps, "members": options.members, "seconds": seconds}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
