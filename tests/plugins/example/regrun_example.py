"""A model, a dataset and a penalty for regrun."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from regrun.kinds.datasets import DatasetSection, Subset
from regrun.kinds.models import ModelSection
from regrun.kinds.penalties import WeightPenalty

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
