"""The penalties of a stack whose members may have different ones: what each adds, and where.

Entrywise penalties on parameters reach the optimizer as two numbers per member (`entrywise`) and
proximal ones as what to do after its step (`proximal`); all others are differentiated together
with the loss (`differentiable`). `values` has them all, for the log.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from regrun.errors import ConfigError
from regrun.kinds.penalties import ElasticNet, GroupLasso, Penalty, WeightPenalty
from regrun.nn.roles import Role, select
from regrun.regularizers.activity import ENTRIES, ActivityTerm
from regrun.regularizers.entrywise import (
    ENTRYWISE,
    EntrywiseSum,
    EntrywiseTerm,
    coefficients,
    is_proximal,
    penalty_type,
)
from regrun.regularizers.proximal import ProximalTerm
from regrun.regularizers.structured import (
    STRUCTURED,
    Groups,
    StructuredTerm,
    check_shape,
    structure_of,
)

PENALTIES: tuple[str, ...] = (*ENTRYWISE, *STRUCTURED, *ENTRIES)
"""Every `type` of the schema that is implemented here; plug-ins bring their own."""

_Chosen = list[tuple[Penalty, tuple[str, ...]]]
"""A member's penalties, each with the names of its parameters."""


class StackedPenalties:
    """The penalties of K members over one model.

    A label is `<type>`, or `<type>_2`, `<type>_3`, … for the second and further penalties of
    one type in a member's own list; an elastic net has its two parts beside it, under
    `elastic_net/l1` and `elastic_net/l2`.
    """

    def __init__(
        self,
        lists: Sequence[Sequence[Penalty]],
        roles: Mapping[str, Role],
        shapes: Mapping[str, Sequence[int]] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """lists: each member's penalties; roles: parameter name → role, in the model's order;
        shapes: of one member's parameters; device: the weights'.

        Raises ConfigError when an `apply_to` chooses nothing, or (with shapes) what a penalty has
        no meaning for; and when the groups of two proximal penalties overlap.
        """
        rows: dict[tuple[str, str, tuple[str, ...]], list[Penalty | None]] = {}
        labels: list[tuple[str, ...]] = []
        members: list[_Chosen] = []
        for member, penalties in enumerate(lists):
            chosen = list(_choose(penalties, roles, shapes or {}))
            members.append(chosen)
            counts: dict[str, int] = {}
            own: list[str] = []
            for penalty, names in chosen:
                kind = penalty_type(penalty)
                counts[kind] = counts.get(kind, 0) + 1
                label = kind if counts[kind] == 1 else f"{kind}_{counts[kind]}"
                key = (label, structure_of(penalty), names)
                row = rows.setdefault(key, [None] * len(lists))
                row[member] = penalty
                parts = (f"{label}/l1", f"{label}/l2") if isinstance(penalty, ElasticNet) else ()
                own += [label, *parts]
            labels.append(tuple(own))
        self.labels: tuple[tuple[str, ...], ...] = tuple(labels)
        """The labels that each member has by itself, in the order of its list."""
        self._entrywise: list[EntrywiseSum] = []
        self._structured: list[StructuredTerm] = []
        self._activity: list[ActivityTerm] = []
        for (label, _, names), row in rows.items():
            kind = next(penalty_type(each) for each in row if each is not None)
            if kind in ENTRIES:
                self._activity.append(ActivityTerm(label, kind, row, device))
            elif names and kind in ENTRYWISE:
                self._entrywise.append(EntrywiseSum(label, names, row))
            elif names:
                self._structured.append(StructuredTerm(label, names, row, device))
        on_each = {
            name: [[penalty for penalty, names in own if name in names] for own in members]
            for name in roles
        }
        self.entrywise: list[EntrywiseTerm] = list(_entrywise(on_each))
        """Per parameter with such a penalty, what the optimizer adds to its gradient."""
        self.proximal: list[ProximalTerm] = [term.to(device) for term in _proximal(on_each)]
        """Per parameter with such a penalty, what the optimizer does after its step."""

    @property
    def activity_types(self) -> list[str]:
        """The types of penalties on hidden activations that there are."""
        return list(dict.fromkeys(term.kind for term in self._activity))

    def values(
        self, parameters: Mapping[str, Tensor], activity: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Label → what it adds to each member's objective, strength included: (K,).

        activity: type → mean over the examples of Σ|h| or Σh², (K,); for `activity_types`.
        """
        measured = [term.values(parameters) for term in self._entrywise]
        measured += [term.values(parameters) for term in self._structured]
        measured += [term.values(activity or {}) for term in self._activity]
        values: dict[str, Tensor] = {}
        for found in measured:
            for label, amount in found.items():
                values[label] = values[label] + amount if label in values else amount
        return values

    def total(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The sum of each member's penalties on parameters: (K,)."""
        some = next(iter(parameters.values()))
        total = some.new_zeros(some.shape[0])
        for label, amount in self.values(parameters).items():
            if "/" not in label:
                total = total + amount
        return total

    def differentiable(
        self, parameters: Mapping[str, Tensor], hidden: Sequence[Tensor] = ()
    ) -> Tensor | None:
        """The penalties that autograd must differentiate together with the loss: (K,).

        hidden: the batch's hidden activations, (K, B, ...) each, when there are `activity_types`.
        None: there are none. Entrywise and proximal penalties are not among them.
        """
        found = [term.objective(parameters) for term in self._structured]
        found += [term.objective(hidden) for term in self._activity]
        amounts = [amount for amount in found if amount is not None]
        return torch.stack(amounts).sum(0) if amounts else None


def _choose(
    penalties: Sequence[Penalty],
    roles: Mapping[str, Role],
    shapes: Mapping[str, Sequence[int]],
) -> Iterator[tuple[Penalty, tuple[str, ...]]]:
    """Each penalty with the parameters it is on, in the model's order; checked."""
    grouped: dict[str, str] = {}
    for index, penalty in enumerate(penalties):
        path = f"penalty.{index}"
        names: tuple[str, ...] = ()
        if isinstance(penalty, WeightPenalty):
            chosen = select(penalty.apply_to, roles, f"{path}.apply_to")
            names = tuple(name for name in roles if name in chosen)
        for name in names:
            if name in shapes:
                check_shape(penalty, name, shapes[name], path)
            if isinstance(penalty, GroupLasso) and is_proximal(penalty):
                # Only groups that are equal or apart have a prox of their sum.
                if (grouped.get(name, penalty.groups) == "out") != (penalty.groups == "out"):
                    raise ConfigError.at(
                        f"{path}.groups",
                        f"{penalty.groups}: another proximal group_lasso has groups "
                        f"{grouped[name]} on {name}, and groups that overlap have no joint "
                        "proximal step; use one kind, or method: gradient for one",
                    )
                grouped[name] = penalty.groups
        yield penalty, names


def _columns(
    members: Sequence[Sequence[Penalty]], *, proximal: bool
) -> tuple[list[float], list[float]]:
    """A and q of each member's entrywise penalties of one method, added up."""
    pairs = [
        [
            coefficients(p)
            for p in own
            if penalty_type(p) in ENTRYWISE and is_proximal(p) == proximal
        ]
        for own in members
    ]
    # fsum rounds once, so the order of the penalties cannot matter.
    return (
        [math.fsum(pair.absolute for pair in own) for own in pairs],
        [math.fsum(pair.square for pair in own) for own in pairs],
    )


def _entrywise(
    on_each: Mapping[str, Sequence[Sequence[Penalty]]],
) -> Iterator[EntrywiseTerm]:
    for name, members in on_each.items():
        sign, square = _columns(members, proximal=False)
        if any(sign) or any(square):
            exact = torch.float64
            linear = 2 * torch.tensor(square, dtype=exact)
            yield EntrywiseTerm(name, torch.tensor(sign, dtype=exact), linear)


def _proximal(on_each: Mapping[str, Sequence[Sequence[Penalty]]]) -> Iterator[ProximalTerm]:
    for name, members in on_each.items():
        absolute, square = _columns(members, proximal=True)
        groups: dict[Groups, list[float]] = {}
        for member, own in enumerate(members):
            for penalty in own:
                if isinstance(penalty, GroupLasso) and is_proximal(penalty) and penalty.strength:
                    row = groups.setdefault(penalty.groups, [0.0] * len(members))
                    row[member] += penalty.strength
        if any(absolute) or any(square) or groups:
            yield ProximalTerm(
                name,
                torch.tensor(absolute, dtype=torch.float64),
                torch.tensor(square, dtype=torch.float64),
                {kind: torch.tensor(row, dtype=torch.float64) for kind, row in groups.items()},
            )
