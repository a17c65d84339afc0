"""What every optimizer has: keys, an update rule for K members, symbols for `regrun inspect`.

Notation: w weight, g gradient with all that penalties and coupled decay add to it, t step, counted
from 1, η_t = lr · s_t, s_t the schedule's multiplier.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import Field

from regrun.errors import Problem
from regrun.kinds.base import (
    PER_MEMBER,
    WEIGHT_ONLY,
    Choices,
    Count,
    Described,
    NonNegative,
    Positive,
    Section,
    Selector,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from regrun.config.schema import Config
    from regrun.kinds.penalties import Penalty

Decay = Literal["coupled", "decoupled", "decoupled_schedule"]
DECAYS = Choices(  # `weight_decay` switches them on and off
    coupled=Described(
        "decay",
        "Added to the gradient before the moments: under plain SGD the L2 penalty.",
        formula="g ← g + λ w",
        reference="Krogh & Hertz 1991; torch's SGD and Adam",
        regularizes=False,
    ),
    decoupled=Described(
        "decay",
        "Apart from the gradient, with the learning rate η.",
        formula="w ← w − η λ w",
        reference="Loshchilov & Hutter 2019, as torch's AdamW has it",
        regularizes=False,
    ),
    decoupled_schedule=Described(
        "decay",
        "Apart from gradient and learning rate, with the schedule's multiplier s only.",
        formula="w ← w − s λ w",
        reference="Loshchilov & Hutter 2019, algorithm 2",
        regularizes=False,
    ),
)


@dataclass
class Tile:
    """A piece of one parameter that fits the cache, with all that an update needs.

    Attributes:
        weight: The piece of w, to be changed in place: ``(rows, …)`` of some members, or
            ``(length,)`` of one.
        grad_buffer: Scratch of the same shape. It may hold the gradient that `update` gets.
        scratch: Scratch of the same shape, free to use.
        state: Slot → its piece, of the same shape, to be changed in place.
        numbers: Name → a number per member, of a shape that broadcasts against `weight`.
        member: The only member in this tile, if the rule asked for `per_member_tiles` and the
            member is large; else None.
    """

    weight: Tensor
    grad_buffer: Tensor
    scratch: Tensor
    state: Mapping[str, Tensor]
    numbers: Mapping[str, Tensor]
    member: int | None = None


S = TypeVar("S", bound="Optimizer")


class UpdateRule(ABC, Generic[S]):
    """The update of K members whose sections have the same structure.

    A number per member is a *column*: `(K,)`, float64. The per-member keys of a kind arrive in
    `update` as ``tile.numbers`` under their own names; override `columns` to prepare other numbers.

    Args:
        sections: The members' sections, K of them.
        device: The device of the parameters.
    """

    follows_step: bool = False
    """Whether `at_step` depends on t, and not only on the learning rate."""
    per_member_tiles: bool = False
    """Whether large members get tiles of their own, whose `Tile.member` is set."""
    counters: ClassVar[tuple[str, ...]] = ()
    """Further state, a column each, 0 at the start."""
    squares: ClassVar[tuple[str, ...]] = ()
    """The slots that hold sums or means of squares: a stored one below 0 is refused."""
    proximal_slot: ClassVar[str] = ""
    """The slot that accumulates gradients and takes in proximal steps, over η, in the same way."""

    def __init__(self, sections: Sequence[S], device: torch.device) -> None:
        self.sections, self.device = sections, device
        self.slots = type(sections[0]).slots(sections)
        self.numbers = self.columns()

    def columns(self) -> dict[str, Tensor]:
        """Return the numbers that stay from step to step.

        Returns:
            Name → (K,), float64; by default every per-member number among the kind's own keys.
        """
        return {
            key: self.column(key)
            for key in self.sections[0].numbers()
            if key not in Optimizer.model_fields
        }

    def column(self, key: str) -> Tensor:
        """Return one key of all members: (K,), float64."""
        import torch

        values = [getattr(section, key) for section in self.sections]
        return torch.tensor(values, dtype=torch.float64, device=self.device)

    def initial(self, slot: str) -> Tensor | None:
        """Return the start value of a slot, (K,); None is 0."""
        return None

    def at_step(self, lr: Tensor, step: Tensor) -> dict[str, Tensor]:
        """Return the numbers of one step.

        Args:
            lr: η_t, (K,), float64.
            step: t, (K,), float64.

        Returns:
            Name → (K,), float64, under the same names at every step, as ``tile.numbers`` has them.
            By default ``minus_lr``, −η_t: ``tile.weight.addcmul_(g, tile.numbers["minus_lr"])``.
        """
        return {"minus_lr": -lr}

    def look_ahead(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Move the weights to where the gradient is to be taken; by default they stay.

        Args:
            weights: Parameter name → (K, …), to be changed in place.
            state: ``<slot>/<parameter>`` → (K, …), and each counter → (K,).
        """
        return

    @abstractmethod
    def update(self, tile: Tile, g: Tensor) -> None:
        """Update one tile in place: its weight and its state.

        Every operation has to be entrywise, so that members stay independent of each other and
        results of the tiles. An update that allocates nothing is fastest.

        Args:
            tile: The piece of w, its state, and the numbers of this step.
            g: The gradient, of the shape of ``tile.weight``. Only ``tile.grad_buffer`` and
                ``tile.scratch`` may be overwritten, not `g` itself.
        """


class Lookahead(Section):
    """Slow weights φ, which the trained weights return to every k steps."""

    k: Annotated[Count, PER_MEMBER] = 5
    """Steps between two updates of φ."""
    alpha: Annotated[float, Field(gt=0, le=1), PER_MEMBER] = 0.5
    """Share of the way from φ to w that φ moves; 1 is the optimizer alone."""

    def symbols(self) -> str:
        """Return the update in symbols, with this section's numbers."""
        every = f"when t is a multiple of {self.k}" if self.k > 1 else "after each step"
        return f"φ ← φ + {self.alpha:g} (w − φ),  w ← φ  {every}   (Lookahead; φ starts as w)"

    def idle(self, config: Config, steps_per_epoch: int) -> Iterator[Problem]:
        """Yield that the run ends before the first update of φ."""
        steps = config.training.epochs * steps_per_epoch
        if self.k > steps:
            taken = f"{steps:,} step{'s' * (steps != 1)}"
            message = f"{self.k:,}: the run has {taken}, so the slow weights have no effect"
            yield Problem(("k",), message)


class Optimizer(Section):
    """Keys that every optimizer has. Derive from it to bring an optimizer of your own.

    A kind has a key `name`, a docstring, `formula`, `reference` and a nested class `Rule`, derived
    from `UpdateRule`. A number marked with `PER_MEMBER` may differ between the members of a stack.

    >>> from typing import Annotated, ClassVar, Literal
    >>> from regrun.plugins import PER_MEMBER, Optimizer, UpdateRule
    >>> class Signum(Optimizer):
    ...     '''Steps along the sign of a moving average of the gradient.'''
    ...     name: Literal["signum"]
    ...     formula: ClassVar[str] = "m ← β m + (1−β) g;  w ← w − η sign(m)"
    ...     reference: ClassVar[str] = "Bernstein et al. 2018"
    ...     beta: Annotated[float, PER_MEMBER] = 0.9
    ...     @classmethod
    ...     def slots(cls, members):
    ...         return ("exp_avg",)
    ...     class Rule(UpdateRule):
    ...         def update(self, tile, g):
    ...             mean = tile.state["exp_avg"]
    ...             mean.lerp_(g, 1 - tile.numbers["beta"])
    ...             tile.weight.addcmul_(mean.sign(), tile.numbers["minus_lr"])
    >>> Signum(name="signum", lr=0.1).symbols()
    ['m ← β m + (1−β) g;  w ← w − η sign(m)']
    """

    own_decay: ClassVar[Decay] = "coupled"
    """What `decay: auto` means: this optimizer's own meaning in torch."""
    proximal: ClassVar[bool] = False
    """Whether `penalty.method: proximal` is defined: its steps are not scaled entry by entry."""
    full_batch: ClassVar[str] = ""
    """Why every step needs the gradient over all examples; empty: it does not."""
    Rule: ClassVar[type[UpdateRule[Any]]]
    """The arithmetic."""

    lr: Annotated[Positive | None, PER_MEMBER]
    """Learning rate, before the schedule."""
    weight_decay: Annotated[
        NonNegative,
        Described(
            "decay",
            formula="g ← g + λ w, or w ← w − η λ w, or w ← w − s λ w: see `decay`",
            reference="Krogh & Hertz 1991",
            off=0.0,
        ),
    ] = 0.0
    """λ. The default is 0 for every optimizer (torch's AdamW has 0.01)."""
    decay: Annotated[Literal["auto"] | Decay, DECAYS] = "auto"
    """How `weight_decay` acts. auto: as in torch, decoupled with adamw, else coupled."""
    decay_on: Selector = WEIGHT_ONLY
    """Roles or name patterns that decay; `all` is torch's own default of everything."""
    sam: Annotated[
        NonNegative,
        Described(
            "training",
            formula="g ← ∇L(w + ρ g / ‖g‖₂)",
            reference="Foret et al. 2021",
            off=0.0,
        ),
    ] = 0.0
    """ρ of sharpness-aware minimisation: the gradient at the worst point nearby. Two passes a step;
    0 is none."""
    lookahead: Annotated[
        Lookahead | None,
        PER_MEMBER,
        Described(
            "training",
            formula="φ ← φ + α (w − φ),  w ← φ  after every k steps",
            reference="Zhang et al. 2019, algorithm 1",
        ),
    ] = None
    """Slow weights that the optimizer's steps are counted from. Its moments stay as they are. What
    is measured and stored is w, which is φ after every k steps."""

    @classmethod
    def undefined(cls) -> list[str]:
        """Return the methods to be defined: also the rule's `update`."""
        rule = getattr(cls, "Rule", UpdateRule)
        is_rule = isinstance(rule, type) and issubclass(rule, UpdateRule)
        lacks_update = not is_rule or rule.update is UpdateRule.update
        return super().undefined() + ["Rule.update"] * lacks_update

    @property
    def resolved_decay(self) -> Decay:
        """`decay` with `auto` replaced by this optimizer's own meaning."""
        return self.own_decay if self.decay == "auto" else self.decay

    @classmethod
    def slots(cls, members: Sequence[Self]) -> tuple[str, ...]:
        """Return the names of the state tensors that each parameter has.

        Args:
            members: The sections of one stack.
        """
        return ()

    def symbols(self) -> list[str]:
        """Return the update in symbols, with this section's numbers, a line per assignment."""
        return [self.formula]

    def proximal_symbols(self) -> list[str]:
        """Return what the update does after a proximal step, in symbols."""
        return []

    def method_conflicts(self, penalty: Penalty) -> Iterator[str]:
        """Yield why a penalty cannot have its `method` with this optimizer."""
        return iter(())

    def conflicts(self, config: Config) -> Iterator[Problem]:
        """Yield what this optimizer asks of the other sections and cannot have."""
        if self.lr is None:
            for why in self._no_lipschitz_constant(config):
                yield Problem(("lr",), f"missing: {self.kind} only knows 1/L {why}; give an lr")
                break
        if self.lookahead is not None:
            for why in self._no_lookahead(config):
                yield Problem(("lookahead",), why)

    def _no_lookahead(self, config: Config) -> Iterator[str]:
        """Yield why the weights cannot return to slow ones."""
        if self.full_batch:
            yield f"{self.kind} has a momentum of its own, which is that of its own steps; use null"
        for penalty in config.penalty:
            if penalty.proximal:
                yield (
                    f"slow weights are means, and those of {penalty.kind}'s proximal steps are not "
                    "exactly 0; use method: gradient, or lookahead: null"
                )

    def _no_lipschitz_constant(self, config: Config) -> Iterator[str]:
        """Yield for what else than this config the gradient's Lipschitz constant L is known."""
        model, augment, training = config.model, config.augment, config.training
        if not model.is_linear:
            yield f"for linear models, not for {model.kind}"
        if model.symbols() or augment.changes_inputs:
            yield "without noise in the inputs"
        if self.sam or training.clip_value or training.clip_norm:
            yield "of the plain gradient, without sam and clipping"
        if self.weight_decay and self.resolved_decay == "decoupled_schedule":
            yield "of an objective, which decoupled_schedule does not belong to"
        for penalty in config.penalty:
            if penalty.curvature() is None:
                yield f"of proximal penalties and l2, not of {penalty.kind}"


class GivenRate(Optimizer):
    """Keys of the optimizers that cannot work out a learning rate."""

    lr: Positive
    """Learning rate, before the schedule."""


def sqrt_into(square: Tensor, out: Tensor) -> None:
    """Write √max(square, the smallest normal number) into `out`.

    A CPU takes 20 times as long for the root of 0 or of a subnormal number, and a second moment is
    0 wherever an input always is. Every ε is far above the difference.
    """
    import torch

    torch.clamp(square, min=torch.finfo(square.dtype).tiny, out=out).sqrt_()
