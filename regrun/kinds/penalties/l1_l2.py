"""Sums of absolute values and of squares: lasso, ridge, elastic net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, Strict

from regrun.errors import ConfigError
from regrun.kinds.base import PER_MEMBER
from regrun.kinds.penalties.base import (
    METHODS,
    Coefficients,
    EntrywisePenalty,
    Method,
    soft_threshold_,
    sum_expressions,
)

if TYPE_CHECKING:
    from typing import Self

    import torch
    from torch import Tensor

    from regrun.kinds.penalties.inputs import NetworkInputs

Factor = Annotated[float, Field(ge=0)]


class FactoredPenalty(EntrywisePenalty):
    """λ (a Σ f|w| + q Σ f w²), where a config gives each input of the network its factor f."""

    factors: Annotated[tuple[Factor, ...], Strict(False)] | dict[str, Factor] | None = None
    """Multiplies the strength for the weights of single inputs (adaptive lasso, Zou 2006; glmnet's
    `penalty.factor`, not rescaled): a list with one for each input, or column or input: factor,
    where all others have 1. 0: not penalised. Acts on the first layer alone, which is dense."""

    @property
    def uniform(self) -> bool:
        return self.factors is None

    @property
    def composable(self) -> bool:
        return self.uniform

    @property
    def input_key(self) -> str:
        return "" if self.uniform else "factors"

    def on_inputs(self, inputs: NetworkInputs, path: str) -> Self:
        """Return the penalty with a factor for each input, on their weights."""
        given, where = self.factors, f"{path}.factors"
        if isinstance(given, Mapping):
            found: dict[int, float] = {}
            for name, factor in given.items():
                for position in inputs.positions(name, where):
                    if found.setdefault(position, factor) != factor:
                        raise ConfigError.at(
                            where, f"{name!r}: input {position} has the factor {found[position]:g}"
                        )
            given = tuple(found.get(position, 1.0) for position in range(inputs.count))
        elif given is not None and len(given) != inputs.count:
            raise ConfigError.at(
                where,
                f"{len(given):,} factors for {inputs.count:,} inputs; give one for each, or "
                "name the inputs that have others than 1",
            )
        return self.model_copy(update={"factors": given, "apply_to": (inputs.parameter,)})

    def _listed(self) -> tuple[float, ...]:
        """The factors that there are; one for each input after `on_inputs`."""
        given = self.factors or ()
        return (*given.values(), 1.0) if isinstance(given, Mapping) else given

    def value(self, weight: Tensor) -> Tensor:
        if self.uniform:
            return super().value(weight)
        absolute, square = self.coefficients()
        factor = _as_tensor(self._listed(), weight.device).to(weight.dtype)
        entries = absolute * weight.abs() + square * weight.square()
        return (factor * entries).flatten(1).sum(1)

    def prox_(self, weight: Tensor, amount: Tensor) -> None:
        if self.uniform:
            super().prox_(weight, amount)
            return
        absolute, square = self.coefficients()
        amount = amount * _as_tensor(self._listed(), weight.device)
        soft_threshold_(weight, (amount * absolute).to(weight.dtype))
        weight.div_((1 + 2 * amount * square).to(weight.dtype))

    def curvature(self) -> float | None:
        known = super().curvature()
        return known * max(self._listed()) if known and self._listed() else known

    def expressions(self) -> tuple[str, str]:
        if self.uniform:
            return super().expressions()
        return sum_expressions(*self.scaled_coefficients, "w", "f")

    def proximal_symbols(self, name: str) -> list[tuple[int, str]]:
        if self.uniform:
            return super().proximal_symbols(name)
        a, q = self.scaled_coefficients
        step = f"(proximal step of {name})"
        return [
            *([(0, f"w ← sign(w) · max(0, |w| − η_t {a:g} f)   {step}")] if a else []),
            *([(2, f"w ← w / (1 + η_t {2 * q:g} f)   {step}")] if q else []),
        ]

    def place(self) -> str:
        return super().place() + ", f: the factor of the input" * (not self.uniform)

    def remark(self, shape: Sequence[int]) -> str:
        spared = self._listed().count(0.0)
        return f"; {spared} of its {shape[1]} inputs have the factor 0" * (spared > 0)

    def summary(self) -> dict[str, str | float]:
        span = (
            {}
            if self.uniform
            else {"factors": f"{min(self._listed()):g} to {max(self._listed()):g}"}
        )
        return {**super().summary(), **span}


@lru_cache(maxsize=256)
def _as_tensor(factors: tuple[float, ...], device: torch.device) -> Tensor:
    import torch

    return torch.tensor(factors, dtype=torch.float64, device=device)


class L1(FactoredPenalty):
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


class L2(FactoredPenalty):
    """Sum of squares (ridge, Tikhonov)."""

    formula: ClassVar[str] = "½ λ Σ w²  (half: false: λ Σ w²)"
    reference: ClassVar[str] = "Hoerl & Kennard 1970"
    type: Literal["l2"]
    half: bool = True
    """True: ½ λ Σ w², which under plain SGD is `weight_decay: λ`. False: λ Σ w², as Keras."""
    method: Literal["gradient"] = "gradient"
    """gradient: its gradient is added to that of the loss."""

    def coefficients(self) -> Coefficients:
        return Coefficients(0.0, 0.5 if self.half else 1.0)

    def on_one_logit(self) -> L2:
        return self.model_copy(update={"strength": self.strength / 2})


class ElasticNet(FactoredPenalty):
    """L1 and L2 mixed by `l1_ratio`."""

    formula: ClassVar[str] = "λ (ρ Σ|w| + (1−ρ) ½ Σ w²)  (half: false: without the ½)"
    reference: ClassVar[str] = "Zou & Hastie 2005; scikit-learn's convention"
    methods: ClassVar[tuple[str, ...]] = METHODS
    parts: ClassVar[tuple[str, str] | None] = ("l1", "l2")
    type: Literal["elastic_net"]
    l1_ratio: Annotated[float, Field(ge=0, le=1), PER_MEMBER] = 0.5
    """ρ: 1 is all L1, 0 is all L2."""
    half: bool = True
    """Whether Σ w² has a factor ½."""
    method: Method = "gradient"
    """proximal: moves w towards 0 by η λ ρ after the step and divides it by 1 + η λ (1−ρ), without
    `half` by 1 + 2 η λ (1−ρ); with sgd and fista."""

    def coefficients(self) -> Coefficients:
        return Coefficients(self.l1_ratio, (1 - self.l1_ratio) * (0.5 if self.half else 1.0))

    def on_one_logit(self) -> ElasticNet:
        ratio = self.l1_ratio
        alike = {"strength": self.strength * (1 + ratio) / 2, "l1_ratio": 2 * ratio / (1 + ratio)}
        return self.model_copy(update=alike)
