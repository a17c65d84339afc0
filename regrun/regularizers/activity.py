"""Penalties on hidden activations: what the hidden layers' activation functions give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from regrun.kinds.penalties import Penalty
from regrun.regularizers.active import Active
from regrun.regularizers.entrywise import coefficients

ENTRIES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "activity_l1": torch.abs,
    "activity_l2": torch.square,
}
"""The schema's `type` → what is summed."""


def activity_sum(kind: str, hidden: Sequence[Tensor]) -> Tensor:
    """Σ|h| or Σh² over a batch's examples and all hidden units: (K,).

    hidden: (K, B, ...) of each hidden layer. Half precision is summed in float32.
    """
    wide = [h.float() if h.dtype == torch.bfloat16 else h for h in hidden]
    return torch.stack([ENTRIES[kind](h).flatten(1).sum(1) for h in wide]).sum(0)


class ActivityTerm:
    """One activity penalty under one label, for the members that have it.

    members: each member's own section, None where it has none; all of one type.
    """

    def __init__(
        self,
        label: str,
        kind: str,
        members: Sequence[Penalty | None],
        device: torch.device | str,
    ) -> None:
        # One of the two coefficients is 0, as a type is either absolute or square.
        factors = [0.0 if member is None else sum(coefficients(member)) for member in members]
        self.kind = kind
        self._label, self._active = label, Active(factors, device)

    def values(self, means: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Label → (K,). means: type → mean over the examples of Σ|h| or Σh²: (K,)."""
        return {self._label: self._active.weighted(self._active.take(means[self.kind]))}

    def objective(self, hidden: Sequence[Tensor]) -> Tensor | None:
        """(K,), differentiable; None when no member has a strength above 0."""
        if not self._active:
            return None
        batch = hidden[0].shape[1]
        total = activity_sum(self.kind, [self._active.take(h) for h in hidden])
        return self._active.weighted(total / batch)
