"""The table of optimizers and of learning-rate schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, Strict, model_validator

from regrun.config.base import (
    PER_MEMBER,
    WEIGHT_ONLY,
    Count,
    Fraction,
    NonNegative,
    Positive,
    Rate,
    Section,
    Selector,
)

Decay = Literal["coupled", "decoupled", "decoupled_schedule"]


class OptimizerSection(Section):
    """Keys that every optimizer has."""

    own_decay: ClassVar[Decay] = "coupled"
    """What `decay: auto` means: this optimizer's own meaning in torch."""
    proximal: ClassVar[bool] = False
    """Whether `penalty.method: proximal` is defined: its steps are not scaled entry by entry."""

    lr: Annotated[Positive | None, PER_MEMBER]
    """Learning rate, before the schedule."""
    weight_decay: NonNegative = 0.0
    """λ. The default is 0 for every optimizer (torch's AdamW has 0.01)."""
    decay: Literal["auto"] | Decay = "auto"
    """coupled: g ← g + λw before the moments. decoupled: w ← w − ηλw, with the learning rate η.
    decoupled_schedule: w ← w − s·λw, with the schedule's multiplier s only. auto: as in torch."""
    decay_on: Selector = WEIGHT_ONLY
    """Roles or name patterns that decay; `all` is torch's own default of everything."""
    sam: NonNegative = 0.0
    """ρ of sharpness-aware minimisation (Foret et al. 2021): the gradient at w + ρ g / ‖g‖ in place
    of g. Two passes a step; 0 is none."""

    @property
    def resolved_decay(self) -> Decay:
        """`decay` with `auto` replaced by this optimizer's own meaning."""
        return self.own_decay if self.decay == "auto" else self.decay


class GivenRate(OptimizerSection):
    """Keys of the optimizers that cannot work out a learning rate."""

    lr: Positive
    """Learning rate, before the schedule."""


class SGD(GivenRate):
    """Stochastic gradient descent, with momentum or Nesterov's."""

    proximal: ClassVar[bool] = True
    name: Literal["sgd"]
    momentum: Fraction = 0.0
    dampening: Rate = 0.0
    nesterov: bool = False
    """Nesterov's momentum; needs momentum above 0 and no dampening, as in torch."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                f"nesterov: true with momentum {self.momentum:g} and dampening "
                f"{self.dampening:g}; it needs momentum above 0 and dampening 0"
            )
        return self


Betas = Annotated[tuple[Fraction, Fraction], Strict(False), PER_MEMBER]


class Adam(GivenRate):
    """Adam (Kingma & Ba 2015); its weight decay enters the gradient before the moments."""

    name: Literal["adam"]
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    amsgrad: bool = False


class AdamW(GivenRate):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    own_decay: ClassVar[Decay] = "decoupled"
    name: Literal["adamw"]
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    amsgrad: bool = False


class RMSprop(GivenRate):
    """RMSprop (Tieleman & Hinton 2012), as torch has it."""

    name: Literal["rmsprop"]
    alpha: Rate = 0.99
    eps: NonNegative = 1e-8
    momentum: Fraction = 0.0
    centered: bool = False


class Adagrad(GivenRate):
    """Adagrad (Duchi, Hazan & Singer 2011)."""

    name: Literal["adagrad"]
    lr_decay: NonNegative = 0.0
    eps: NonNegative = 1e-10
    initial_accumulator_value: NonNegative = 0.0


class Fista(OptimizerSection):
    """Accelerated proximal gradient descent over full batches (Beck & Teboulle 2009)."""

    proximal: ClassVar[bool] = True
    name: Literal["fista"]
    lr: Annotated[Positive | None, PER_MEMBER] = None
    """Default, for linear models: 1/L, L the largest curvature that the objective can have."""
    restart: bool = True
    """Drop the momentum whenever it points uphill (O'Donoghue & Candès 2015, gradient scheme)."""


Optimizer = Annotated[SGD | Adam | AdamW | RMSprop | Adagrad | Fista, Field(discriminator="name")]


class ScheduleSection(Section):
    """Keys that every schedule has. A schedule multiplies the learning rate, step by step."""

    warmup_epochs: NonNegative = 0.0
    """Linear warm-up: over these epochs the multiplier rises from `warmup_start` to 1, and the
    schedule proper starts after them."""
    warmup_start: Rate = 0.0


class Constant(ScheduleSection):
    """The multiplier stays 1."""

    type: Literal["constant"]


class StepDecay(ScheduleSection):
    """Multiplied by `gamma` every `step_size` epochs (torch's StepLR)."""

    type: Literal["step"]
    step_size: Count
    """In epochs."""
    gamma: Positive = 0.1


class Cosine(ScheduleSection):
    """Half a cosine from 1 to `min_factor`, updated every step (Loshchilov & Hutter 2017)."""

    type: Literal["cosine"]
    min_factor: Rate = 0.0


def _named(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) and not isinstance(value, Mapping) else value


_Section = Annotated[Constant | StepDecay | Cosine, Field(discriminator="type")]

Schedule = Annotated[
    _Section,
    BeforeValidator(_named, json_schema_input_type=Literal["constant", "cosine"] | _Section),
]
