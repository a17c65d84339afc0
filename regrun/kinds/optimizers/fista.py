"""FISTA: accelerated proximal gradient descent with a constant step size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from regrun.kinds.base import PER_MEMBER, Positive, expand_members
from regrun.kinds.optimizers.base import Optimizer, Tile, UpdateRule

if TYPE_CHECKING:
    from torch import Tensor

    from regrun.kinds.penalties import Penalty


class Fista(Optimizer):
    """Accelerated proximal gradient descent over full batches."""

    formula: ClassVar[str] = (
        "w_k = prox(y_k − η ∇f(y_k));  y_k+1 = w_k + (t_k − 1) / t_k+1 · (w_k − w_k−1)"
    )
    reference: ClassVar[str] = "Beck & Teboulle 2009, §4"
    proximal: ClassVar[bool] = True
    full_batch: ClassVar[str] = "its momentum must not carry the noise of batches"
    name: Literal["fista"]
    lr: Annotated[Positive | None, PER_MEMBER] = None
    """Default, for linear models: 1/L, L the largest curvature that the objective can have."""
    restart: bool = True
    """Drop the momentum whenever it points uphill (O'Donoghue & Candès 2015, gradient scheme)."""

    @classmethod
    def slots(cls, members: Sequence[Self]) -> tuple[str, ...]:
        """The iterate before; with restarts also y, where the gradient was taken."""
        return ("previous", *(["ahead"] if members[0].restart else []))

    def method_conflicts(self, penalty: Penalty) -> Iterator[str]:
        if penalty.method != "proximal" and "proximal" in penalty.methods:
            yield (
                f"gradient: fista needs one everywhere, and {penalty.kind} has none at 0; "
                "use proximal"
            )

    def symbols(self) -> list[str]:
        restart = ["t_k ← 0 after a step uphill: (y − w)·(w − w_previous) > 0"]
        return [
            *(restart if self.restart else []),
            "t_k = ½ (1 + √(1 + 4 t_{k−1}²)),  t_0 = 0",
            "y = w + max(0, (t_{k−1} − 1)/t_k) (w − w_previous),  where g is taken",
            "w ← y − η_t g",
        ]

    class Rule(UpdateRule["Fista"]):
        """Between steps the weights are the iterates x; a step moves them to y and on from there.

        y_k = x_k + (t_{k−1} − 1)/t_k · (x_k − x_{k−1}),  t_k = ½ (1 + √(1 + 4 t_{k−1}²)),
        x_{k+1} = prox(y_k − η ∇f(y_k)). A step that led uphill, (y_k − x_{k+1})·(x_{k+1} − x_k) >
        0, starts the sequence anew (O'Donoghue & Candès 2015, §3.2).
        """

        counters: ClassVar[tuple[str, ...]] = ("t",)

        def look_ahead(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
            t, restart = state["t"], "ahead" in self.slots
            if restart:
                uphill = t.new_zeros(t.shape)
                for name, x in weights.items():
                    back = (state[f"ahead/{name}"] - x) * (x - state[f"previous/{name}"])
                    uphill += back.reshape(len(back), -1).sum(1)
                t.masked_fill_(uphill > 0, 0.0)
            following = 0.5 * (1 + (1 + 4 * t.square()).sqrt())
            momentum = ((t - 1) / following).clamp_(min=0)  # t = 0 is a start: y = x
            t.copy_(following)
            for name, x in weights.items():
                previous = state[f"previous/{name}"]
                beta = expand_members(momentum.to(x.dtype), x)
                ahead = x.addcmul(x - previous, beta)
                previous.copy_(x)
                x.copy_(ahead)
                if restart:
                    state[f"ahead/{name}"].copy_(ahead)

        def update(self, tile: Tile, g: Tensor) -> None:
            tile.weight.addcmul_(g, tile.numbers["minus_lr"])
