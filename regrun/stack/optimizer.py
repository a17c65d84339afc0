"""The optimizer of a stack: one update rule for K members, with numbers of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from regrun.errors import PluginError
from regrun.kinds.base import expand_members, wrong
from regrun.kinds.optimizers.base import Optimizer, UpdateRule
from regrun.stack.penalty_terms import EntrywiseTerm, ProximalTerm, add_gradient
from regrun.stack.state import check_not_negative, check_tensors
from regrun.stack.tiles import LARGE, Layout, StackTile, tile_entries


class StackedOptimizer:
    """Updates the parameters of K members in place, each by its own section.

    One step, per parameter: the gradients of penalties and coupled decay are added to g; decoupled
    decay shrinks w; the update rule changes w; proximal penalties take their steps. Members are
    independent: a number enters only the arithmetic of its own member.
    """

    def __init__(
        self,
        sections: Sequence[Optimizer],
        parameters: Mapping[str, Tensor],
        decayed: Collection[str],
        entrywise: Sequence[EntrywiseTerm] = (),
        tile: int | None = None,
        proximal: Sequence[ProximalTerm] = (),
    ) -> None:
        """Allocate the state, 0 steps in.

        sections: K of one structure. parameters: name → (K, ...), contiguous, of one dtype and
        device. decayed: names that weight decay applies to. entrywise, proximal: what penalties add
        to the gradients and do after each step. tile: entries of one tile; default: fits the cache.
        Raises ValueError when the members or parameters do not fit together.
        """
        _check_structure(sections)
        _check_parameters(parameters, len(sections))
        self._sections = list(sections)
        self._decayed = frozenset(decayed)
        self._entrywise = {term.parameter: term for term in entrywise}
        self._proximal = list(proximal)
        self._tile = tile
        self._uncut = False
        self._cuts: list[tuple[Layout, list[StackTile]]] = []
        self._multiplier: float | None = None
        self._state: dict[str, Tensor] = {}
        like = next(iter(parameters.values()))
        self._step = torch.zeros(len(sections), dtype=torch.float64, device=like.device)
        self._build(parameters)

    @torch.inference_mode()
    def look_ahead(self) -> None:
        """Move the parameters to where the gradient of the coming step is to be taken."""
        self._rule.look_ahead(self._weights, self._state)

    @torch.inference_mode()
    def step(self, gradients: Sequence[Tensor], multiplier: Tensor | float = 1.0) -> None:
        """Take one step.

        gradients: in the parameters' order; one that is not contiguous costs a copy. multiplier:
        the schedule's, one or (K,).
        """
        self._set_numbers(multiplier)
        rule = self._rule
        for (layout, tiles), gradient in zip(self._cuts, gradients, strict=True):
            for tile, piece in zip(tiles, layout.cut(gradient), strict=True):
                if self._uncut:
                    tile.grad_buffer = torch.empty_like(tile.weight)
                    tile.scratch = torch.empty_like(tile.weight)
                g = add_gradient(
                    tile.weight, piece, tile.sign, tile.linear, tile.grad_buffer, tile.scratch
                )
                if tile.shrink is not None:
                    tile.weight.mul_(tile.shrink)
                rule.update(tile, g)
        for term in self._proximal:
            self._proximal_step(term, self.current_lr(multiplier))

    @contextmanager
    def uncut(self) -> Iterator[None]:
        """Let steps inside the block update each parameter at once, with operations alone.

        They are then traced instead of taken.
        """
        cuts, per_member = self._cuts, self._rule.per_member_tiles
        self._rule.per_member_tiles, self._uncut = False, True
        try:
            self._cut(2**62)
            yield
        finally:
            self._cuts, self._rule.per_member_tiles, self._uncut = cuts, per_member, False
            self._multiplier = None  # the numbers of a traced step are written nowhere

    def _proximal_step(self, term: ProximalTerm, rate: Tensor) -> None:
        """Take the penalties' own step, and add it to the slot that accumulates gradients, if any.

        Otherwise momentum would multiply the step along the loss's gradient alone, and the minimum
        reached would be that of a smaller strength (cf. Ochs et al. 2014, whose inertia is likewise
        that of the whole step).
        """
        weight = self._weights[term.parameter]
        slot = self._state.get(f"{self._rule.proximal_slot}/{term.parameter}")
        if slot is None:
            term.step_(weight, rate)
            return
        before = weight.clone()
        term.step_(weight, rate)
        per_rate = (1 / rate).to(weight.dtype)  # not finite where the schedule is at 0
        used = torch.where(term.active & per_rate.isfinite(), per_rate, 0.0)
        slot.addcmul_(before.sub_(weight), expand_members(used, weight))

    @property
    def steps(self) -> Float64[Tensor, " K"]:
        """The steps that each member has taken."""
        return self._step

    def current_lr(self, multiplier: Tensor | float = 1.0) -> Tensor:
        """Return η = lr · multiplier, (K,), float64."""
        return self._lr * multiplier

    def decay_term(self) -> Float64[Tensor, " K"] | None:
        """Return ½ λ Σw² over the decayed parameters, the gradient of which is coupled decay.

        None without coupled decay; decoupled decay is the gradient of nothing.
        """
        if not self._couples:
            return None
        squares = torch.zeros_like(self._decay)
        for name, weight in self._weights.items():
            if name in self._decayed:
                flat = weight.reshape(len(squares), -1)
                squares += torch.linalg.vector_norm(flat, dim=1).double().square()
        return 0.5 * self._decay * squares

    def state_dict(self) -> dict[str, Tensor]:
        """Return `<slot>/<parameter>` → (K, ...) and `step` → (K,): the live tensors."""
        return {"step": self._step, **self._state}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy a `state_dict` in. Raises CorruptInputError for what no such optimizer has."""
        own = self.state_dict()
        check_tensors(own, state)
        for name in ("step", *self._rule.counters):
            check_not_negative(name, state[name])
        for slot in set(self._rule.slots).intersection(self._rule.squares):
            for name in self._weights:
                check_not_negative(f"{slot}/{name}", state[f"{slot}/{name}"])
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def forget(self, row: int) -> None:
        """Set the slots and counters of one member to 0, as at the start."""
        for tensor in self._state.values():
            tensor[row] = 0

    def shrink_to(self, rows: Tensor, parameters: Mapping[str, Tensor]) -> None:
        """Keep the members at these indices. parameters: their tensors, (len(rows), ...)."""
        _check_parameters(parameters, len(rows))
        self._sections = [self._sections[row] for row in rows.tolist()]
        self._entrywise = {
            name: EntrywiseTerm(name, term.sign[rows.cpu()], term.linear[rows.cpu()])
            for name, term in self._entrywise.items()
        }
        for term in self._proximal:
            term.shrink_to(rows)
        self._state = {name: tensor[rows] for name, tensor in self._state.items()}
        self._step = self._step[rows]
        self._build(parameters)

    def _build(self, parameters: Mapping[str, Tensor]) -> None:
        """Make the rule, the numbers, the state, and the tiles, which are views of them."""
        like = next(iter(parameters.values())).detach()
        first = self._sections[0]
        if any(section.lr is None for section in self._sections):
            raise ValueError("optimizer.lr has to be worked out first")
        self._rule: UpdateRule[Any] = first.Rule(self._sections, like.device)
        self._lr = self._rule.column("lr")
        self._decay = self._rule.column("weight_decay")
        self._decay_kind = first.resolved_decay
        self._multiplier = None
        decays, coupled = bool(self._decay.any()), self._decay_kind == "coupled"
        self._couples, shrinks = decays and coupled, decays and not coupled
        # The numbers that the arithmetic reads, in the parameters' dtype; tiles hold views of them.
        self._shrink = torch.ones_like(self._lr, dtype=like.dtype) if shrinks else None
        # Copies, as every step overwrites them: a rule may well return the tensors that it got.
        numbers = self._rule.numbers | self._rule.at_step(self._lr, self._step + 1)
        for name, column in numbers.items():
            if column.shape != self._lr.shape:
                raise _not_one_each(first, f"the number {name}", column)
        self._numbers = {name: n.to(like.dtype, copy=True) for name, n in numbers.items()}
        self._weights = {name: parameter.detach() for name, parameter in parameters.items()}
        before, self._state = self._state, {}
        for name in self._rule.counters:
            self._state[name] = before.get(name, torch.zeros_like(self._step))
        for slot in self._rule.slots:
            start = self._rule.initial(slot)
            if start is not None and start.shape != self._lr.shape:
                raise _not_one_each(first, f"the start of {slot}", start)
            for name, weight in self._weights.items():
                key = f"{slot}/{name}"
                self._state[key] = before[key] if key in before else torch.zeros_like(weight)
                if key not in before and start is not None:
                    self._state[key] += expand_members(start.to(weight.dtype), weight)
        self._cut(self._tile or tile_entries(like))

    def _cut(self, limit: int) -> None:
        """Make the tiles, of this many entries at most."""
        like = next(iter(self._weights.values()))
        layouts = [
            Layout.of(weight.shape, limit, self._rule.per_member_tiles)
            for weight in self._weights.values()
        ]
        largest = max(layout.largest for layout in layouts)
        scratch = like.new_empty(largest), like.new_empty(largest)
        self._cuts = [
            (layout, list(self._tiles(name, layout, scratch)))
            for name, layout in zip(self._weights, layouts, strict=True)
        ]

    def _tiles(
        self, name: str, layout: Layout, scratch: tuple[Tensor, Tensor]
    ) -> Iterator[StackTile]:
        """The tiles of a parameter, which share the two scratch tensors with all others."""
        weight = self._weights[name]
        sign, linear = self._additions(name, weight)
        shrink = self._shrink if name in self._decayed else None
        numbers = {key: layout.numbers(n) for key, n in self._numbers.items()}
        state = {slot: layout.cut(self._state[f"{slot}/{name}"]) for slot in self._rule.slots}
        optional = [
            [None] * len(layout.sizes) if n is None else layout.numbers(n)
            for n in (sign, linear, shrink)
        ]
        single = self._rule.per_member_tiles and weight[0].numel() >= LARGE
        for i, piece in enumerate(layout.cut(weight)):
            grad_buffer, work = (each[: piece.numel()].view(piece.shape) for each in scratch)
            yield StackTile(
                weight=piece,
                grad_buffer=grad_buffer,
                scratch=work,
                state={slot: pieces[i] for slot, pieces in state.items()},
                numbers={key: views[i] for key, views in numbers.items()},
                member=layout.members[i].start if single else None,
                sign=optional[0][i],
                linear=optional[1][i],
                shrink=optional[2][i],
            )

    def _additions(self, name: str, weight: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the coefficients of sign(w) and w in a parameter's gradient, (K,); None for 0."""
        sign, linear = torch.zeros_like(self._lr), torch.zeros_like(self._lr)
        if name in self._entrywise:
            sign += self._entrywise[name].sign.to(sign.device)
            linear += self._entrywise[name].linear.to(sign.device)
        if name in self._decayed and self._decay_kind == "coupled":
            linear += self._decay
        dtype = weight.dtype
        return sign.to(dtype) if sign.any() else None, linear.to(dtype) if linear.any() else None

    def _set_numbers(self, multiplier: Tensor | float) -> None:
        """Count the step and write its numbers where the tiles read them."""
        self._step += 1
        if isinstance(multiplier, Tensor):
            multiplier = multiplier.to(self._lr)
            self._multiplier = None
        elif multiplier == self._multiplier and not self._rule.follows_step:
            return
        else:
            self._multiplier = multiplier
        rate = self._lr * multiplier
        for name, number in self._rule.at_step(rate, self._step).items():
            self._numbers[name].copy_(number)
        if self._shrink is not None:
            factor = rate if self._decay_kind == "decoupled" else multiplier
            self._shrink.copy_(1 - self._decay * factor)


def _check_structure(sections: Sequence[Optimizer]) -> None:
    first, *others = dict.fromkeys(section.structure() for section in sections)
    for other in others:
        keys = sorted({str(part[0]) for part in set(first) ^ set(other) if isinstance(part, tuple)})
        raise ValueError(f"members of one stack differ in optimizer.{', optimizer.'.join(keys)}")


def _not_one_each(section: Optimizer, what: str, column: Tensor) -> PluginError:
    given = f"gave shape {list(column.shape)} for {what}"
    return wrong(section, "Rule", f"{given}; it has to give one number for each member")


def _check_parameters(parameters: Mapping[str, Tensor], members: int) -> None:
    first = next(iter(parameters.values()))
    for name, tensor in parameters.items():
        if tensor.shape[0] != members or not tensor.is_contiguous():
            raise ValueError(f"{name}: not a contiguous ({members}, ...) tensor")
        if tensor.dtype != first.dtype or tensor.device != first.device:
            raise ValueError(f"{name}: {tensor.dtype} on {tensor.device}, unlike the others")
