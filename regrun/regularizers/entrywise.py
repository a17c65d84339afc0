"""Penalties a Σ|w| + q Σw², whose gradient is entrywise: a sign(w) + 2q w, with sign(0) = 0.

On parameters the optimizer adds it while it walks over them (`add_gradient`), and values are only
needed for the log. On activations autograd goes through the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regrun.kinds.penalties import L1, L2, ActivityL1, ActivityL2, ElasticNet, Penalty


class Coefficients(NamedTuple):
    """A penalty a Σ|w| + q Σw²."""

    absolute: float
    """a"""
    square: float
    """q"""


NOTHING = Coefficients(0.0, 0.0)


def _absolute(penalty: L1 | ActivityL1) -> Coefficients:
    return Coefficients(penalty.strength, 0.0)


def _square(penalty: L2 | ActivityL2) -> Coefficients:
    return Coefficients(0.0, penalty.strength * (0.5 if penalty.half else 1.0))


def _elastic_net(penalty: ElasticNet) -> Coefficients:
    smooth = penalty.strength * (1 - penalty.l1_ratio)
    return Coefficients(
        penalty.strength * penalty.l1_ratio, smooth * (0.5 if penalty.half else 1.0)
    )


ENTRYWISE: Mapping[str, Callable[[Any], Coefficients]] = {
    "l1": _absolute,
    "l2": _square,
    "elastic_net": _elastic_net,
}
"""The schema's `type` → a and q of one penalty section; w are weights."""

ACTIVITY: Mapping[str, Callable[[Any], Coefficients]] = {
    "activity_l1": _absolute,
    "activity_l2": _square,
}
"""The same; w are hidden activations, and the sums are means over the batch."""


def penalty_type(penalty: Penalty) -> str:
    """The section's `type`, which every subclass declares as a literal of its own."""
    return str(penalty.type)  # type: ignore[attr-defined]


def is_proximal(penalty: Penalty) -> bool:
    """Whether the section's `method` is proximal."""
    return penalty.method == "proximal"


def coefficients(penalty: Penalty) -> Coefficients:
    """The numbers a and q of a section of `ENTRYWISE` or `ACTIVITY`."""
    return {**ENTRYWISE, **ACTIVITY}[penalty_type(penalty)](penalty)


@dataclass(frozen=True)
class EntrywiseTerm:
    """What all penalties together add to the gradient of one parameter: sign·sign(w) + linear·w."""

    parameter: str
    sign: Tensor
    """(K,), float64."""
    linear: Tensor
    """(K,), float64."""


def add_gradient(
    weight: Tensor,
    gradient: Tensor,
    sign: Tensor | None,
    linear: Tensor | None,
    total: Tensor,
    scratch: Tensor,
) -> Tensor:
    """The sum gradient + sign·sign(weight) + linear·weight, without allocating anything.

    weight, gradient, total, scratch: one shape; sign, linear: broadcast against it, None when
    nothing is to be added. Returns `total`, overwritten, or `gradient` itself when there was
    nothing to add; neither weight nor gradient is changed.
    """
    if sign is not None:
        torch.sign(weight, out=scratch)
        gradient = torch.addcmul(gradient, scratch, sign, out=total)
    if linear is not None:
        gradient = torch.addcmul(gradient, weight, linear, out=total)
    return gradient


class EntrywiseSum:
    """One entrywise penalty under one label, on one choice of parameters, for the log.

    members: each member's own section, None where it has none; all of one type. An elastic net
    has its two parts beside it, under `<label>/l1` and `<label>/l2`.
    """

    def __init__(
        self, label: str, parameters: Sequence[str], members: Sequence[Penalty | None]
    ) -> None:
        self._label, self._parameters = label, tuple(parameters)
        self._coefficients = [NOTHING if m is None else coefficients(m) for m in members]
        self._parts = any(isinstance(member, ElasticNet) for member in members)

    def values(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Label → (K,)."""
        absolute, square = value(
            self._coefficients, [parameters[name] for name in self._parameters]
        )
        parts = {f"{self._label}/l1": absolute, f"{self._label}/l2": square}
        return {self._label: absolute + square, **(parts if self._parts else {})}


def value(members: Sequence[Coefficients], weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Each member's a Σ|w| and q Σw² over all entries of the weights.

    members: K pairs (a, q); weights: at least one, (K, ...) each. Returns (K,), (K,) in the
    weights' dtype; differentiable. A coefficient of 0 gives 0 whatever the weights are.
    """
    absolute, square = weights[0].new_tensor(members).unbind(dim=1)
    parts = []
    for coefficient, entry in ((absolute, torch.abs), (square, torch.square)):
        if not coefficient.any():
            parts.append(torch.zeros_like(coefficient))
            continue
        sums = torch.stack([entry(weight).flatten(1).sum(dim=1) for weight in weights]).sum(dim=0)
        parts.append(torch.where(coefficient == 0, 0.0, coefficient * sums))
    return parts[0], parts[1]
