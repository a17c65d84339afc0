"""Training torchvision's networks with all that acts in them, and what is compared of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from regrun.config.schema import Config
from regrun.data.dataset import Dataset, Split
from tests.support.engines import CPU, Life, config_of

BASE: dict[str, Any] = {
    "dataset": {"name": "cifar10"},
    "model": {"name": "densenet121"},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "training": {"epochs": 2, "batch_size": 5, "precision": "float64"},
}
CASES: dict[str, dict[str, Any]] = {
    "batch norm": {},
    "dropout, r-drop": {
        "model": {"name": "squeezenet1_1", "dropout": 0.3},
        "training": {**BASE["training"], "r_drop": {"alpha": 1.0}},
    },
    "batch norm, averages": {"training": {**BASE["training"], "ema": 0.9, "swa": {"start": 1}}},
    "batch norm, sam": {"optimizer": {"name": "sgd", "lr": 0.01, "sam": 0.05}},
    "stochastic depth, dropout": {"model": {"name": "efficientnet_b0"}},
    "attention, dropout, sam, averages": {
        "model": {"name": "vit_b_16"},
        "optimizer": {"name": "sgd", "lr": 0.01, "sam": 0.05},
        "training": {**BASE["training"], "ema": 0.9, "swa": {"start": 1}},
    },
}


def config(case: str, seed: int = 0, **optimizer: Any) -> Config:
    one = config_of(BASE, CASES[case])
    section = one.optimizer.model_copy(update=optimizer)
    return one.model_copy(update={"seed": seed, "optimizer": section})


def pictures(dtype: torch.dtype = torch.float64) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (14, 3, 32, 32), generator=generator, dtype=torch.uint8)
    targets = torch.arange(14) % 10
    train, test = Split(inputs[:10], targets[:10]), Split(inputs[10:], targets[10:])
    pictures = Dataset("pictures", "classification", train, None, test, (3, 32, 32), 10)
    return pictures.to(CPU, dtype)


def tensors(life: Life, member: int = 0) -> dict[str, Tensor]:
    """A member's weights, averages and metrics."""
    rows, ends = life
    end = ends[member]
    assert end.weights is not None
    measured = {
        f"{number} {key}": torch.tensor(value, dtype=torch.float64)
        for number, row in enumerate(rows[member])
        for key, value in row.items()
    }
    averages = {f"{label}/{n}": t for label, own in end.averages.items() for n, t in own.items()}
    return {**measured, **end.weights, **averages}


def differences(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """The largest of each tensor, as a part of its largest number, or of 0.001.

    A bias that the next batch norm subtracts again is rounding noise and nothing else.
    """
    assert found.keys() == expected.keys()
    return {
        name: (
            (tensor - expected[name]).abs().max() / expected[name].abs().max().clamp(1e-3)
        ).item()
        for name, tensor in found.items()
    }
