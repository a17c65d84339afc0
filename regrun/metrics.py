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


def average_of(metric: str) -> Literal["ema", "swa"] | None:
    """`ema` of `ema/val/loss`; None for a metric of the weights themselves."""
    match metric.partition("/")[0]:
        case "ema" | "swa" as average:
            return average
    return None


def sign_of(metric: str) -> Literal[1, -1]:
    """What makes less of a metric better: -1 for accuracies, 1 for all else."""
    return -1 if metric.endswith("/accuracy") else 1
