"""The kinds of learning-rate schedules: a multiplier of the learning rate for every step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from math import isnan, nan
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, Field, Strict

from regrun.errors import Problem
from regrun.kinds.base import Count, NonNegative, Positive, Rate, Section, listed, wrong
from regrun.metrics import Metric, MetricName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regrun.config.schema import Config

    Array = NDArray[np.float64]
    Steps = NDArray[np.int64]


def _ascending(epochs: tuple[int, ...]) -> tuple[int, ...]:
    if list(epochs) != sorted(set(epochs)):
        raise ValueError(f"{list(epochs)}: write each epoch once, in ascending order")
    return epochs


Milestones = Annotated[
    tuple[Count, ...], Strict(False), Field(min_length=1), AfterValidator(_ascending)
]


def _epochs(count: int) -> str:
    return f"{count:,} epoch{'s' * (count != 1)}"


class Memory(NamedTuple):
    """What a schedule that follows a metric has seen of it.

    Attributes:
        factor: Multiplies what `factors` returns.
        best: The best value so far; NaN before the first.
        waited: Evaluations in a row without a new best.
        resting: Evaluations left in which nothing is counted.
    """

    factor: float = 1.0
    best: float = nan
    waited: int = 0
    resting: int = 0


class Schedule(Section):
    """Keys that every schedule has, and the warm-up that all share.

    A kind is a subclass with a key `type`, a docstring, `formula`, `reference` and the method
    `factors`.
    """

    constant: ClassVar[bool] = False
    """Whether `factors` are always 1, so that they need not be computed."""
    depends_on_end: ClassVar[bool] = True
    """Whether `factors` use `total_steps`. Set it to False where they do not: a finished run can
    then be made longer."""

    warmup_epochs: NonNegative = 0.0
    """Linear warm-up: over these epochs the multiplier rises from `warmup_start` to 1, and the
    schedule proper starts after them."""
    warmup_start: Rate = 0.0
    """The multiplier at the start of the warm-up."""

    @abstractmethod
    def factors(self, steps: Steps, total_steps: int, steps_per_epoch: int) -> Array:
        """Return the multipliers of some steps after the warm-up.

        Args:
            steps: Steps, counted from 0 at the end of the warm-up, `(n,)`.
            total_steps: Steps of the run after the warm-up, at least 1.
            steps_per_epoch: Steps of one epoch.

        Returns:
            `(n,)`, float64.
        """

    @property
    def watched(self) -> str | None:
        """The metric that a key `metric` names; None if the measurements do not matter."""
        return None

    def idle(self, config: Config, steps_per_epoch: int) -> Iterator[Problem]:
        """Yield that a warm-up or a change of the multiplier lies after the end of the run."""
        epochs = config.training.epochs
        if self.warmup_epochs >= epochs:
            message = (
                f"{self.warmup_epochs:g}: the run ends after {_epochs(epochs)}, before "
                "the warm-up does"
            )
            yield Problem(("warmup_epochs",), message)
            return
        for key, values in self.changes().items():
            late = [value for value in values if value + self.warmup_epochs >= epochs]
            if late:
                after = f", {self.warmup_epochs:g} of them warm-up" if self.warmup_epochs else ""
                message = (
                    f"{', '.join(map(str, late))}: never reached, as the run ends after "
                    f"{_epochs(epochs)}{after}"
                )
                yield Problem((key,), message)

    def changes(self) -> Mapping[str, Sequence[int]]:
        """Return the epochs after the warm-up at which the multiplier first jumps, by their key.

        A run that ends before has a schedule that does less than its config says.
        """
        return {}

    def after(self, memory: Memory, measured: Mapping[str, float | int]) -> Memory:
        """Return what is remembered after an evaluation; `factor` holds from the next step on.

        Args:
            memory: What was remembered before it.
            measured: Metric → value.
        """
        return memory

    def factor_symbols(self) -> str:
        """Return the factor of step t in symbols, with this section's numbers."""
        return self.formula.removeprefix("s = ")

    def multipliers(self, steps: Steps, epochs: int, steps_per_epoch: int) -> Array:
        """Return what the learning rate is multiplied by at some steps.

        The warm-up takes W = round(`warmup_epochs` · `steps_per_epoch`) steps, t = 0 … W−1, with
        `warmup_start` + (1 − `warmup_start`) t / W, as torch's LinearLR. The schedule proper then
        starts at its own step 0.

        Args:
            steps: Steps of the run, counted from 0, `(n,)`.
            epochs: Epochs of the run.
            steps_per_epoch: Steps of one epoch.

        Returns:
            `(n,)`, float64.

        Example:
            >>> import numpy as np
            >>> schedule = Cosine(type="cosine", warmup_epochs=1)
            >>> schedule.multipliers(np.arange(6), epochs=3, steps_per_epoch=2).round(3)
            array([0.   , 0.5  , 1.   , 0.854, 0.5  , 0.146])
        """
        import numpy as np

        warmup = round(self.warmup_epochs * steps_per_epoch)
        total = max(epochs * steps_per_epoch - warmup, 1)
        proper = self.factors(np.maximum(steps - warmup, 0), total, steps_per_epoch)
        if proper.shape != steps.shape:
            raise wrong(
                self,
                "factors",
                f"gave shape {list(proper.shape)} for {len(steps)} steps; it has to give "
                f"{list(steps.shape)}, one factor for each step",
            )
        if warmup == 0:
            return proper
        rise = self.warmup_start + (1 - self.warmup_start) * steps / warmup
        return np.where(steps < warmup, rise, proper)

    def symbols(self) -> str:
        """Return the multiplier s_t in symbols, with this section's numbers."""
        if not self.warmup_epochs:
            return self.factor_symbols()
        return (
            f"{self.factor_symbols()}, after a linear rise from {self.warmup_start:g} to 1 over "
            f"{self.warmup_epochs:g} epochs"
        )

    @property
    def always_one(self) -> bool:
        """Whether no multiplier differs from 1."""
        return self.constant and self.warmup_epochs == 0


class Constant(Schedule):
    """The multiplier stays 1."""

    formula: ClassVar[str] = "s = 1"
    reference: ClassVar[str] = "torch.optim without a scheduler"
    constant: ClassVar[bool] = True
    depends_on_end: ClassVar[bool] = False
    type: Literal["constant"]

    def factors(self, steps: Steps, total_steps: int, steps_per_epoch: int) -> Array:
        import numpy as np

        return np.ones(len(steps))


class StepDecay(Schedule):
    """Multiplied by `gamma` every `step_size` epochs."""

    formula: ClassVar[str] = "s = γ^⌊epoch / step_size⌋"
    reference: ClassVar[str] = "torch, StepLR"
    depends_on_end: ClassVar[bool] = False
    type: Literal["step"]
    step_size: Count
    """In epochs."""
    gamma: Positive = 0.1
    """The factor every `step_size` epochs."""

    def changes(self) -> Mapping[str, Sequence[int]]:
        return {"step_size": [self.step_size]}

    def factors(self, steps: Steps, total_steps: int, steps_per_epoch: int) -> Array:
        import numpy as np

        drops = steps // (self.step_size * steps_per_epoch)
        with np.errstate(over="ignore"):
            return np.power(self.gamma, drops.astype(np.float64))

    def factor_symbols(self) -> str:
        return f"{self.gamma:g}^⌊epoch / {self.step_size}⌋"


class MultiStep(Schedule):
    """Multiplied by `gamma` at each milestone."""

    formula: ClassVar[str] = "s = γ^(number of milestones ≤ epoch)"
    reference: ClassVar[str] = "torch, MultiStepLR"
    depends_on_end: ClassVar[bool] = False
    type: Literal["multistep"]
    milestones: Milestones
    """Completed epochs at which the multiplier drops, counted from the end of the warm-up."""
    gamma: Positive = 0.1
    """The factor at each milestone."""

    def changes(self) -> Mapping[str, Sequence[int]]:
        return {"milestones": self.milestones}

    def factors(self, steps: Steps, total_steps: int, steps_per_epoch: int) -> Array:
        import numpy as np

        drops = np.searchsorted(self.milestones, steps // steps_per_epoch, side="right")
        with np.errstate(over="ignore"):
            return np.power(self.gamma, drops.astype(np.float64))

    def factor_symbols(self) -> str:
        epochs = listed([f"{epoch}" for epoch in self.milestones])
        return f"{self.gamma:g}^(number of milestones {epochs} ≤ epoch)"


class Cosine(Schedule):
    """Half a cosine from 1 to `min_factor`, updated every step."""

    formula: ClassVar[str] = "s = f + (1−f) ½ (1 + cos(π t / T)),  f: min_factor"
    reference: ClassVar[str] = (
        "Loshchilov & Hutter 2017, without restarts; torch, CosineAnnealingLR"
    )
    type: Literal["cosine"]
    min_factor: Rate = 0.0
    """The multiplier at the end."""

    def factors(self, steps: Steps, total_steps: int, steps_per_epoch: int) -> Array:
        import numpy as np

        wave = (1 + np.cos(np.pi * steps / total_steps)) / 2
        return self.min_factor + (1 - self.min_factor) * wave

    def factor_symbols(self) -> str:
        least = self.min_factor
        low = f"{least:g} + {1 - least:g} · " if least else ""
        return f"{low}½ (1 + cos(π t/T))"


class CosineRestarts(Schedule):
    """Half a cosine from 1 to `min_factor`, which starts anew after each period."""

    formula: ClassVar[str] = (
        "s = f + (1−f) ½ (1 + cos(π t_i / T_i)),  T_i = T_0 · T_multⁱ,  f: min_factor"
    )
    reference: ClassVar[str] = "Loshchilov & Hutter 2017, §3; torch, CosineAnnealingWarmRestarts"
    depends_on_end: ClassVar[bool] = False
    type: Literal["cosine_restarts"]
    t_0: Count
    """Epochs of the first period."""
    t_mult: Count = 1
    """Each period is this many times as long as the one before."""
    min_factor: Rate = 0.0
    """The multiplier at the end of each period."""

    def changes(self) -> Mapping[str, Sequence[int]]:
        return {"t_0": [self.t_0]}

    def factors(self, steps: Steps, total_steps: int, steps_per_epoch: int) -> Array:
        import numpy as np

        first = self.t_0 * steps_per_epoch
        if self.t_mult == 1:
            share = (steps % first) / first
        else:
            starts, lengths, last = [0], [first], int(steps.max(initial=0))
            while starts[-1] + lengths[-1] <= last:
                starts.append(starts[-1] + lengths[-1])
                lengths.append(lengths[-1] * self.t_mult)
            period = np.searchsorted(starts, steps, side="right") - 1
            share = (steps - np.array(starts)[period]) / np.array(lengths, np.float64)[period]
        wave: Array = (1 + np.cos(np.pi * share)) / 2
        return self.min_factor + (1 - self.min_factor) * wave

    def factor_symbols(self) -> str:
        least = self.min_factor
        low = f"{least:g} + {1 - least:g} · " if least else ""
        period = f"{self.t_0}" + (f" · {self.t_mult}ⁱ" if self.t_mult > 1 else "")
        return f"{low}½ (1 + cos(π t_i/T_i)),  T_i = {period} epochs,  t_i since restart i"


class OneCycle(Schedule):
    """One rise from 1/`div_factor` to 1 and one fall far below; momentum does not cycle."""

    formula: ClassVar[str] = (
        "s = 1/d → 1 up to step pct_start T − 1, then → 1/(d · final_div_factor),  d: div_factor"
    )
    reference: ClassVar[str] = "Smith & Topin 2019; torch, OneCycleLR with cycle_momentum=False"
    type: Literal["one_cycle"]
    pct_start: Rate = 0.3
    """Share of the steps in which the multiplier rises."""
    div_factor: Positive = 25.0
    """`optimizer.lr`, the highest learning rate, over the first one."""
    final_div_factor: Positive = 1e4
    """The first learning rate over the last one."""
    anneal: Literal["cos", "linear"] = "cos"
    """The curve between these points: half a cosine, or a line."""

    def conflicts(self, config: Config) -> Iterator[Problem]:
        if self.warmup_epochs:
            message = (
                f"{self.warmup_epochs:g}: {self.kind} begins with a rise of its own, of the share "
                "pct_start of the steps; use 0"
            )
            yield Problem(("warmup_epochs",), message)

    def factors(self, steps: Steps, total_steps: int, steps_per_epoch: int) -> Array:
        import numpy as np

        first = 1 / self.div_factor
        end, peak = total_steps - 1, self.pct_start * total_steps - 1
        rise = steps.astype(np.float64) / (peak or 1.0)
        fall = (steps.astype(np.float64) - peak) / ((end - peak) or 1.0)
        return np.where(
            steps < peak,
            self._between(first, 1.0, rise),
            self._between(1.0, first / self.final_div_factor, fall),
        )

    def _between(self, start: float, end: float, share: Array) -> Array:
        import numpy as np

        if self.anneal == "cos":
            share = (1 - np.cos(np.pi * share)) / 2
        return start + (end - start) * share

    def factor_symbols(self) -> str:
        first = 1 / self.div_factor
        return (
            f"{first:g} → 1 → {first / self.final_div_factor:g} ({self.anneal}), "
            f"its peak after {self.pct_start:g} of the steps"
        )


class Plateau(Schedule):
    """Multiplied by `factor` when a metric stops improving."""

    formula: ClassVar[str] = (
        "s ← max(factor · s, min_factor) after more than `patience` evaluations without a new best"
    )
    reference: ClassVar[str] = "torch, ReduceLROnPlateau with eps=0"
    depends_on_end: ClassVar[bool] = False
    type: Literal["plateau"]
    metric: Literal["auto"] | MetricName = "auto"
    """Watched at every evaluation. auto: val/loss, or train/loss without a validation set. Metrics
    of the test set are refused."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """What the multiplier is multiplied by when the metric stops improving."""
    patience: Annotated[int, Field(ge=0, le=2**31 - 1)] = 10
    """Evaluations without a new best that are allowed; the one after them lowers the multiplier."""
    threshold: NonNegative = 1e-4
    """A new best must be better than the old one by more than this."""
    threshold_mode: Literal["rel", "abs"] = "rel"
    """Whether `threshold` is a share of the old best, or in the metric's own unit."""
    cooldown: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Evaluations after each drop in which none is counted."""
    min_factor: Rate = 0.0
    """The multiplier does not fall below it."""

    @property
    def watched(self) -> str | None:
        return None if self.metric == "auto" else self.metric

    def conflicts(self, config: Config) -> Iterator[Problem]:
        if self.watched and Metric.from_name(self.watched).split == "test":
            metric = Metric.from_name(self.watched)
            message = (
                f"{metric.name}: the learning rate must not follow the test set; "
                f"use {metric.on('val').name} or {metric.on('train').name}"
            )
            yield Problem(("metric",), message)

    def factors(self, steps: Steps, total_steps: int, steps_per_epoch: int) -> Array:
        import numpy as np

        return np.ones(len(steps))

    def after(self, memory: Memory, measured: Mapping[str, float | int]) -> Memory:
        name = self.watched or ("val/loss" if "val/loss" in measured else "train/loss")
        if name not in measured:  # the metric of an average that has not started
            return memory
        factor, best, waited, resting = memory
        if self._improves(measured[name], best, Metric.from_name(name).sign):
            best, waited = measured[name], 0
        else:
            waited += 1
        if resting:
            resting, waited = resting - 1, 0
        if waited > self.patience:
            factor = max(factor * self.factor, self.min_factor)
            waited, resting = 0, self.cooldown
        return Memory(factor, best, waited, resting)

    def idle(self, config: Config, steps_per_epoch: int) -> Iterator[Problem]:
        yield from super().idle(config, steps_per_epoch)
        training = config.training
        count = -(-training.epochs // training.evaluate_every)
        # The first evaluation is the first best; the multiplier acts on the steps after a drop.
        if self.patience + 2 >= count:
            has = f"{count:,} evaluation{'s' * (count != 1)}"
            message = f"{self.patience}: the run has {has}, too few for a drop"
            yield Problem(("patience",), message)

    def _improves(self, value: float, best: float, sign: int) -> bool:
        """Whether a value is a new best; sign: 1 where lower is better, else -1."""
        relative = self.threshold_mode == "rel"
        margin = sign * self.threshold
        bound = best * (1 - margin) if relative else best - margin
        return isnan(best) or sign * value < sign * bound

    def factor_symbols(self) -> str:
        low = f"max({self.factor:g} s, {self.min_factor:g})" if self.min_factor else ""
        metric = self.watched or "val/loss (or train/loss)"
        unit = " of it" if self.threshold_mode == "rel" else ""
        rest = f", not counting {self.cooldown} after each" if self.cooldown else ""
        row = f"{self.patience + 1} evaluations in a row" if self.patience else "an evaluation"
        return (
            f"s,  s ← {low or f'{self.factor:g} s'} after {row} in which {metric} is "
            f"not better than its best by {self.threshold:g}{unit}{rest}"
        )
