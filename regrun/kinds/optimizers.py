"""Optimizers: their keys, and what each can be combined with."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Strict, model_validator

from regrun.kinds.base import (
    PER_MEMBER,
    WEIGHT_ONLY,
    Choices,
    Described,
    Fraction,
    NonNegative,
    Positive,
    Rate,
    Section,
    Selector,
)

Decay = Literal["coupled", "decoupled", "decoupled_schedule"]
DECAYS = Choices(
    coupled=Described(
        "decay",
        "Added to the gradient before the moments: under plain SGD the L2 penalty.",
        formula="g ← g + λ w",
        reference="Krogh & Hertz 1991; torch's SGD and Adam",
    ),
    decoupled=Described(
        "decay",
        "Apart from the gradient, with the learning rate η.",
        formula="w ← w − η λ w",
        reference="Loshchilov & Hutter 2019, as torch's AdamW has it",
    ),
    decoupled_schedule=Described(
        "decay",
        "Apart from gradient and learning rate, with the schedule's multiplier s only.",
        formula="w ← w − s λ w",
        reference="Loshchilov & Hutter 2019, algorithm 2",
    ),
)


class Optimizer(Section):
    """Keys that every optimizer has."""

    formula: ClassVar[str]
    reference: ClassVar[str]
    own_decay: ClassVar[Decay] = "coupled"
    """What `decay: auto` means: this optimizer's own meaning in torch."""
    proximal: ClassVar[bool] = False
    """Whether `penalty.method: proximal` is defined: its steps are not scaled entry by entry."""

    lr: Annotated[Positive | None, PER_MEMBER]
    """Learning rate, before the schedule."""
    weight_decay: Annotated[
        NonNegative,
        Described(
            "decay",
            formula="g ← g + λ w, or w ← w − η λ w, or w ← w − s λ w: see `decay`",
            reference="Krogh & Hertz 1991",
        ),
    ] = 0.0
    """λ. The default is 0 for every optimizer (torch's AdamW has 0.01)."""
    decay: Annotated[Literal["auto"] | Decay, DECAYS] = "auto"
    """How `weight_decay` acts. auto: as in torch, decoupled with adamw, else coupled."""
    decay_on: Selector = WEIGHT_ONLY
    """Roles or name patterns that decay; `all` is torch's own default of everything."""
    sam: Annotated[
        NonNegative,
        Described("training", formula="g ← ∇L(w + ρ g / ‖g‖₂)", reference="Foret et al. 2021"),
    ] = 0.0
    """ρ of sharpness-aware minimisation: the gradient at the worst point nearby. Two passes a step;
    0 is none."""

    @property
    def resolved_decay(self) -> Decay:
        """`decay` with `auto` replaced by this optimizer's own meaning."""
        return self.own_decay if self.decay == "auto" else self.decay


class GivenRate(Optimizer):
    """Keys of the optimizers that cannot work out a learning rate."""

    lr: Positive
    """Learning rate, before the schedule."""


class SGD(GivenRate):
    """Stochastic gradient descent, with momentum or Nesterov's."""

    formula: ClassVar[str] = "b ← μ b + (1−τ) g;  w ← w − η b  (nesterov: w ← w − η (g + μ b))"
    reference: ClassVar[str] = "Robbins & Monro 1951; Sutskever et al. 2013, as torch has it"
    proximal: ClassVar[bool] = True
    name: Literal["sgd"] = "sgd"
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
    """Moments per entry; weight decay enters the gradient before them."""

    formula: ClassVar[str] = (
        "m ← β₁ m + (1−β₁) g;  v ← β₂ v + (1−β₂) g²;  "
        "w ← w − η · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)"
    )
    reference: ClassVar[str] = "Kingma & Ba 2015; amsgrad: Reddi et al. 2018"
    name: Literal["adam"]
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    amsgrad: bool = False


class AdamW(GivenRate):
    """Adam with decoupled weight decay."""

    formula: ClassVar[str] = "w ← w − η λ w;  then as adam"
    reference: ClassVar[str] = "Loshchilov & Hutter 2019"
    own_decay: ClassVar[Decay] = "decoupled"
    name: Literal["adamw"]
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    amsgrad: bool = False


class RMSprop(GivenRate):
    """Steps divided by the root of a moving average of squares."""

    formula: ClassVar[str] = "v ← α v + (1−α) g²;  w ← w − η g / (√v + ε)"
    reference: ClassVar[str] = "Tieleman & Hinton 2012; centered: Graves 2013"
    name: Literal["rmsprop"]
    alpha: Rate = 0.99
    eps: NonNegative = 1e-8
    momentum: Fraction = 0.0
    centered: bool = False


class Adagrad(GivenRate):
    """Steps divided by the root of the sum of squares."""

    formula: ClassVar[str] = "v ← v + g²;  w ← w − η g / (√v + ε)"
    reference: ClassVar[str] = "Duchi, Hazan & Singer 2011"
    name: Literal["adagrad"]
    lr_decay: NonNegative = 0.0
    eps: NonNegative = 1e-10
    initial_accumulator_value: NonNegative = 0.0


class Fista(Optimizer):
    """Accelerated proximal gradient descent over full batches."""

    formula: ClassVar[str] = (
        "w_k = prox(y_k − η ∇f(y_k));  y_k+1 = w_k + (t_k − 1) / t_k+1 · (w_k − w_k−1)"
    )
    reference: ClassVar[str] = "Beck & Teboulle 2009, §4"
    proximal: ClassVar[bool] = True
    name: Literal["fista"]
    lr: Annotated[Positive | None, PER_MEMBER] = None
    """Default, for linear models: 1/L, L the largest curvature that the objective can have."""
    restart: bool = True
    """Drop the momentum whenever it points uphill (O'Donoghue & Candès 2015, gradient scheme)."""
