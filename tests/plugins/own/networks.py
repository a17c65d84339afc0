"""Networks, a penalty and data as a user writes them, for digits of 8×8 pixels."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset


class Dense(nn.Module):
    """Layers in a list.

    Args:
        hidden: Width of each hidden layer.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        hidden: list[int] = [16, 8],  # noqa: B006 - as it is often written
    ) -> None:
        super().__init__()
        sizes = [in_features] + hidden  # noqa: RUF005 - it has to be a list
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.head = nn.Linear(sizes[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x).relu()
        y: Tensor = self.head(x)
        return y


Alias = Dense


class Block(nn.Module):
    """A helper, whose arguments have no types."""

    def __init__(self, channels) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return x + y.relu()


class Residual(nn.Module):
    """Convolutions, blocks, dropout, and a layer that learns its width from its inputs."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        width: int = 4,
        blocks: int = 2,
        dropout: float = 0.2,
        activation: Literal["relu", "tanh"] = "relu",
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.activation = getattr(torch, activation)
        self.drop = nn.Dropout(dropout)
        self.head = nn.LazyLinear(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.blocks(self.stem(x)))
        y: Tensor = self.head(self.drop(F.max_pool2d(x, 2).flatten(1)))
        return y


class Rows(nn.Module):
    """A recurrent layer over the rows of a digit."""

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        cell: Literal["LSTM", "GRU"] = "LSTM",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        kind = getattr(nn, cell)
        self.rnn = kind(input_shape[-1], 8, num_layers=2, dropout=dropout, batch_first=True)
        self.head = nn.Linear(8, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.rnn(x.squeeze(1))[0][:, -1])
        return y


class Positions(nn.Module):
    """Sines of the position, in a buffer that is not stored."""

    waves: Tensor

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        waves = torch.zeros(length, width)
        frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
        waves[:, 0::2] = torch.sin(torch.arange(length).unsqueeze(1) * frequency)
        waves[:, 1::2] = torch.cos(torch.arange(length).unsqueeze(1) * frequency)
        self.register_buffer("waves", waves, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.waves[: x.shape[1]]


class Attention(nn.Module):
    """An encoder with dropout inside its attention."""

    def __init__(
        self, input_shape: tuple[int, ...], num_outputs: int, width: int = 8, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(input_shape[-1], width)
        mask = torch.full((input_shape[-2], input_shape[-2]), -torch.inf).triu(1)
        self.register_buffer("mask", mask)
        self.positions = Positions(width, input_shape[-2])
        layer = nn.TransformerEncoderLayer(width, 2, 16, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(
            self.encoder(self.positions(self.embed(x.squeeze(1))), self.mask).mean(1)
        )
        return y


class Words(nn.Module):
    """Pixels as words."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        levels = int(torch.ones(17).sum().item())  # read where there are no numbers yet
        self.table = nn.Embedding(levels, 3)
        self.head = nn.Linear(3 * in_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.table((x.flatten(1) * 16).round().long()).flatten(1))
        return y


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.one = nn.Linear(in_features, in_features)
        self.other = nn.Linear(in_features, in_features)
        self.other.weight = self.one.weight
        self.head = nn.Linear(in_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.other(self.one(x.flatten(1)).relu()).relu())
        return y


class Branching(nn.Module):
    """A branch on the values, a layer that is not trained, and one that is not used."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.fixed = nn.Linear(in_features, 12).requires_grad_(False)
        self.unused = nn.Linear(3, 3)
        self.head = nn.Linear(12, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fixed(x.flatten(1))
        y: Tensor = self.head(h if h.mean() > 0.01 else -h)
        return y


class Chain(nn.Sequential):
    """A subclass of a chain."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
            nn.LazyLinear(num_classes),
        )  # fmt: skip


def hoyer(w: Tensor, strength: float, epsilon: float = 1e-8) -> Tensor:
    """How evenly the weights are spread."""
    return strength * w.abs().sum() ** 2 / (w.square().sum() + epsilon)


class Circles(Dataset[tuple[Tensor, int]]):
    """Points within a circle, and around it."""

    def __init__(self, count: int = 60, radius: float = 1.0, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.points = torch.randn(count, 2, generator=generator)
        self.radius = radius

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        point = self.points[index]
        return point, int(point.norm() < self.radius)


class Lion(torch.optim.Optimizer):
    """A plain optimizer."""
