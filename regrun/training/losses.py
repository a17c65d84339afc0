"""Data losses per example and member: that of the data, with class weights, of mixed targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.kinds.augmentation import LabelSmoothing, Mixing
from regrun.kinds.base import names_of, wrong
from regrun.kinds.losses import Loss
from regrun.kinds.registry import KINDS
from regrun.stack.layers import expand_groups

PerExampleLoss = Callable[[Tensor, Tensor], Tensor]
"""(K, B, C) outputs and (S, B, …) targets → (K, B) losses."""


def resolve_loss(config: Config, dataset: Dataset) -> Loss:
    """The loss for these data. Raises ConfigError when it does not fit their task."""
    task, count = dataset.task, dataset.num_outputs
    loss = config.loss.chosen_for(task, count)
    if not loss.fits(task, count):
        every = [kind for kind in KINDS["losses"] if issubclass(kind, Loss)]
        fitting = [name for kind in every if kind.fits(task, count) for name in names_of(kind)]
        has = f"has {count} classes" if task == "classification" else "has numbers to predict"
        raise ConfigError.at(
            "loss",
            f"{loss.kind} needs {loss.needs}; {dataset.name} {has}; use {' or '.join(fitting)}",
        )
    return loss


def losses_of(
    loss: Loss,
    outputs: Float[Tensor, "K B C"],
    targets: Float[Tensor, "S B C"] | Int64[Tensor, "S B"],
    unit: Float[Tensor, " C"] | None = None,
) -> Float[Tensor, "K B"]:
    """The loss of every example. S divides K; unit: see `Loss.per_example`."""
    losses = loss.per_example(outputs, expand_groups(targets, outputs.shape[0]), unit)
    if losses.shape != outputs.shape[:2]:
        raise wrong(
            loss,
            "per_example",
            f"gave shape {list(losses.shape)} for outputs of {list(outputs.shape)}; it has to give "
            f"{list(outputs.shape[:2])}, one loss for each example",
        )
    if outputs.requires_grad and not losses.requires_grad:
        raise wrong(loss, "per_example", "gave losses that are not differentiable")
    return losses


def reported_loss(config: Config, dataset: Dataset) -> PerExampleLoss:
    """The loss of outputs and targets on the original scale."""
    return partial(losses_of, resolve_loss(config, dataset), unit=dataset.target_std)


def training_loss(config: Config, dataset: Dataset) -> PerExampleLoss:
    """The loss that training minimizes: of standardized targets, with the class weights."""
    plain = partial(losses_of, resolve_loss(config, dataset))
    weights = dataset.class_weights
    if weights is None:
        return plain

    def weighted(
        outputs: Float[Tensor, "K B classes"], targets: Int64[Tensor, "S B"]
    ) -> Float[Tensor, "K B"]:
        labels = expand_groups(targets, outputs.shape[0])
        return plain(outputs, targets) * weights[labels]

    return weighted


@dataclass(frozen=True)
class Targets:
    """Targets of one training batch, possibly mixed and smoothed by augmentation.

    Args:
        first: As the dataset gives them.
        second: Those of the examples mixed in, if any.
        share: The weight of `first` in the loss.
        smoothing: The ε of label smoothing. S and R divide K.
        class_weights: Those that the loss has; label smoothing weighs its classes by them, too.
    """

    first: Shaped[Tensor, "S B ..."]
    second: Shaped[Tensor, "R B ..."] | None = None
    share: Float[Tensor, "R 1"] | None = None
    smoothing: Float[Tensor, "R 1"] | None = None
    class_weights: Float[Tensor, " classes"] | None = None

    def losses(
        self, per_example: PerExampleLoss, outputs: Float[Tensor, "K B C"]
    ) -> Float[Tensor, "K B"]:
        """The loss of every example, (K, B). A share of 1 and an ε of 0 change no bit of it."""
        members = outputs.shape[0]
        losses = per_example(outputs, self.first)
        if self.second is not None and self.share is not None:
            other = per_example(outputs, self.second)
            losses = Mixing.mixed_loss(losses, other, expand_groups(self.share, members))
        if self.smoothing is not None:
            level = expand_groups(self.smoothing, members)
            losses = LabelSmoothing.smoothed_loss(losses, outputs, level, self.class_weights)
        return losses
