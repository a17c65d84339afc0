"""Penalties on hidden activations: the outputs of the hidden layers' activation functions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from regrun.errors import Problem
from regrun.kinds.penalties.base import Penalty, sum_expressions

if TYPE_CHECKING:
    from torch import Tensor

    from regrun.config.schema import Config


class ActivityPenalty(Penalty):
    """λ · scale · mean over the batch of Σ entries(h)."""

    needs: ClassVar[str] = "hidden activations: mlp and cnn"
    method: Literal["gradient"] = "gradient"
    """gradient: its gradient is added to that of the loss."""

    @property
    def scale(self) -> float:
        """Factor on the sum at strength 1."""
        return 1.0

    @abstractmethod
    def entries(self, hidden: Tensor) -> Tensor:
        """The summands: (K, B, …) of one layer → the same shape. Depends on the kind alone."""

    def place(self) -> str:
        return "hidden activations h, summed over units, mean over the batch"

    def conflicts(self, config: Config) -> Iterator[Problem]:
        yield from super().conflicts(config)
        why = config.model.no_hidden_activations
        if why:
            yield Problem(
                ("type",), f"{self.kind} needs hidden activations; {config.model.kind} {why}"
            )


class ActivityL1(ActivityPenalty):
    """Absolute outputs of the hidden activation functions, summed over units (sparse activity)."""

    formula: ClassVar[str] = "λ mean_batch Σ_units |h|"
    reference: ClassVar[str] = "Glorot et al. 2011, §3; Keras, ActivityRegularization"
    type: Literal["activity_l1"]

    def entries(self, hidden: Tensor) -> Tensor:
        return hidden.abs()

    def expressions(self) -> tuple[str, str]:
        return sum_expressions(self.strength, 0.0, "h")


class ActivityL2(ActivityPenalty):
    """Squared outputs of the hidden activation functions, summed over units."""

    formula: ClassVar[str] = "½ λ mean_batch Σ_units h²  (half: false: without the ½)"
    reference: ClassVar[str] = "Merity et al. 2017; Keras, ActivityRegularization"
    type: Literal["activity_l2"]
    half: bool = True
    """False: without the ½, as Keras."""

    @property
    def scale(self) -> float:
        return 0.5 if self.half else 1.0

    def entries(self, hidden: Tensor) -> Tensor:
        return hidden.square()

    def expressions(self) -> tuple[str, str]:
        return sum_expressions(0.0, self.strength * self.scale, "h")
