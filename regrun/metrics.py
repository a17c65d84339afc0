"""What an evaluation measures, by name: `val/loss`, `ema/test/accuracy`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, get_args

MetricName = Literal[
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
"""Every name that a config may choose by."""

Average = Literal["ema", "swa"]
Split = Literal["train", "val", "test"]
Quantity = Literal["loss", "accuracy"]
Direction = Literal["minimize", "maximize"]

SPLITS: tuple[Split, ...] = get_args(Split)
"""In the order of tables and plots."""


@dataclass(frozen=True)
class Metric:
    """A quantity measured on a split, with the trained weights or with one of their averages.

    >>> metric = Metric.from_name("ema/val/accuracy")
    >>> metric.split, metric.direction
    ('val', 'maximize')
    """

    split: Split
    quantity: Quantity
    average: Average | None = None
    """None for the trained weights themselves."""

    @classmethod
    def from_name(cls, name: str) -> Metric:
        """Look up a metric.

        Args:
            name: ``[average/]split/quantity``, one of `METRICS`.

        Raises:
            ValueError: There is no metric of this name.
        """
        if name not in METRICS:
            raise ValueError(f"{name} is not a metric")
        return METRICS[name]

    @property
    def name(self) -> str:
        """``[average/]split/quantity``, the key in `metrics.jsonl`."""
        prefix = f"{self.average}/" if self.average else ""
        return f"{prefix}{self.split}/{self.quantity}"

    @property
    def direction(self) -> Direction:
        """`maximize` for accuracies, `minimize` for losses."""
        return "maximize" if self.quantity == "accuracy" else "minimize"

    @property
    def sign(self) -> Literal[1, -1]:
        """The factor that turns better into smaller: 1 for losses, -1 for accuracies."""
        return 1 if self.direction == "minimize" else -1

    def on(self, split: Split) -> Metric:
        """The same quantity and average on another split."""
        return replace(self, split=split)


_SELECTION_ORDER: tuple[Split, ...] = ("val", "test", "train")

METRICS = {
    metric.name: metric
    for average, split, quantity in product(
        (None, *get_args(Average)), _SELECTION_ORDER, get_args(Quantity)
    )
    for metric in [Metric(split, quantity, average)]
}
"""Name → metric, in the order of `MetricName`."""


def default_metric(*, has_validation: bool, has_test: bool = True) -> Metric:
    """What is compared where nobody chose: `val/loss`, else `test/loss`, else `train/loss`.

    has_test: whether there is a test set.
    """
    if has_validation:
        return Metric("val", "loss")
    return Metric("test" if has_test else "train", "loss")
