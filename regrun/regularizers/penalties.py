"""Penalties of the objective, for a stack whose members may have different ones.

Every penalty here is a Σ|w| + q Σw² with numbers a and q of its own, so its gradient is
entrywise: a sign(w) + 2q w, with sign(0) = 0. The optimizer adds it while it walks over a
parameter (`add_gradient`); values are only needed for the log.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regrun.config.penalties import L1, L2, ElasticNet, PenaltySection
from regrun.models.groups import select
from regrun.models.roles import Role


class Coefficients(NamedTuple):
    """A penalty a Σ|w| + q Σw²."""

    absolute: float
    """a"""
    square: float
    """q"""


def _l1(penalty: L1) -> Coefficients:
    return Coefficients(penalty.strength, 0.0)


def _l2(penalty: L2) -> Coefficients:
    return Coefficients(0.0, penalty.strength * (0.5 if penalty.half else 1.0))


def _elastic_net(penalty: ElasticNet) -> Coefficients:
    smooth = penalty.strength * (1 - penalty.l1_ratio)
    return Coefficients(
        penalty.strength * penalty.l1_ratio, smooth * (0.5 if penalty.half else 1.0)
    )


PENALTIES: Mapping[str, Callable[[Any], Coefficients]] = {
    "l1": _l1,
    "l2": _l2,
    "elastic_net": _elastic_net,
}
"""The schema's `type` → a and q of one penalty section."""


def coefficients(penalty: PenaltySection) -> Coefficients:
    """The numbers a and q of a penalty section."""
    return PENALTIES[penalty_type(penalty)](penalty)


def penalty_type(penalty: PenaltySection) -> str:
    """The section's `type`, which every subclass declares as a literal of its own."""
    return str(penalty.type)  # type: ignore[attr-defined]


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


@dataclass(frozen=True)
class _Term:
    """One penalty of the log, over one choice of parameters; 0 where a member lacks it."""

    label: str
    parameters: tuple[str, ...]
    coefficients: tuple[Coefficients, ...]

    def values(self, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Each member's a Σ|w| and q Σw²: (K,), (K,). weights: (K, ...) each. Differentiable."""
        return value(self.coefficients, weights)


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


class StackedPenalties:
    """The penalties of K members over one model.

    A label is `<type>`, or `<type>_2`, `<type>_3`, … for the second and further penalties of
    one type in a member's own list; an elastic net has its two parts beside it, under
    `elastic_net/l1` and `elastic_net/l2`.
    """

    def __init__(
        self, lists: Sequence[Sequence[PenaltySection]], roles: Mapping[str, Role]
    ) -> None:
        """lists: each member's penalties; roles: parameter name → role, in the model's order.

        Raises ConfigError when an `apply_to` chooses nothing.
        """
        none = Coefficients(0.0, 0.0)
        rows: dict[tuple[str, tuple[str, ...]], list[Coefficients]] = {}
        labels: list[tuple[str, ...]] = []
        for member, penalties in enumerate(lists):
            counts: dict[str, int] = {}
            own: list[str] = []
            for index, penalty in enumerate(penalties):
                kind = penalty_type(penalty)
                counts[kind] = counts.get(kind, 0) + 1
                label = kind if counts[kind] == 1 else f"{kind}_{counts[kind]}"
                chosen = select(penalty.apply_to, roles, f"penalty.{index}.apply_to")
                names = tuple(name for name in roles if name in chosen)
                row = rows.setdefault((label, names), [none] * len(lists))
                row[member] = coefficients(penalty)
                own += [label, f"{label}/l1", f"{label}/l2"] if _is_sum(label) else [label]
            labels.append(tuple(own))
        self._terms = [_Term(label, names, tuple(row)) for (label, names), row in rows.items()]
        self.labels: tuple[tuple[str, ...], ...] = tuple(labels)
        """The labels that each member has by itself, in the order of its list."""
        self.entrywise: list[EntrywiseTerm] = self._collect(roles, len(lists))
        """Per penalised parameter, what the optimizer adds to its gradient."""

    def values(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Label → what it adds to each member's objective, strength included: (K,)."""
        values: dict[str, Tensor] = {}
        for term in self._terms:
            if not term.parameters:
                continue
            absolute, square = term.values([parameters[name] for name in term.parameters])
            found = {term.label: absolute + square}
            if _is_sum(term.label):
                found |= {f"{term.label}/l1": absolute, f"{term.label}/l2": square}
            for label, amount in found.items():
                values[label] = values[label] + amount if label in values else amount
        return values

    def total(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The sum of each member's penalties: (K,)."""
        some = next(iter(parameters.values()))
        total = some.new_zeros(some.shape[0])
        for label, amount in self.values(parameters).items():
            if "/" not in label:
                total = total + amount
        return total

    def differentiable(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        """The penalties that autograd must differentiate together with the loss: (K,).

        None: there are none. Entrywise penalties are not among them.
        """
        return None

    def _collect(self, roles: Mapping[str, Role], members: int) -> list[EntrywiseTerm]:
        terms = []
        for name in roles:
            rows = [term.coefficients for term in self._terms if name in term.parameters]
            # fsum rounds once, so the order of the penalties cannot matter.
            sign = [math.fsum(row[k].absolute for row in rows) for k in range(members)]
            linear = [math.fsum(2 * row[k].square for row in rows) for k in range(members)]
            if any(sign) or any(linear):
                exact = torch.float64
                terms.append(
                    EntrywiseTerm(
                        name, torch.tensor(sign, dtype=exact), torch.tensor(linear, dtype=exact)
                    )
                )
        return terms


def _is_sum(label: str) -> bool:
    return label.startswith("elastic_net")
