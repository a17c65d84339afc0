"""Lookahead: slow weights that the trained weights return to every k steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from regrun.kinds.base import expand_members
from regrun.kinds.optimizers.base import Optimizer
from regrun.stack.state import check_tensors

Due = tuple[float, ...]


class SlowWeights:
    """After every k steps φ ← φ + α (w − φ) and w ← φ (Zhang et al. 2019).

    sections: one per member; those without `lookahead` are not touched. parameters: name →
    (K, ...), from which φ starts.
    """

    def __init__(self, sections: Sequence[Optimizer], parameters: Mapping[str, Tensor]) -> None:
        self._set_members(sections)
        used = any(self._shares)
        self._slow = {name: p.detach().clone() for name, p in parameters.items() if used}

    def _set_members(self, sections: Sequence[Optimizer]) -> None:
        found = [section.lookahead for section in sections]
        self._periods = np.array([1 if each is None else each.k for each in found])
        self._shares = np.array([0.0 if each is None else each.alpha for each in found])
        self._columns: dict[Due, Tensor] = {}

    def due(self, steps: int, parameters: Mapping[str, Tensor]) -> Due:
        """How far each member's φ moves after `steps` steps: α in every k-th; empty: no φ moves."""
        if not self._slow:
            return ()
        shares = np.where(steps % self._periods == 0, self._shares, 0.0)
        if not shares.any():
            return ()
        due = tuple(shares.tolist())
        if due not in self._columns:
            self._columns[due] = torch.from_numpy(shares).to(next(iter(parameters.values())))
        return due

    @torch.no_grad()
    def update(self, due: Due, parameters: Mapping[str, Tensor]) -> None:
        """Move φ, and w to it."""
        if not due:
            return
        for name, weight in parameters.items():
            share = expand_members(self._columns[due], weight)
            slow = self._slow[name].lerp_(weight, share)
            weight.copy_(torch.where(share > 0, slow, weight))

    def shrink_to(self, rows: Tensor, sections: Sequence[Optimizer]) -> None:
        """Keep these rows only. rows: indices, int64; sections: one per remaining row."""
        self._set_members(sections)
        self._slow = {name: tensor[rows] for name, tensor in self._slow.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """φ by parameter, (K, ...): the live tensors, not copies."""
        return self._slow

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy a `state_dict` in. Raises CorruptInputError for what no such member has."""
        check_tensors(self._slow, state)
        for name, slow in self._slow.items():
            slow.copy_(state[name])
