"""Sums of absolute values and of squares: lasso, ridge, elastic net."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from regrun.kinds.base import PER_MEMBER
from regrun.kinds.penalties.base import METHODS, Coefficients, EntrywisePenalty, Method


class L1(EntrywisePenalty):
    """Sum of absolute values (lasso)."""

    formula: ClassVar[str] = "λ Σ|w|"
    reference: ClassVar[str] = "Tibshirani 1996; proximal: Daubechies et al. 2004"
    methods: ClassVar[tuple[str, ...]] = METHODS
    type: Literal["l1"]
    method: Method = "gradient"
    """gradient: λ sign(w), 0 at 0, never makes exact zeros. proximal: moves w towards 0 by η λ, at
    most to 0, after the step; with sgd and fista."""

    def coefficients(self) -> Coefficients:
        return Coefficients(1.0, 0.0)

    def on_one_logit(self) -> L1:
        return self


class L2(EntrywisePenalty):
    """Sum of squares (ridge, Tikhonov)."""

    formula: ClassVar[str] = "½ λ Σ w²  (half: false: λ Σ w²)"
    reference: ClassVar[str] = "Hoerl & Kennard 1970"
    type: Literal["l2"]
    half: bool = True
    """True: ½ λ Σ w², which under plain SGD is `weight_decay: λ`. False: λ Σ w², as Keras."""
    method: Literal["gradient"] = "gradient"

    def coefficients(self) -> Coefficients:
        return Coefficients(0.0, 0.5 if self.half else 1.0)

    def on_one_logit(self) -> L2:
        return self.model_copy(update={"strength": self.strength / 2})


class ElasticNet(EntrywisePenalty):
    """L1 and L2 mixed by `l1_ratio`."""

    formula: ClassVar[str] = "λ (ρ Σ|w| + (1−ρ) ½ Σ w²)  (half: false: without the ½)"
    reference: ClassVar[str] = "Zou & Hastie 2005; scikit-learn's convention"
    methods: ClassVar[tuple[str, ...]] = METHODS
    parts: ClassVar[tuple[str, str] | None] = ("l1", "l2")
    type: Literal["elastic_net"]
    l1_ratio: Annotated[float, Field(ge=0, le=1), PER_MEMBER] = 0.5
    """ρ: 1 is all L1, 0 is all L2."""
    half: bool = True
    method: Method = "gradient"
    """proximal: moves w towards 0 by η λ ρ after the step and divides it by 1 + η λ (1−ρ), without
    `half` by 1 + 2 η λ (1−ρ); with sgd and fista."""

    def coefficients(self) -> Coefficients:
        return Coefficients(self.l1_ratio, (1 - self.l1_ratio) * (0.5 if self.half else 1.0))

    def on_one_logit(self) -> ElasticNet:
        ratio = self.l1_ratio
        alike = {"strength": self.strength * (1 + ratio) / 2, "l1_ratio": 2 * ratio / (1 + ratio)}
        return self.model_copy(update=alike)
