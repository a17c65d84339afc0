"""The `training` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from regrun.config.base import PER_MEMBER, Count, NonNegative, Section


class EarlyStopping(Section):
    """Stop when the metric has not improved for a while."""

    metric: Literal["val/loss", "val/accuracy", "test/loss", "test/accuracy", "train/loss"] = (
        "val/loss"
    )
    patience: Annotated[Count, PER_MEMBER] = 10
    """Evaluations without an improvement before stopping."""
    min_delta: NonNegative = 0.0
    """An improvement is a change by more than this."""
    restore_best: bool = True
    """Keep the weights of the best evaluation rather than the last."""


class Training(Section):
    """How long, in what pieces, in what precision."""

    epochs: Annotated[int, Field(ge=1, le=10**9)] = 100
    batch_size: Count | Literal["full"] = 32
    evaluate_every: Count = 1
    """Epochs between evaluations; the last epoch is always evaluated."""
    evaluate_train: Literal["auto", "all"] | Count = "auto"
    """Training examples that the train loss is measured on: all, or a fixed random subset.
    auto: all up to 10,000, else a subset of 10,000."""
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    """bfloat16 is autocast over float32 parameters."""
    early_stopping: Annotated[EarlyStopping | None, PER_MEMBER] = None
    checkpoint_every: Annotated[float, Field(ge=0)] = 30.0
    """Seconds between checkpoints; 0 writes one at every evaluation."""
