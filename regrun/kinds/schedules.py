"""The kinds of learning-rate schedules: a multiplier of the learning rate for every step."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from regrun.kinds.base import Count, NonNegative, Positive, Rate, Section

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Steps = NDArray[np.int64]


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

    def factors(self, steps: Steps, total_steps: int, steps_per_epoch: int) -> Array:
        import numpy as np

        drops = steps // (self.step_size * steps_per_epoch)
        with np.errstate(over="ignore"):
            return np.power(self.gamma, drops.astype(np.float64))

    def factor_symbols(self) -> str:
        return f"{self.gamma:g}^⌊epoch / {self.step_size}⌋"


class Cosine(Schedule):
    """Half a cosine from 1 to `min_factor`, updated every step."""

    formula: ClassVar[str] = "s = f + (1−f) ½ (1 + cos(π t / T)),  f: min_factor"
    reference: ClassVar[str] = (
        "Loshchilov & Hutter 2017, without restarts; torch, CosineAnnealingLR"
    )
    type: Literal["cosine"]
    min_factor: Rate = 0.0

    def factors(self, steps: Steps, total_steps: int, steps_per_epoch: int) -> Array:
        import numpy as np

        wave = (1 + np.cos(np.pi * steps / total_steps)) / 2
        return self.min_factor + (1 - self.min_factor) * wave

    def factor_symbols(self) -> str:
        least = self.min_factor
        low = f"{least:g} + {1 - least:g} · " if least else ""
        return f"{low}½ (1 + cos(π t/T))"
