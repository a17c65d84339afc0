"""Learning-rate schedules: a multiplier of the learning rate for every step."""

from __future__ import annotations

from typing import ClassVar, Literal

from regrun.kinds.base import Count, NonNegative, Positive, Rate, Section


class Schedule(Section):
    """Keys that every schedule has. A schedule multiplies the learning rate, step by step."""

    formula: ClassVar[str]
    reference: ClassVar[str]

    warmup_epochs: NonNegative = 0.0
    """Linear warm-up: over these epochs the multiplier rises from `warmup_start` to 1, and the
    schedule proper starts after them."""
    warmup_start: Rate = 0.0


class Constant(Schedule):
    """The multiplier stays 1."""

    formula: ClassVar[str] = "s = 1"
    reference: ClassVar[str] = "torch.optim without a scheduler"
    type: Literal["constant"]


class StepDecay(Schedule):
    """Multiplied by `gamma` every `step_size` epochs."""

    formula: ClassVar[str] = "s = γ^⌊epoch / step_size⌋"
    reference: ClassVar[str] = "torch, StepLR"
    type: Literal["step"]
    step_size: Count
    """In epochs."""
    gamma: Positive = 0.1


class Cosine(Schedule):
    """Half a cosine from 1 to `min_factor`, updated every step."""

    formula: ClassVar[str] = "s = f + (1−f) ½ (1 + cos(π t / T)),  f: min_factor"
    reference: ClassVar[str] = (
        "Loshchilov & Hutter 2017, without restarts; torch, CosineAnnealingLR"
    )
    type: Literal["cosine"]
    min_factor: Rate = 0.0
