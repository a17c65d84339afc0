"""The `training` section."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from regrun.errors import Problem
from regrun.kinds.base import PER_MEMBER, Count, Described, Fraction, NonNegative, Positive, Section
from regrun.kinds.r_drop import RDrop
from regrun.metrics import Metric, MetricName

if TYPE_CHECKING:
    from regrun.config.schema import Config


def missing_for_metric(config: Config, metric: str) -> Iterator[str]:
    """Yield what a metric needs and the config surely lacks.

    `regrun.training.fit` checks again when the data are there.
    """
    dataset, average = config.dataset, config.training.missing_average(metric)
    if average is not None:
        yield f"{metric} needs {average}"
    validated = dataset.validation or dataset.may_have_validation
    if Metric.from_name(metric).split == "val" and not validated:
        yield f"{metric} needs dataset.validation"
    found = Metric.from_name(metric)
    if found.task not in (None, dataset.known_task or found.task):
        needs = "classes" if found.task == "classification" else "numbers to predict"
        yield f"{metric} needs {needs}; {dataset.kind} is {dataset.known_task}"
    elif found.has_key and found.quantity not in config.metrics:
        yield f"{metric} needs metrics: [{', '.join([*config.metrics, found.quantity])}]"


class EarlyStopping(Section):
    """Stop when the metric no longer improves."""

    metric: MetricName = "val/loss"
    """Watched at every evaluation. `ema/…` and `swa/…` are metrics of the weights averaged by `ema`
    and `swa`; patience counts only once `swa` has started."""
    patience: Annotated[Count, PER_MEMBER] = 10
    """Stop after this many evaluations without an improvement."""
    min_delta: NonNegative = 0.0
    """A change must exceed this to count as an improvement."""
    restore_best: bool = True
    """Keep the weights of the best evaluation instead of the last. `weights.safetensors` holds them
    even if the metric is that of an average, which is stored in `weights_ema.safetensors` or
    `weights_swa.safetensors`."""

    def conflicts(self, config: Config) -> Iterator[Problem]:
        """Yield what the watched metric needs and the config lacks."""
        for message in missing_for_metric(config, self.metric):
            yield Problem(("metric",), message)


class WeightAveraging(Section):
    """Stochastic weight averaging (SWA): the plain mean of weights seen during training."""

    start: Annotated[Count | Annotated[float, Field(gt=0, lt=1)], PER_MEMBER] = 0.75
    """Averaging starts with the weights after this epoch: an epoch, or a fraction of `epochs`,
    rounded up."""
    every: Annotated[Count, PER_MEMBER] = 1
    """Epochs between two averaged points."""
    lr: Annotated[Positive | None, PER_MEMBER] = None
    """Constant learning rate once averaging has started; by default the schedule continues."""

    def conflicts(self, config: Config) -> Iterator[Problem]:
        """Yield that averaging would start after the last epoch."""
        epochs = config.training.epochs
        if self.first_epoch(epochs) > epochs:
            message = f"{self.start} is not within the {epochs} training.epochs"
            yield Problem(("start",), message)

    def idle(self, config: Config, steps_per_epoch: int) -> Iterator[Problem]:
        """Yield that only one point is averaged."""
        if self.count(config.training.epochs, config.training.epochs) == 1:
            yield Problem((), "only one epoch is averaged, so the mean is its weights")

    def first_epoch(self, epochs: int) -> int:
        """The 1-based epoch after which averaging starts in a run of ``epochs`` epochs."""
        if isinstance(self.start, int):
            return self.start
        return ceil(round(self.start * epochs, 9))  # 0.07 · 100 is a little more than 7

    def count(self, epoch: int, epochs: int) -> int:
        """The number of points averaged after ``epoch`` of ``epochs`` epochs."""
        return max(0, (epoch - self.first_epoch(epochs)) // self.every + 1)


class Training(Section):
    """Epochs, batches, precision, clipping, averaging, early stopping and checkpoints."""

    epochs: Annotated[int, Field(ge=1, le=10**9)] = 100
    """Passes over the training examples."""
    batch_size: Count | Literal["full"] = 32
    """Examples of a step; full: all training examples."""
    evaluate_every: Count = 1
    """Epochs between evaluations; the last epoch is always evaluated."""
    evaluate_train: Literal["auto", "all"] | Count = "auto"
    """Training examples on which the train loss is evaluated: all of them, or a fixed random
    subset of this size. auto: at most 10,000."""
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    """bfloat16 uses autocast; the parameters stay in float32."""
    matmul: Literal["highest", "high"] = "highest"
    """Products of float32 matrices on a GPU. high: of TF32 numbers, which have 10 bits behind the
    point instead of 23, and are several times as fast. Convolutions use TF32 in any case."""
    compile: Literal["auto", "never", "always"] = "auto"
    """Whether steps are compiled by torch's Inductor into a few kernels, which takes up to a minute
    and needs a C++ compiler on a CPU. auto: where a run is long enough to pay for it; the guide
    has the rule. Compiled or not, results differ in rounding alone."""
    clip_value: Annotated[
        Positive | None,
        PER_MEMBER,
        Described(
            "training",
            formula="g ← min(max(g, −c), c), entry by entry",
            reference="Mikolov 2012; torch's clip_grad_value_",
        ),
    ] = None
    """c: each entry of the objective's gradient is clipped to [−c, c]."""
    clip_norm: Annotated[
        Positive | None,
        PER_MEMBER,
        Described(
            "training",
            formula="g ← g · min(1, c / ‖g‖₂)",
            reference="Pascanu et al. 2013; torch's clip_grad_norm_",
        ),
    ] = None
    """c: the objective's gradient over all parameters is scaled down to this norm, after
    `clip_value`. Weight decay is not clipped."""
    r_drop: Annotated[RDrop | None, RDrop.described()] = None
    """Classification only. Two passes a step, with two draws of the model's noise, whose
    predictions are to agree."""
    ema: Annotated[
        Fraction,
        Described(
            "training",
            formula="m ← β m + (1−β) w after every step;  m / (1 − βᵗ)",
            reference="Kingma & Ba 2015, §7.2",
            off=0.0,
            regularizes=False,  # an average is evaluated on its own; the weights stay as they are
        ),
    ] = 0.0
    """β of an exponential moving average of the weights, which is evaluated and stored in addition
    to them; 0 switches it off."""
    swa: Annotated[
        WeightAveraging | None,
        PER_MEMBER,
        Described(
            "training",
            formula="mean of w after epochs start, start + every, …",
            reference="Izmailov et al. 2018",
            regularizes=False,
        ),
    ] = None
    """Stochastic weight averaging; the mean is evaluated and stored in addition to the weights."""
    early_stopping: Annotated[
        EarlyStopping | None,
        PER_MEMBER,
        Described(
            "training",
            formula="end at epoch t when no later metric beats that of t − patience by min_delta",
            reference="Prechelt 1998",
        ),
    ] = None
    """Stop when the metric no longer improves, and keep the best weights."""
    checkpoint_every: Annotated[float, Field(ge=0)] = 30.0
    """Seconds between checkpoints; 0 writes one at every evaluation."""
    keep_checkpoint: bool = True
    """Keep the last checkpoint of a finished run, so that `regrun resume` can train it for more
    epochs. The runs of a sweep keep none."""
    histograms_every: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Epochs between histograms of all parameters, which are also stored at the start and the end:
    about 900 bytes a parameter tensor, time and run. 0 stores none."""
    test_examples: bool = False
    """Store the loss of each test example, and whether its class is right, measured once with the
    final weights: 5 bytes an example and run, 4 without classes, and 4 more in float64."""

    def conflicts(self, config: Config) -> Iterator[Problem]:
        """Yield that the optimizer takes no batches."""
        size, optimizer = self.batch_size, config.optimizer
        if size != "full" and optimizer.full_batch:
            message = f"{size}: {optimizer.kind} needs full; {optimizer.full_batch}"
            yield Problem(("batch_size",), message)

    @property
    def histogram_times(self) -> int:
        """How often the parameters are counted."""
        every = self.histograms_every
        return 1 + ceil(self.epochs / every) if every else 0

    def missing_average(self, metric: str) -> str | None:
        """The key that switches on the average that a metric is of; None if it is on."""
        average = Metric.from_name(metric).average
        kept = average is None or getattr(self, average)
        return None if kept else f"training.{average}"
