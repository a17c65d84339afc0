"""A kind of each family for regrun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from regrun.plugins import (
    PER_MEMBER,
    Constraint,
    DatasetSection,
    ModelSection,
    Optimizer,
    Schedule,
    Subset,
    Tile,
    UpdateRule,
    WeightPenalty,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn


class Perceptron(ModelSection):
    """One hidden layer of tanh units."""

    name: Literal["perceptron"]
    units: int = 16

    def build(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        from torch import nn

        hidden = nn.Linear(prod(input_shape), self.units)
        return nn.Sequential(nn.Flatten(), hidden, nn.Tanh(), nn.Linear(self.units, num_outputs))


class Moons(Subset, DatasetSection):
    """Two half circles, one around the end of the other (scikit-learn)."""

    name: Literal["moons"]
    noise: float = 0.2

    def arrays(self) -> dict[str, np.ndarray]:
        from sklearn.datasets import make_moons

        x, y = make_moons(200, noise=self.noise, random_state=self.seed)
        return {"x": x, "y": y}


class Log(WeightPenalty):
    """Sum of logarithms, which lets large weights grow."""

    type: Literal["log"]
    formula: ClassVar[str] = "λ Σ log(1 + |w|)"
    reference: ClassVar[str] = "Candès, Wakin & Boyd 2008"

    def value(self, weight: Tensor) -> Tensor:  # (K, ...) → (K,), λ not included
        return weight.abs().log1p().flatten(1).sum(1)


class Box(Constraint):
    """Every entry is at most `bound` away from 0."""

    type: Literal["box"]
    formula: ClassVar[str] = "w ← min(max(w, −c), c),  c: bound"
    reference: ClassVar[str] = "Goldstein 1964"
    bound: Annotated[float, Field(gt=0), PER_MEMBER]

    def project_(self, weight: Tensor, numbers: Mapping[str, Tensor]) -> None:
        weight.clamp_(-numbers["bound"], numbers["bound"])


class Signum(Optimizer):
    """Steps along the sign of a moving average of the gradient."""

    name: Literal["signum"]
    formula: ClassVar[str] = "m ← β m + (1−β) g;  w ← w − η sign(m)"
    reference: ClassVar[str] = "Bernstein et al. 2018"
    beta: Annotated[float, PER_MEMBER] = 0.9

    @classmethod
    def slots(cls, members: Sequence[Any]) -> tuple[str, ...]:
        return ("exp_avg",)

    class Rule(UpdateRule[Any]):
        def update(self, tile: Tile, g: Tensor) -> None:
            mean = tile.state["exp_avg"]
            mean.lerp_(g, 1 - tile.numbers["beta"])
            tile.weight.addcmul_(mean.sign(), tile.numbers["minus_lr"])


class Polynomial(Schedule):
    """A power of the share of steps that are left."""

    type: Literal["polynomial"]
    formula: ClassVar[str] = "s = (1 − t/T)^q"
    reference: ClassVar[str] = "torch, PolynomialLR"
    power: float = 1.0

    def factors(self, steps: np.ndarray, total_steps: int, steps_per_epoch: int) -> np.ndarray:
        return (1 - steps / total_steps) ** self.power
