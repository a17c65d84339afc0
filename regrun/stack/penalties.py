"""The penalties of a stack whose members may have different ones: what each adds, and where.

Entrywise penalties reach the optimizer as two numbers per member (`entrywise`) and proximal ones as
what to do after its step (`proximal`); all others are differentiated together with the loss
(`differentiable`). `values` has them all, for the log.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from regrun.errors import ConfigError, Problem
from regrun.kinds.base import wrong
from regrun.kinds.penalties import (
    ActivityPenalty,
    Coefficients,
    EntrywisePenalty,
    Penalty,
    WeightPenalty,
)
from regrun.nn.roles import Role, select
from regrun.stack.members import MemberMask
from regrun.stack.penalty_terms import EntrywiseTerm, ProximalTerm


class StackedPenalties:
    """The penalties of K members over one model.

    A label is `<type>`, or `<type>_2`, `<type>_3`, … for the second and further penalties of
    one type in a member's own list. One that has parts also has `<label>/<part>`.
    """

    def __init__(
        self,
        lists: Sequence[Sequence[Penalty]],
        roles: Mapping[str, Role],
        shapes: Mapping[str, Sequence[int]] | None = None,
        device: torch.device | str = "cpu",
        initial: Mapping[str, Float[Tensor, "K ..."]] | None = None,
    ) -> None:
        """lists: each member's penalties. roles: parameter name → role, in the model's order.
        shapes: of one member's parameters. device: the weights'. initial: the initial weights, for
        penalties `from_start`.

        Raises ConfigError when an `apply_to` chooses nothing, or (with shapes) what a penalty has
        no meaning for; and when two proximal penalties have no joint step.
        """
        rows: dict[tuple[str, str, tuple[str, ...]], list[Penalty | None]] = {}
        labels: list[tuple[str, ...]] = []
        on_each: _OnEach = {name: [[] for _ in lists] for name in roles}
        for member, penalties in enumerate(lists):
            counts: Counter[str] = Counter()
            own: list[str] = []
            for path, penalty, names in _choose(penalties, roles, shapes or {}):
                kind = penalty.kind
                counts[kind] += 1
                label = kind if counts[kind] == 1 else f"{kind}_{counts[kind]}"
                alike = "" if _is_uniform(penalty) else penalty.function_key()
                rows.setdefault((label, alike, names), [None] * len(lists))[member] = penalty
                own += [label, *(f"{label}/{part}" for part in _parts(penalty))]
                if isinstance(penalty, WeightPenalty):
                    for name in names:
                        on_each[name][member].append((path, penalty))
            labels.append(tuple(own))
        self.labels: tuple[tuple[str, ...], ...] = tuple(labels)
        """The labels that each member has by itself, in the order of its list."""
        self._entrywise: list[_EntrywiseValue] = []
        self._by_autograd: list[_ValueTerm] = []
        self._activity: list[_ActivityTerm] = []
        for (label, _, names), row in rows.items():
            first = next(each for each in row if each is not None)
            if isinstance(first, ActivityPenalty):
                factors = [
                    m.strength * m.scale if isinstance(m, ActivityPenalty) else 0.0 for m in row
                ]
                self._activity.append(_ActivityTerm(label, first, MemberMask(factors, device)))
            elif names and _is_uniform(first):
                none = Coefficients(0.0, 0.0)
                pairs = [m.scaled_coefficients if _is_uniform(m) else none for m in row]
                parts = [f"{label}/{part}" for part in _parts(first)]
                self._entrywise.append(_EntrywiseValue(label, names, pairs, parts))
            elif names and isinstance(first, WeightPenalty):
                strengths = [m.strength if m else 0.0 for m in row]
                by_gradient = [m.strength if m and not m.proximal else 0.0 for m in row]
                masks = MemberMask(strengths, device), MemberMask(by_gradient, device)
                start = (initial or {}) if first.from_start else {}
                term = _ValueTerm(label, names, first, *masks, start)
                self._by_autograd.append(term)
        self.entrywise: list[EntrywiseTerm] = list(_entrywise(on_each))
        """Per parameter with such a penalty, what the optimizer adds to its gradient."""
        self.proximal: list[ProximalTerm] = list(_proximal(on_each, device))
        """Per parameter with such a penalty, what the optimizer does after its step."""

    @property
    def activity(self) -> dict[str, ActivityPenalty]:
        """The kinds of penalties on hidden activations that there are, each with one of them."""
        return {term.penalty.kind: term.penalty for term in self._activity}

    def values(
        self,
        parameters: Mapping[str, Float[Tensor, "K ..."]],
        activity: Mapping[str, Float[Tensor, " K"]] | None = None,
    ) -> dict[str, Float[Tensor, " K"]]:
        """Label → what it adds to each member's objective, strength included.

        activity: kind → mean over the examples of its `activity_sum`, for each of `self.activity`.
        """
        measured = [pair for term in self._entrywise for pair in term.values(parameters)]
        measured += [(term.label, term.value(parameters)) for term in self._by_autograd]
        measured += [(term.label, term.value(activity or {})) for term in self._activity]
        values: dict[str, Tensor] = {}
        for label, amount in measured:
            values[label] = values[label] + amount if label in values else amount
        return values

    def differentiable(
        self,
        parameters: Mapping[str, Float[Tensor, "K ..."]],
        hidden: Sequence[Float[Tensor, "K B ..."]] = (),
    ) -> Float[Tensor, " K"] | None:
        """What autograd must differentiate together with the loss; None if there is nothing.

        hidden: the batch's hidden activations, where `activity` is not empty.
        """
        found = [term.objective(parameters) for term in self._by_autograd]
        found += [term.objective(hidden) for term in self._activity]
        amounts = [amount for amount in found if amount is not None]
        return torch.stack(amounts).sum(0) if amounts else None


def activity_sum(
    penalty: ActivityPenalty, hidden: Sequence[Float[Tensor, "K B ..."]]
) -> Float[Tensor, " K"]:
    """Σ entries(h) over a batch's examples and all hidden units; half precision in float32."""
    wide = [h.float() if h.dtype == torch.bfloat16 else h for h in hidden]
    return torch.stack([penalty.entries(h).flatten(1).sum(1) for h in wide]).sum(0)


def _is_uniform(penalty: Penalty | None) -> TypeGuard[EntrywisePenalty]:
    """Whether a penalty is two numbers for each member, so that the optimizer can add it."""
    return isinstance(penalty, EntrywisePenalty) and penalty.uniform


def _parts(penalty: Penalty) -> tuple[str, ...]:
    return (_is_uniform(penalty) and penalty.parts) or ()


def _choose(
    penalties: Sequence[Penalty],
    roles: Mapping[str, Role],
    shapes: Mapping[str, Sequence[int]],
) -> Iterator[tuple[str, Penalty, tuple[str, ...]]]:
    """Path in the config, section and parameters of a member's penalties, after checks."""
    proximal: dict[str, list[WeightPenalty]] = {}
    for index, penalty in enumerate(penalties):
        path = f"penalty.{index}"
        if not isinstance(penalty, WeightPenalty):
            yield path, penalty, ()
            continue
        chosen = select(penalty.apply_to, roles, f"{path}.apply_to")
        names = tuple(name for name in roles if name in chosen)
        problems: list[Problem] = []
        for name in names:
            if name in shapes:
                problems += penalty.shape_conflicts(name, shapes[name])
            if penalty.proximal:
                for earlier in proximal.setdefault(name, []):
                    problems += penalty.proximal_conflicts(earlier, name)
                proximal[name].append(penalty)
        for problem in problems[:1]:
            raise ConfigError([Problem((*path.split("."), *problem.path), problem.message)])
        yield path, penalty, names


_OnEach = dict[str, list[list[tuple[str, WeightPenalty]]]]
"""Parameter → each member's penalties on it, with their paths."""


def _columns(
    members: list[list[tuple[str, WeightPenalty]]], *, proximal: bool
) -> tuple[list[float], list[float]]:
    """The a and q of each member's entrywise penalties of one method, added up."""
    pairs = [
        [
            penalty.scaled_coefficients
            for _, penalty in own
            if _is_uniform(penalty) and penalty.proximal == proximal
        ]
        for own in members
    ]
    # fsum rounds once, so the order of the penalties cannot matter.
    return (
        [math.fsum(pair.absolute for pair in own) for own in pairs],
        [math.fsum(pair.square for pair in own) for own in pairs],
    )


def _entrywise(on_each: _OnEach) -> Iterator[EntrywiseTerm]:
    for name, members in on_each.items():
        sign, square = _columns(members, proximal=False)
        if any(sign) or any(square):
            columns = torch.tensor([sign, square], dtype=torch.float64)
            yield EntrywiseTerm(name, columns[0], 2 * columns[1])


def _proximal(on_each: _OnEach, device: torch.device | str) -> Iterator[ProximalTerm]:
    for name, members in on_each.items():
        absolute, square = _columns(members, proximal=True)
        others: dict[str, tuple[WeightPenalty, list[float]]] = {}
        for member, own in enumerate(members):
            for _, penalty in own:
                fused = _is_uniform(penalty) or not penalty.proximal
                if penalty.strength and not fused:
                    new = (penalty, [0.0] * len(members))
                    _, strengths = others.setdefault(penalty.function_key(), new)
                    strengths[member] += penalty.strength
        if any(absolute) or any(square) or others:
            yield ProximalTerm(name, absolute, square, list(others.values()), device)


@dataclass(frozen=True)
class _EntrywiseValue:
    """An entrywise penalty under one label, on one choice of parameters, for the log."""

    label: str
    parameters: tuple[str, ...]
    members: Sequence[Coefficients]
    parts: Sequence[str]

    def values(
        self, parameters: Mapping[str, Float[Tensor, "K ..."]]
    ) -> Iterator[tuple[str, Float[Tensor, " K"]]]:
        """Labels of the penalty and its parts, with their values."""
        weights = [parameters[name] for name in self.parameters]
        amounts = entrywise_values(self.members, weights)
        yield self.label, amounts[0] + amounts[1]
        if self.parts:
            yield from zip(self.parts, amounts, strict=True)


def entrywise_values(
    members: Sequence[Coefficients], weights: Sequence[Float[Tensor, "K ..."]]
) -> tuple[Float[Tensor, " K"], Float[Tensor, " K"]]:
    """Each member's a Σ|w| and q Σw² over all weights; 0 for a coefficient of 0, whatever they are.

    members: K pairs (a, q). weights: at least one.
    """
    used = [any(pair[part] for pair in members) for part in (0, 1)]
    absolute, square = weights[0].new_tensor(members).unbind(dim=1)

    def total(is_used: bool, coefficient: Tensor, entry: Callable[[Tensor], Tensor]) -> Tensor:
        if not is_used:
            return torch.zeros_like(coefficient)
        sums = torch.stack([entry(weight).flatten(1).sum(dim=1) for weight in weights]).sum(dim=0)
        return torch.where(coefficient == 0, 0.0, coefficient * sums)

    return total(used[0], absolute, torch.abs), total(used[1], square, torch.square)


@dataclass(frozen=True)
class _ValueTerm:
    """A penalty that is not entrywise under one label, on one choice of parameters."""

    label: str
    parameters: tuple[str, ...]
    penalty: WeightPenalty
    all_members: MemberMask
    by_gradient: MemberMask
    initial: Mapping[str, Float[Tensor, "K ..."]]
    """w₀ by parameter, which is taken off w; empty: nothing is."""

    def value(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, " K"]:
        """The sum for all members."""
        return self._total(self.all_members, parameters)

    def objective(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, " K"] | None:
        """The sum for members with the gradient method; None without any."""
        return self._total(self.by_gradient, parameters) if self.by_gradient else None

    def _total(self, mask: MemberMask, parameters: Mapping[str, Tensor]) -> Tensor:
        taken = [mask.take(self._moved(name, parameters[name])) for name in self.parameters]
        strengths = mask.strengths.to(taken[0].dtype)
        return mask.weighted(torch.stack([self._value(each, strengths) for each in taken]).sum(0))

    def _moved(self, name: str, weight: Tensor) -> Tensor:
        return weight - self.initial[name] if self.initial else weight

    def _value(self, weight: Tensor, strengths: Tensor) -> Tensor:
        measured = self.penalty.value_at(weight, strengths)
        if measured.shape == weight.shape[:1]:
            return measured
        raise wrong(
            self.penalty,
            "value",
            f"gave shape {list(measured.shape)} for weights of {list(weight.shape)}; it has to "
            f"give {list(weight.shape[:1])}, one value for each member",
        )


@dataclass(frozen=True)
class _ActivityTerm:
    """An activity penalty under one label. mask: strength times scale."""

    label: str
    penalty: ActivityPenalty
    mask: MemberMask

    def value(self, means: Mapping[str, Float[Tensor, " K"]]) -> Float[Tensor, " K"]:
        """Its value, given kind → mean over the examples of Σ entries(h)."""
        return self.mask.weighted(self.mask.take(means[self.penalty.kind]))

    def objective(self, hidden: Sequence[Tensor]) -> Float[Tensor, " K"] | None:
        """Its value on a batch; None when no member has a strength above 0."""
        if not self.mask:
            return None
        batch = hidden[0].shape[1]
        total = activity_sum(self.penalty, [self.mask.take(h) for h in hidden])
        return self.mask.weighted(total / batch)
