"""Data losses per example and member; penalties are kinds of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.kinds.augmentation import LabelSmoothing, Mixing
from regrun.stack.layers import expand_groups

LossName = Literal["mse", "half_mse", "cross_entropy"]


def mse(outputs: Float[Tensor, "K B T"], targets: Float[Tensor, "S B T"]) -> Float[Tensor, "K B"]:
    """(o − t)², mean over the T outputs."""
    squares = F.mse_loss(outputs, expand_groups(targets, outputs.shape[0]), reduction="none")
    return squares.squeeze(-1) if squares.shape[-1] == 1 else squares.mean(-1)


def half_mse(
    outputs: Float[Tensor, "K B T"], targets: Float[Tensor, "S B T"]
) -> Float[Tensor, "K B"]:
    """½ (o − t)², mean over the T outputs: the convention in which ridge is ½λ‖w‖²."""
    return 0.5 * mse(outputs, targets)


def cross_entropy(
    outputs: Float[Tensor, "K B classes"], targets: Int64[Tensor, "S B"]
) -> Float[Tensor, "K B"]:
    """−log softmax(o)ₜ, targets being class indices."""
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


def training_loss(config: Config, dataset: Dataset) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss per example that training minimizes: with the dataset's class weights."""
    per_example = LOSSES[resolve_loss(config, dataset)].per_example
    weights = dataset.class_weights
    if weights is None:
        return per_example

    def weighted(
        outputs: Float[Tensor, "K B classes"], targets: Int64[Tensor, "S B"]
    ) -> Float[Tensor, "K B"]:
        labels = expand_groups(targets, outputs.shape[0])
        return per_example(outputs, targets) * weights[labels]

    return weighted


@dataclass(frozen=True)
class Targets:
    """Targets of one training batch, possibly mixed and smoothed by augmentation.

    Args:
        first: As the dataset gives them.
        second: Those of the examples mixed in, if any.
        share: The weight of `first` in the loss.
        smoothing: The ε of label smoothing. S and R divide K.
    """

    first: Shaped[Tensor, "S B ..."]
    second: Shaped[Tensor, "R B ..."] | None = None
    share: Float[Tensor, "R 1"] | None = None
    smoothing: Float[Tensor, "R 1"] | None = None

    def losses(
        self, per_example: Callable[[Tensor, Tensor], Tensor], outputs: Float[Tensor, "K B C"]
    ) -> Float[Tensor, "K B"]:
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
