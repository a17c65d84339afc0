"""Constraints: projections of the weights after every optimizer step, member by member.

A neuron's incoming weight vector is one slice of a parameter along its first axis: a row of a
dense layer, a filter of a convolution. A parameter of one axis (a bias) is one vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from regrun.kinds.constraints import Constraint, MaxNorm
from regrun.nn.roles import Role, select


def max_norm_(weight: Tensor, limit: Tensor) -> None:
    """argmin_v ‖v − w‖² subject to ‖v‖₂ ≤ limit, for each neuron's incoming vector w.

    weight: (K, out, in, ...), changed in place; limit: (K,), inf leaves a member alone.
    Srivastava et al. 2014, §5.1.
    """
    norm = _neuron_norms(weight)
    bound = _against(limit.to(weight.dtype), norm)
    weight.mul_(torch.where(norm > bound, bound / norm, 1.0))


def unit_norm_(weight: Tensor, active: Tensor) -> None:
    """argmin_v ‖v − w‖² subject to ‖v‖₂ = 1, for each neuron's incoming vector w; 0 stays 0.

    weight: (K, out, in, ...), changed in place; active: (K,), bool.
    """
    norm = _neuron_norms(weight)
    weight.div_(torch.where(_against(active, norm) & (norm > 0), norm, 1.0))


def non_negative_(weight: Tensor, active: Tensor) -> None:
    """argmin_v ‖v − w‖² subject to v ≥ 0, entry by entry.

    weight: (K, ...), changed in place; active: (K,), bool.
    """
    floor = torch.where(active, 0.0, -torch.inf).to(weight.dtype)
    weight.clamp_(min=_against(floor, weight))


CONSTRAINTS: Mapping[str, Callable[[Tensor, Tensor], None]] = {
    "max_norm": max_norm_,
    "unit_norm": unit_norm_,
    "non_negative": non_negative_,
}
"""The schema's `type` → the projection."""


class StackedConstraints:
    """The constraints of K members over one model, each in the order of its own list."""

    def __init__(
        self,
        lists: Sequence[Sequence[Constraint]],
        roles: Mapping[str, Role],
        device: torch.device | str = "cpu",
    ) -> None:
        """lists: each member's constraints; roles: parameter name → role; device: the weights'.

        Raises ConfigError when an `apply_to` chooses nothing.
        """
        rows: dict[tuple[int, str, frozenset[str]], list[float | bool]] = {}
        for member, constraints in enumerate(lists):
            for index, constraint in enumerate(constraints):
                chosen = select(constraint.apply_to, roles, f"constraints.{index}.apply_to")
                kind = constraint_type(constraint)
                absent: float | bool = torch.inf if isinstance(constraint, MaxNorm) else False
                row = rows.setdefault((index, kind, chosen), [absent] * len(lists))
                row[member] = constraint.limit if isinstance(constraint, MaxNorm) else True
        # Position in the list first: members share no entry, so among equals order is free.
        ordered = sorted(rows.items(), key=lambda item: item[0][0])
        self._terms = [
            (CONSTRAINTS[kind], [name for name in roles if name in chosen], _numbers(row, device))
            for (_, kind, chosen), row in ordered
        ]

    def __bool__(self) -> bool:
        """Whether there is anything to project."""
        return bool(self._terms)

    @torch.no_grad()
    def project_(self, parameters: Mapping[str, Tensor]) -> None:
        """Project in place. parameters: name → (K, ...)."""
        for project, names, row in self._terms:
            for name in names:
                project(parameters[name], row)


def constraint_type(constraint: Constraint) -> str:
    """The section's `type`, which every subclass declares as a literal of its own."""
    return str(constraint.type)  # type: ignore[attr-defined]


def _numbers(row: Sequence[float | bool], device: torch.device | str) -> Tensor:
    """(K,): bool as it is, limits in float64 until the weights' dtype is known."""
    dtype = torch.bool if isinstance(row[0], bool) else torch.float64
    return torch.tensor(row, dtype=dtype, device=device)


def _neuron_norms(weight: Tensor) -> Tensor:
    """(K, out, 1, ...) for two axes and more beside the stack's, (K, 1) for one."""
    first = 2 if weight.dim() > 2 else 1
    axes = tuple(range(first, weight.dim()))
    norms: Tensor = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
    return norms


def _against(numbers: Tensor, like: Tensor) -> Tensor:
    """(K,) → (K, 1, …, 1) with as many axes as `like`."""
    return numbers.view(-1, *[1] * (like.dim() - 1))
