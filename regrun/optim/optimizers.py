"""The optimizer of a stack: K members with one update rule and numbers of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from regrun.errors import CorruptInputError
from regrun.kinds.optimizers import Optimizer
from regrun.optim.rules import SHARED, rule_of
from regrun.optim.tiles import LARGE, Layout, Tile, shared_scratch, tile_entries
from regrun.regularizers.entrywise import EntrywiseTerm, add_gradient
from regrun.regularizers.proximal import ProximalTerm


class StackedOptimizer:
    """Updates the parameters of K members in place, every member by its own section.

    One step, per parameter: g gets the penalties' gradient and coupled decay; decoupled decay
    shrinks w; the rule does its part; proximal penalties theirs. Members never mix: each number
    enters only the arithmetic of its own member.
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
        """sections: K, alike in all but numbers. parameters: name → (K, ...), contiguous, of one
        dtype and device. decayed: names that weight decay applies to. entrywise: what the
        penalties add to the gradients. tile: entries of one tile; default: fits the cache.
        proximal: what penalties do after each step.

        Raises ValueError when the members or parameters do not fit together.
        """
        self._check(sections, parameters)
        self._sections = list(sections)
        self._decayed = frozenset(decayed)
        self._entrywise = {term.parameter: term for term in entrywise}
        self._proximal = list(proximal)
        self._tile = tile
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
        """One update. gradients: in the parameters' order, each of its parameter's shape, left
        as they are; a gradient that is not contiguous costs a copy. multiplier: the schedule's,
        one or (K,).
        """
        self._set_numbers(multiplier)
        rule = self._rule
        for (layout, tiles), gradient in zip(self._cuts, gradients, strict=True):
            for tile, piece in zip(tiles, layout.cut(gradient), strict=True):
                g = add_gradient(
                    tile.weight, piece, tile.sign, tile.linear, tile.total, tile.scratch
                )
                if tile.shrink is not None:
                    tile.weight.mul_(tile.shrink)
                rule.update(tile, g)
        for term in self._proximal:
            self._proximal_step(term, self.current_lr(multiplier))

    def _proximal_step(self, term: ProximalTerm, rate: Tensor) -> None:
        """The penalties' own step; a momentum buffer takes it in as it takes in gradients.

        Otherwise momentum would multiply the step along the loss's gradient alone, and the minimum
        reached would be that of a smaller strength (cf. Ochs et al. 2014, whose inertia is likewise
        that of the whole step).
        """
        weight = self._weights[term.parameter]
        buffer = self._state.get(f"momentum_buffer/{term.parameter}")
        before = None if buffer is None else weight.clone()
        term.step_(weight, rate)
        if buffer is not None and before is not None:
            per_rate = (1 / rate).to(weight.dtype)  # not finite where the schedule is at 0
            used = torch.where(term.active & per_rate.isfinite(), per_rate, 0.0)
            buffer.addcmul_(before.sub_(weight), used.view(-1, *[1] * (weight.dim() - 1)))

    def current_lr(self, multiplier: Tensor | float = 1.0) -> Tensor:
        """η = lr · multiplier of each member: (K,), float64. Adagrad's lr_decay is not in it."""
        return self._lr * multiplier

    def state_dict(self) -> dict[str, Tensor]:
        """`<slot>/<parameter>` → (K, ...), and `step` → (K,): the live tensors, not copies."""
        return {"step": self._step, **self._state}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy a `state_dict` in. Raises CorruptInputError when it is not of this optimizer."""
        own = self.state_dict()
        if own.keys() != state.keys():
            wrong = sorted(own.keys() ^ state.keys())
            raise CorruptInputError(
                f"optimizer state does not fit: {', '.join(wrong[:5])} missing or unexpected"
            )
        for name, tensor in own.items():
            if tensor.shape != state[name].shape or tensor.dtype != state[name].dtype:
                raise CorruptInputError(
                    f"optimizer state {name}: {tuple(state[name].shape)} {state[name].dtype}, "
                    f"expected {tuple(tensor.shape)} {tensor.dtype}"
                )
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def keep(self, rows: Tensor, parameters: Mapping[str, Tensor]) -> None:
        """Shrink to some members. rows: their indices, or a (K,) mask; parameters: their new
        tensors, (len(rows), ...), under the same names.
        """
        rows = rows.nonzero().flatten() if rows.dtype == torch.bool else rows
        sections = [self._sections[row] for row in rows.tolist()]
        self._check(sections, parameters)
        self._sections = sections
        self._entrywise = {
            name: EntrywiseTerm(name, term.sign[rows.cpu()], term.linear[rows.cpu()])
            for name, term in self._entrywise.items()
        }
        self._proximal = [term.keep(rows) for term in self._proximal]
        self._state = {name: tensor[rows] for name, tensor in self._state.items()}
        self._step = self._step[rows]
        self._build(parameters)

    @staticmethod
    def _check(sections: Sequence[Optimizer], parameters: Mapping[str, Tensor]) -> None:
        for key in SHARED:
            values = {getattr(section, key, None) for section in sections}
            if len(values) > 1:
                raise ValueError(f"members of one stack differ in optimizer.{key}: {values}")
        first = next(iter(parameters.values()))
        for name, tensor in parameters.items():
            if tensor.shape[0] != len(sections) or not tensor.is_contiguous():
                raise ValueError(f"{name}: not a contiguous ({len(sections)}, ...) tensor")
            if tensor.dtype != first.dtype or tensor.device != first.device:
                raise ValueError(f"{name}: {tensor.dtype} on {tensor.device}, unlike the others")

    def _build(self, parameters: Mapping[str, Tensor]) -> None:
        """Everything that is made once: numbers, state, and the tiles' views of them."""
        like = next(iter(parameters.values())).detach()
        sections = self._sections
        self._rule = rule_of(sections[0])(sections, like.device)
        column = self._rule.column
        self._lr = column([_given(section.lr) for section in sections])
        self._decay = column([section.weight_decay for section in sections])
        self._decay_kind = sections[0].resolved_decay
        self._multiplier: float | None = None
        shrinks = self._decay_kind != "coupled" and bool(self._decay.any())
        # What the arithmetic reads, in the parameters' dtype; the tiles hold views of these.
        self._shrink = torch.ones_like(self._lr, dtype=like.dtype) if shrinks else None
        self._numbers = {name: n.to(like.dtype) for name, n in self._rule.numbers.items()}
        for name, changing in self._rule.at_step(self._lr, self._step + 1).items():
            self._numbers[name] = changing.to(like.dtype)
        self._weights = {name: parameter.detach() for name, parameter in parameters.items()}
        before, self._state = self._state, {}
        for name in self._rule.counters:
            self._state[name] = before.get(name, torch.zeros_like(self._step))
        for slot in self._rule.slots:
            for name, parameter in parameters.items():
                key = f"{slot}/{name}"
                self._state[key] = before[key] if key in before else self._fresh(slot, parameter)
        limit = self._tile or tile_entries(like)
        apart = self._rule.apart
        layouts = {name: Layout.of(p.shape, limit, apart) for name, p in parameters.items()}
        pieces = [p for name in layouts for p in layouts[name].cut(parameters[name].detach())]
        scratch = iter(shared_scratch(like, pieces))
        self._cuts = [
            (layout, list(self._tiles(name, parameters[name].detach(), layout, scratch)))
            for name, layout in layouts.items()
        ]

    def _fresh(self, slot: str, parameter: Tensor) -> Tensor:
        state = torch.zeros_like(parameter, requires_grad=False)
        start = self._rule.initial(slot)
        if start is not None:
            state += start.to(parameter.dtype).view(-1, *[1] * (parameter.dim() - 1))
        return state

    def _tiles(
        self, name: str, weight: Tensor, layout: Layout, scratch: Iterator[tuple[Tensor, Tensor]]
    ) -> Iterator[Tile]:
        sign, linear = self._additions(name, weight)
        shrink = self._shrink if name in self._decayed else None
        numbers = {key: layout.numbers(n) for key, n in self._numbers.items()}
        state = {slot: layout.cut(self._state[f"{slot}/{name}"]) for slot in self._rule.slots}
        optional = [
            [None] * len(layout.sizes) if n is None else layout.numbers(n)
            for n in (sign, linear, shrink)
        ]
        by_itself = self._rule.apart and weight[0].numel() >= LARGE
        for i, piece in enumerate(layout.cut(weight)):
            total, work = next(scratch)
            yield Tile(
                weight=piece,
                total=total,
                scratch=work,
                state={slot: pieces[i] for slot, pieces in state.items()},
                numbers={key: views[i] for key, views in numbers.items()},
                member=layout.members[i].start if by_itself else None,
                sign=optional[0][i],
                linear=optional[1][i],
                shrink=optional[2][i],
            )

    def _additions(self, name: str, weight: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Coefficients of sign(w) and w in a parameter's gradient, None where all are 0: (K,)."""
        sign, linear = torch.zeros_like(self._lr), torch.zeros_like(self._lr)
        if name in self._entrywise:
            sign += self._entrywise[name].sign.to(sign.device)
            linear += self._entrywise[name].linear.to(sign.device)
        if name in self._decayed and self._decay_kind == "coupled":
            linear += self._decay
        used = [n.to(weight.dtype) if n.any() else None for n in (sign, linear)]
        return used[0], used[1]

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


def _given(lr: float | None) -> float:
    if lr is None:
        raise ValueError("optimizer.lr has to be worked out first")
    return lr
