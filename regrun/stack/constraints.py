"""The constraints of a stack whose members may have different ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from regrun.kinds.base import expand_members
from regrun.kinds.constraints import Constraint
from regrun.nn.roles import Role, select
from regrun.stack.members import MemberMask


class StackedConstraints:
    """The constraints of K members over one model, each in the order of its own list."""

    def __init__(
        self,
        lists: Sequence[Sequence[Constraint]],
        roles: Mapping[str, Role],
        device: torch.device | str = "cpu",
    ) -> None:
        """lists: one per member. Raises ConfigError when an `apply_to` chooses nothing."""
        rows: dict[tuple[int, str, frozenset[str]], dict[int, Constraint]] = {}
        for member, constraints in enumerate(lists):
            for index, constraint in enumerate(constraints):
                chosen = select(constraint.apply_to, roles, f"constraints.{index}.apply_to")
                alike = constraint.model_dump_json(exclude={"apply_to", *constraint.numbers()})
                rows.setdefault((index, alike, chosen), {})[member] = constraint
        # Position in the list first: members share no entry, so among equals order is free.
        self._terms = [
            _Term([name for name in roles if name in chosen], row, len(lists), device)
            for (_, _, chosen), row in sorted(rows.items(), key=lambda item: item[0][0])
        ]

    def __bool__(self) -> bool:
        return bool(self._terms)

    @torch.no_grad()
    def project_(self, parameters: Mapping[str, Tensor]) -> None:
        """Project all parameters, (K, ...) each, in place."""
        for term in self._terms:
            term.project_(parameters)


class _Term:
    """Constraints that differ in their numbers only. members: row → its section."""

    def __init__(
        self,
        parameters: Sequence[str],
        members: Mapping[int, Constraint],
        size: int,
        device: torch.device | str,
    ) -> None:
        self._constraint = next(iter(members.values()))
        self._parameters = parameters
        self._mask = MemberMask([float(row in members) for row in range(size)], device)
        each = [members[row].numbers() for row in sorted(members)]
        self._numbers = {
            key: torch.tensor([own[key] for own in each], dtype=torch.float64, device=device)
            for key in each[0]
        }

    def project_(self, parameters: Mapping[str, Tensor]) -> None:
        """Project the members that have the constraint; the others keep every bit."""
        for name in self._parameters:
            weight = self._mask.take(parameters[name])
            numbers = {
                key: expand_members(column.to(weight.dtype), weight)
                for key, column in self._numbers.items()
            }
            self._constraint.project_(weight, numbers)
            self._mask.put_(parameters[name], weight)
