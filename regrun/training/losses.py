"""Data losses per example and member; penalties are kinds of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.kinds.augmentation import LabelSmoothing, Mixing
from regrun.stack.layers import expand_groups

LossName = Literal["mse", "half_mse", "cross_entropy"]


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """(o − t)², mean over the T outputs. outputs (K, B, T), targets (S, B, T) → (K, B)."""
    squares = F.mse_loss(outputs, expand_groups(targets, outputs.shape[0]), reduction="none")
    return squares.squeeze(-1) if squares.shape[-1] == 1 else squares.mean(-1)


def half_mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """½ (o − t)², mean over the T outputs: the convention in which ridge is ½λ‖w‖²."""
    return 0.5 * mse(outputs, targets)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """−log softmax(o)ₜ. outputs (K, B, classes), targets (S, B) of class indices → (K, B)."""
    labels = expand_groups(targets, outputs.shape[0])
    flat = F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view_as(labels)


@dataclass(frozen=True)
class Loss:
    """One data loss.

    Args:
        per_example: Outputs (K, B, C) and targets (S, B, …) → (K, B).
        symbols: The mean over a batch, as `inspect` writes it.
        curvature: The largest second derivative of an example's loss along its outputs. Squared
            errors are means over T outputs, which divides it by T. Cross-entropy: Böhning 1992,
            for any number of classes.
        task: The task that it fits.
    """

    per_example: Callable[[Tensor, Tensor], Tensor]
    symbols: str
    curvature: float
    task: Literal["regression", "classification"]


LOSSES: dict[LossName, Loss] = {
    "mse": Loss(mse, "mean((ŷ − y)²)", 2.0, "regression"),
    "half_mse": Loss(half_mse, "½ mean((ŷ − y)²)", 1.0, "regression"),
    "cross_entropy": Loss(cross_entropy, "mean(−log p(y))", 0.5, "classification"),
}


def resolve_loss(config: Config, dataset: Dataset) -> LossName:
    """The loss that `auto` selects. Raises ConfigError when the loss does not fit the task."""
    if config.loss == "auto":
        return "cross_entropy" if dataset.task == "classification" else "mse"
    if LOSSES[config.loss].task != dataset.task:
        fitting = " or ".join(name for name, loss in LOSSES.items() if loss.task == dataset.task)
        raise ConfigError.at(
            "loss", f"{config.loss} does not fit {dataset.name}, a {dataset.task}; use {fitting}"
        )
    return config.loss


@dataclass(frozen=True)
class Targets:
    """Targets of one training batch, possibly mixed and smoothed by augmentation.

    Args:
        first: (S, B, …), as the dataset gives them.
        second: (R, B, …), those of the examples mixed in, if any.
        share: (R, 1), the weight of `first` in the loss.
        smoothing: (R, 1), the ε of label smoothing. S and R divide K.
    """

    first: Tensor
    second: Tensor | None = None
    share: Tensor | None = None
    smoothing: Tensor | None = None

    def losses(self, per_example: Callable[[Tensor, Tensor], Tensor], outputs: Tensor) -> Tensor:
        """The loss of every example, (K, B). A share of 1 and an ε of 0 change no bit of it."""
        members = outputs.shape[0]
        losses = per_example(outputs, self.first)
        if self.second is not None and self.share is not None:
            other = per_example(outputs, self.second)
            losses = Mixing.mixed_loss(losses, other, expand_groups(self.share, members))
        if self.smoothing is not None:
            level = expand_groups(self.smoothing, members)
            losses = LabelSmoothing.smoothed_loss(losses, outputs, level)
        return losses
