"""What an update rule is: one optimizer over one tile of a stack, with numbers per member.

Notation as in `regrun inspect`: w weight, g gradient with its additions, t step from 1,
η_t = lr · multiplier. No rule changes g or allocates anything of a tile's size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from regrun.kinds.optimizers import Optimizer
from regrun.optim.tiles import Tile

S = TypeVar("S", bound=Optimizer)


def root(square: Tensor, out: Tensor) -> None:
    """√max(square, the smallest normal number), into out.

    A CPU takes 20 times as long for the root of 0 or of a subnormal number, and a second moment is
    0 wherever an input always is. ε is far above the difference.
    """
    torch.clamp(square, min=torch.finfo(square.dtype).tiny, out=out).sqrt_()


class Rule(ABC, Generic[S]):
    """One optimizer for the K sections of a stack.

    `numbers` are the (K,) float64 numbers that stay; `at_step` gives those that change.
    """

    follows_step: bool = False
    """Whether `at_step` depends on the step, and not on the learning rate alone."""
    apart: bool = False
    """Whether large members get tiles of their own, which then say whose they are."""
    counters: tuple[str, ...] = ()
    """Names of further state, a number per member, 0 at the start."""

    def __init__(self, sections: Sequence[S], device: torch.device) -> None:
        self.device = device
        self.slots: tuple[str, ...] = ()
        """Names of the state buffers, each of the parameters' shapes."""
        self.numbers: dict[str, Tensor] = {}
        self._prepare(sections)

    @abstractmethod
    def _prepare(self, sections: Sequence[S]) -> None:
        """Set `slots`, `numbers` and what is structural."""

    @abstractmethod
    def at_step(self, rate: Tensor, step: Tensor) -> dict[str, Tensor]:
        """The numbers of this step. rate: η_t; step: t; both (K,), float64."""

    @abstractmethod
    def update(self, tile: Tile, g: Tensor) -> None:
        """Change the tile's weight and state. g: the tile's gradient."""

    @staticmethod
    @abstractmethod
    def symbols(section: Any) -> list[str]:
        """The update in symbols, with the section's numbers."""

    def initial(self, slot: str) -> Tensor | None:
        """Each member's start value of a state buffer, (K,); None: 0."""
        return None

    def look_ahead(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Move the weights to where the gradient is wanted; most rules want it where they are.

        weights: name → (K, ...). state: `<slot>/<name>` → (K, ...), and counters → (K,).
        """
        return

    def column(self, values: Sequence[float]) -> Tensor:
        """Per-member numbers as they enter the arithmetic: (K,), float64."""
        return torch.tensor(values, dtype=torch.float64, device=self.device)
