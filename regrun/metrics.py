"""What an evaluation measures, by name: `val/loss`, `ema/test/accuracy`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, get_args

from regrun.results import Scale, Task

Average = Literal["ema", "swa"]
Split = Literal["train", "val", "test"]
Direction = Literal["minimize", "maximize"]

SPLITS: tuple[Split, ...] = get_args(Split)
"""In the order of tables and plots."""

Array = Any
"""A NumPy array; this module imports no NumPy."""


@dataclass(frozen=True)
class Score:
    """What is measured besides the loss, by scikit-learn's function of the same name."""

    name: str
    task: Task
    direction: Direction
    scale: Scale
    """On which values of several runs are averaged."""
    summary: str
    function: Callable[[Array, Array], float] | None
    """Targets and outputs of the examples of one member → a number. Targets are (N,) class indices
    or (N, T) numbers; outputs (N, C) class scores or (N, T) numbers. None for accuracy, which the
    evaluation itself counts."""

    def __call__(self, targets: Array, outputs: Array) -> float:
        """Return the score; NaN where it is undefined, such as the AUROC of a single class."""
        assert self.function is not None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on undefined scores, which are NaN or 0
                return float(self.function(targets, outputs))
        except ValueError:  # scikit-learn's for undefined scores, and for infinite outputs
            return math.nan


def _numbers(name: str) -> Callable[[Array, Array], float]:
    def function(targets: Array, outputs: Array) -> float:
        from sklearn import metrics

        found: float = getattr(metrics, name)(targets, outputs)
        return found

    return function


def _classes(name: str, **options: Any) -> Callable[[Array, Array], float]:
    def function(targets: Array, outputs: Array) -> float:
        from sklearn import metrics

        found: float = getattr(metrics, name)(targets, outputs.argmax(-1), **options)
        return found

    return function


def _auroc(targets: Array, outputs: Array) -> float:
    """One class against the others, macro mean; of two classes the usual area."""
    import numpy as np
    from scipy.special import softmax
    from sklearn.metrics import roc_auc_score

    probabilities = softmax(outputs, axis=-1)
    if outputs.shape[-1] == 2:
        return float(roc_auc_score(targets, probabilities[:, 1]))
    return float(
        roc_auc_score(
            targets, probabilities, multi_class="ovr", labels=np.arange(outputs.shape[-1])
        )
    )


_MACRO: Mapping[str, Any] = {"average": "macro", "zero_division": 0}

SCORES: Mapping[str, Score] = {
    score.name: score
    for score in (
        Score("accuracy", "classification", "maximize", "fraction",
            "share of examples classified right", None),
        Score(
            "balanced_accuracy", "classification", "maximize", "fraction",
            "mean recall of the classes",
            _classes("balanced_accuracy_score"),
        ),
        Score(
            "f1", "classification", "maximize", "fraction",
            "harmonic mean of precision and recall, macro",
            _classes("f1_score", **_MACRO),
        ),
        Score(
            "precision", "classification", "maximize", "fraction",
            "right among those assigned, macro",
            _classes("precision_score", **_MACRO),
        ),
        Score(
            "recall", "classification", "maximize", "fraction",
            "found among those of a class, macro",
            _classes("recall_score", **_MACRO),
        ),
        Score(
            "auroc", "classification", "maximize", "fraction",
            "area under the ROC curve, one class against the others, macro", _auroc,
        ),
        Score(
            "mae", "regression", "minimize", "log",
            "mean absolute error",
            _numbers("mean_absolute_error"),
        ),
        Score(
            "rmse", "regression", "minimize", "log",
            "root of the mean squared error",
            _numbers("root_mean_squared_error"),
        ),
        Score(
            "r2", "regression", "maximize", "linear",
            "coefficient of determination, mean over targets",
            _numbers("r2_score"),
        ),
    )
}  # fmt: skip
"""Name → score."""

CONFUSION = "confusion_matrix"
"""Counted for the summary only."""


@dataclass(frozen=True)
class Metric:
    """A quantity measured on a split, with the trained weights or with one of their averages.

    >>> metric = Metric.from_name("ema/val/accuracy")
    >>> metric.split, metric.direction
    ('val', 'maximize')
    """

    split: Split
    quantity: str
    """`loss`, or the name of a score."""
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
        """`minimize` for losses and errors, `maximize` for accuracies and the like."""
        return "minimize" if self.quantity == "loss" else SCORES[self.quantity].direction

    @property
    def scale(self) -> Scale:
        """On which values of several runs are averaged: `log` for losses."""
        return "log" if self.quantity == "loss" else SCORES[self.quantity].scale

    @property
    def sign(self) -> Literal[1, -1]:
        """The factor that turns better into smaller: 1 for losses, -1 for accuracies."""
        return 1 if self.direction == "minimize" else -1

    @property
    def task(self) -> Task | None:
        """The task that it needs; None for a loss."""
        return None if self.quantity == "loss" else SCORES[self.quantity].task

    @property
    def has_key(self) -> bool:
        """Whether it is measured only if `metrics` of the config lists it."""
        return self.quantity not in ("loss", "accuracy")

    def on(self, split: Split) -> Metric:
        """The same quantity and average on another split."""
        return replace(self, split=split)


_SELECTION_ORDER: tuple[Split, ...] = ("val", "test", "train")

METRICS = {
    metric.name: metric
    for average, split, quantity in product(
        (None, *get_args(Average)), _SELECTION_ORDER, ("loss", *SCORES)
    )
    for metric in [Metric(split, quantity, average)]
}
"""Name → metric."""

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[tuple(METRICS)]
"""Every name that a config may choose by."""


_POSITIVE = ("objective", "weights/l1", "weights/l2")
_FRACTIONS = ("weights/sparsity",)


def scale_of(name: str) -> Scale:
    """On which scale a number of a run's summary is averaged over several runs.

    Args:
        name: A metric, ``objective``, ``weights/…``, ``penalty/…`` or ``gap/…``.

    >>> scale_of("test/loss"), scale_of("test/accuracy"), scale_of("gap/loss")
    ('log', 'fraction', 'linear')
    """
    if name in METRICS:
        return METRICS[name].scale
    if name in _FRACTIONS:
        return "fraction"
    return "log" if name in _POSITIVE or name.startswith("penalty/") else "linear"


def default_metric(*, has_validation: bool, has_test: bool = True) -> Metric:
    """What is compared where nobody chose: `val/loss`, else `test/loss`, else `train/loss`.

    has_test: whether there is a test set.
    """
    if has_validation:
        return Metric("val", "loss")
    return Metric("test" if has_test else "train", "loss")
