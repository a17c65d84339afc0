"""Data losses, per example and member; penalties are elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.stack.layers import spread

LossName = Literal["mse", "half_mse", "cross_entropy"]


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """(o − t)², mean over the T outputs. outputs (K, B, T), targets (S, B, T) → (K, B)."""
    squares = F.mse_loss(outputs, spread(targets, outputs.shape[0]), reduction="none")
    return squares.squeeze(-1) if squares.shape[-1] == 1 else squares.mean(-1)


def half_mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """½ (o − t)², mean over the T outputs: the convention in which ridge is ½λ‖w‖²."""
    return 0.5 * mse(outputs, targets)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """−log softmax(o)ₜ. outputs (K, B, classes), targets (S, B) of class indices → (K, B)."""
    labels = spread(targets, outputs.shape[0])
    flat = F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view_as(labels)


LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": mse,
    "half_mse": half_mse,
    "cross_entropy": cross_entropy,
}


def resolve_loss(config: Config, dataset: Dataset) -> LossName:
    """The loss that `auto` means here. Raises ConfigError when loss and task do not go together."""
    if config.loss == "auto":
        return "cross_entropy" if dataset.task == "classification" else "mse"
    if (config.loss == "cross_entropy") != (dataset.task == "classification"):
        fitting = "cross_entropy" if dataset.task == "classification" else "mse or half_mse"
        raise ConfigError.at(
            "loss", f"{config.loss} does not fit {dataset.name}, a {dataset.task}; use {fitting}"
        )
    return config.loss
