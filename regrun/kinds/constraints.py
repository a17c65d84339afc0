"""The table of constraints: projections of the weights after every optimizer step."""

from __future__ import annotations

from typing import ClassVar, Literal

from regrun.kinds.base import WEIGHT_ONLY, Positive, Section, Selector


class Constraint(Section):
    """Keys that every constraint has."""

    formula: ClassVar[str]
    reference: ClassVar[str]

    apply_to: Selector = WEIGHT_ONLY
    """Roles (`weight`, `bias`, `norm`), name patterns, or `all`."""


class MaxNorm(Constraint):
    """Each neuron's incoming weight vector is scaled back to at most `limit`."""

    formula: ClassVar[str] = "w ← w · min(1, c / ‖w‖₂)"
    reference: ClassVar[str] = "Srivastava et al. 2014, §5.1"
    type: Literal["max_norm"]
    limit: Positive
    """c, the largest ‖w‖₂."""


class UnitNorm(Constraint):
    """Each neuron's incoming weight vector is scaled to norm 1; a zero vector stays."""

    formula: ClassVar[str] = "w ← w / ‖w‖₂"
    reference: ClassVar[str] = "Keras, UnitNorm"
    type: Literal["unit_norm"]


class NonNegative(Constraint):
    """Negative entries become 0."""

    formula: ClassVar[str] = "w ← max(w, 0)"
    reference: ClassVar[str] = "Keras, NonNeg"
    type: Literal["non_negative"]
