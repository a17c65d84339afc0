"""FISTA: accelerated proximal gradient descent (Beck & Teboulle 2009, §4, constant step size)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from regrun.kinds.optimizers import Fista
from regrun.optim.rule import Rule
from regrun.optim.tiles import Tile


class FistaRule(Rule[Fista]):
    """Between steps the weights are the iterates x; a step moves them to y and on from there.

    y_k = x_k + (t_{k−1} − 1)/t_k · (x_k − x_{k−1}),  t_k = ½ (1 + √(1 + 4 t_{k−1}²)),
    x_{k+1} = prox(y_k − η ∇f(y_k)). A step that led uphill, (y_k − x_{k+1})·(x_{k+1} − x_k) > 0,
    starts the sequence anew (O'Donoghue & Candès 2015, §3.2).
    """

    counters = ("t",)

    def _prepare(self, sections: Sequence[Fista]) -> None:
        self.restart = sections[0].restart
        self.slots = ("previous", *(["ahead"] if self.restart else []))

    def at_step(self, rate: Tensor, step: Tensor) -> dict[str, Tensor]:
        """The rate."""
        return {"rate": -rate}

    def look_ahead(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """From x_k to y_k, member by member."""
        t = state["t"]
        if self.restart:
            uphill = torch.zeros_like(t)
            for name, x in weights.items():
                back = (state[f"ahead/{name}"] - x) * (x - state[f"previous/{name}"])
                uphill += back.flatten(1).sum(1)
            t.masked_fill_(uphill > 0, 0.0)
        following = 0.5 * (1 + (1 + 4 * t.square()).sqrt())
        momentum = ((t - 1) / following).clamp_(min=0)  # t = 0 is a start: y = x
        t.copy_(following)
        for name, x in weights.items():
            previous = state[f"previous/{name}"]
            beta = momentum.to(x.dtype).view(-1, *[1] * (x.dim() - 1))
            ahead = torch.addcmul(x, x - previous, beta)
            previous.copy_(x)
            x.copy_(ahead)
            if self.restart:
                state[f"ahead/{name}"].copy_(ahead)

    def update(self, tile: Tile, g: Tensor) -> None:
        """The gradient step; the proximal one follows."""
        tile.weight.addcmul_(g, tile.numbers["rate"])

    @staticmethod
    def symbols(section: Fista) -> list[str]:
        """Of y and w."""
        restart = ["t_k ← 0 after a step uphill: (y − w)·(w − w_previous) > 0"]
        return [
            *(restart if section.restart else []),
            "t_k = ½ (1 + √(1 + 4 t_{k−1}²)),  t_0 = 0",
            "y = w + max(0, (t_{k−1} − 1)/t_k) (w − w_previous),  where g is taken",
            "w ← y − η_t g",
        ]
