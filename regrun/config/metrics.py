"""What an evaluation measures, by name: `val/loss`, `ema/test/accuracy`."""

from __future__ import annotations

from typing import Literal

Metric = Literal[
    "val/loss", "val/accuracy",
    "test/loss", "test/accuracy",
    "train/loss", "train/accuracy",
    "ema/val/loss", "ema/val/accuracy",
    "ema/test/loss", "ema/test/accuracy",
    "ema/train/loss", "ema/train/accuracy",
    "swa/val/loss", "swa/val/accuracy",
    "swa/test/loss", "swa/test/accuracy",
    "swa/train/loss", "swa/train/accuracy",
]  # fmt: skip
"""On a split, of the weights themselves, or of one of their averages."""


def split_of(metric: str) -> str:
    """`val` of `ema/val/loss`."""
    return metric.split("/")[-2]
